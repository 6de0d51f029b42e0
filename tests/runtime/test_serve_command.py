"""`foreact serve` as a process: from a checkpoint to answers, the page about it, one clear line for what is wrong."""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.cli.main import run
from foreact.cli.options import parse
from foreact.cli.serve import ServeOptions
from foreact.policy.checkpoint import save_policy
from foreact_runtime.dataclass_arguments import add_arguments, field_docstrings, from_arguments
from foreact_runtime.errors import ServingError
from foreact_runtime.serve.__main__ import main
from foreact_runtime.serve.client import PolicyClient
from foreact_runtime.serve.options import ServingOptions
from hidden import hiding
from pages import page_blocks, run_line
from served_policies import spot_observation, spot_policy

FORE = [sys.executable, "-m", "foreact.cli.main"]
WITHOUT_TORCH = (
    hiding("torch", "foreact")
    + 'import runpy\nrunpy.run_module("foreact_runtime.serve", run_name="__main__", alter_sys=True)\n'
)


@contextmanager
def serving(call: list[str], folder: Path, said: str = "") -> Iterator[str]:
    """Run a command until the block ends, and yield its URL; it says what is expected behind that, and stops well."""
    server = subprocess.Popen(call, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line.startswith("serving '"), server.communicate(timeout=60)[1]
        assert "".join(server.stdout.readline() for _ in said.splitlines()) == said
        yield line.split("at ")[1].split(",")[0]
        server.send_signal(signal.SIGTERM)
        out, errors = server.communicate(timeout=60)
        assert (server.returncode, out) == (0, "stopped\n"), errors
    finally:
        server.kill()
        server.communicate()


def test_a_checkpoint_is_served_with_a_key_and_the_users_names(tmp_path: Path) -> None:
    policy = spot_policy()
    save_policy(tmp_path / "run", policy)
    (tmp_path / "key").write_text("right\n")
    (tmp_path / "names.json").write_text('{"observation/image": "observation.images.overhead"}')
    options = ["--port", "0", "--api-key-file", "key", "--rename-file", "names.json", "--rename", "hand/cam"]
    options += ["observation.images.wrist", "--n-action-steps", "2", "--on-alarm", "stop"]
    with serving([*FORE, "serve", "run", *options], tmp_path) as url, PolicyClient(url, api_key="right") as client:
        assert client.metadata["policy"] == "run"
        ours = spot_observation()
        theirs = {**ours, "observation/image": ours.pop("observation.images.overhead")}
        theirs["hand"] = {"cam": theirs.pop("observation.images.wrist")}
        np.testing.assert_array_equal(client.infer(theirs)["actions"], policy.predict_chunk(spot_observation()))
        with pytest.raises(ServingError, match="refused: stopped: 'b' is 99, far outside"):
            client.infer({**theirs, "observation.state": np.array([0, 99], np.float32)})


def test_of_an_asynchronous_policy_it_says_whose_time_it_keeps(tmp_path: Path) -> None:
    save_policy(tmp_path / "run", spot_policy())
    said = (
        "asynchronous, by the clients' calls: an action asked for is a tick, and each chunk is waited for; for robots, "
        "which do not wait, pass --clock wall\n"
    )
    call = [*FORE, "serve", "run", "--port", "0", "--asynchronous", "--clock", "calls", "--threads", "1"]
    with serving(call, tmp_path, said) as url, PolicyClient(url) as client:
        assert (client.metadata["asynchronous"], client.metadata["clock"]) == (True, "calls")


SERVING: dict[str, dict[str, Any]] = {
    "": {},
    "--host ::1 --port 1 --insecure": {"host": "::1", "port": 1, "insecure": True},
    "--clock calls --backend openvino --threads 2": {"clock": "calls", "backend": "openvino", "threads": 2},
    "--resize-images --rename a b c d": {"resize_images": True, "rename": {"a": "b", "c": "d"}},
    "--rename-file n --api-key-file k": {"rename_file": Path("n"), "api_key_file": Path("k")},
    "--most-clients 3 --largest-message 4": {"most_clients": 3, "largest_message": 4},
}


@pytest.mark.parametrize("words", SERVING)
def test_both_commands_take_the_same_options(words: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ServingOptions)
    expected = ServingOptions(**SERVING[words])
    assert from_arguments(ServingOptions, parser.parse_args(words.split())) == expected
    of = parse(ServeOptions, ["run", *words.split()], command="serve")
    assert {name: getattr(of, name) for name in vars(expected)} == vars(expected)


def test_both_commands_explain_their_options_alike(capsys: pytest.CaptureFixture[str]) -> None:
    helps = []
    for call in (main, lambda words: run(["serve", *words])):
        with pytest.raises(SystemExit):
            call(["--help"])
        helps.append(re.sub(r"[\s│]+", " ", capsys.readouterr().out))
    for name, text in ((of.name, text) for of in fields(ServingOptions) for text in [field_docstrings(ServingOptions)]):
        assert all(f"--{name.replace('_', '-')}" in of and text[name] in of for of in helps), name


def test_names_that_are_no_pairs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ServingOptions)
    with pytest.raises(SystemExit):
        parser.parse_args(["--rename", "a"])
    assert "argument --rename: expected pairs" in capsys.readouterr().err


def test_a_backend_is_for_bundles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_policy(tmp_path / "run", spot_policy())
    assert run(["serve", str(tmp_path / "run"), "--backend", "openvino"]) == 1
    assert "is run by PyTorch, not by 'openvino'; export a bundle for that" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["msgpack", "websockets"])
def test_where_a_package_is_missing_the_runtime_says_how_to_get_it(tmp_path: Path, package: str) -> None:
    code = hiding("torch", package) + "import sys\nfrom foreact_runtime.serve.__main__ import main\n"
    call = [sys.executable, "-c", f"{code}sys.exit(main(['bundle']))"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    expected = f"error: package '{package}' is not installed; type: pip install 'foreact-runtime[serve]'\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_what_is_wrong_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_policy(tmp_path / "run", spot_policy())
    for name, text in {"empty": "\n", "umlaut": "schlüssel", "list.json": "[]", "broken.json": "{"}.items():
        (tmp_path / name).write_text(text)
    capsys.readouterr()
    wrong = {
        "on '0.0.0.0' the whole network could command the robot's policy": ["--host", "0.0.0.0"],
        "has no key in its first line": ["--api-key-file", "{tmp}/empty"],
        "must be plain ASCII": ["--api-key-file", "{tmp}/umlaut"],
        "cannot read": ["--api-key-file", "{tmp}/nowhere"],
        "must be a JSON object, from the clients' names to the policy's": ["--rename-file", "{tmp}/list.json"],
        "is not JSON": ["--rename-file", "{tmp}/broken.json"],
        "unknown key of the policy in the table of names 'state'": ["--rename", "a", "state"],
        "--most-clients is 0": ["--most-clients", "0"],
        "--threads is 0": ["--threads", "0"],
        "blend_steps is 100; it must be at most 5": ["--blend-steps", "100"],
        "n_action_steps is 9": ["--n-action-steps", "9"],
        "port 99999 does not exist; choose one of 0 to 65535": ["--port", "99999"],
        "--no-limits and --limit-margin contradict each other": ["--no-limits", "--limit-margin", "1"],
    }
    for message, arguments in wrong.items():
        filled = [word.replace("{tmp}", str(tmp_path)) for word in arguments]
        assert run(["serve", str(tmp_path / "run"), *filled]) == 1, message
        printed = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert len(printed) == 1
        assert message in printed[0]


@pytest.mark.slow
def test_every_block_of_the_serving_page_runs(page_folder: Path) -> None:
    """`foreact serve` runs beside what follows it; then a bundle is served where neither torch nor foreact is found."""
    blocks = page_blocks("serving.md")
    assert [language for language, _ in blocks] == ["sh", "sh", "python"]
    *before, serve = blocks[0][1].splitlines()
    for line in before:
        run_line(line)
    with serving([*FORE, *shlex.split(serve)[1:]], page_folder):
        driven = do([*FORE, *shlex.split(blocks[1][1])[1:]], page_folder)
        assert re.search(r"success [01]/1 .*\nrate .*wanted 10 Hz\nlatency .*\nlate ticks \d+ of \d+", driven)
        assert len(do([sys.executable, "-c", blocks[2][1]], page_folder).splitlines()) == 3
    run_line("foreact export runs/tiny bundle")
    options = ["--port", "0", "--backend", "onnxruntime", "--threads", "1", "--most-clients", "2"]
    with serving([sys.executable, "-c", WITHOUT_TORCH, "bundle", *options], page_folder) as url:
        driven = do([*FORE, "drive", "L1", "--server", url, "--episodes", "1", "--as-fast-as-possible"], page_folder)
        assert "late ticks 0 of" in driven


def do(call: list[str], folder: Path) -> str:
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=300, env=dict(os.environ))
    assert done.returncode == 0, f"{call}\n{done.stderr}"
    return done.stdout
