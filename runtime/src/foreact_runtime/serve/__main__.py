"""`python -m foreact_runtime.serve BUNDLE`: serve an exported policy where there is no torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from foreact_runtime.errors import ForeactError, MissingPackageError
from foreact_runtime.executor_arguments import add_executor_arguments, executor_overrides
from foreact_runtime.policy import load_policy


def main(arguments: list[str]) -> int:
    """Parse, load, serve, and return 0; 1 after an error, which is one line, and 130 where it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m foreact_runtime.serve", description=__doc__)
    parser.add_argument("bundle", type=Path, help="what `foreact export` wrote")
    parser.add_argument("--host", default="127.0.0.1", help="any other than this machine needs a key, or --insecure")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--api-key-file", type=Path, help="its first line is the key that clients must send")
    parser.add_argument("--insecure", action="store_true", help="listen beyond this machine without a key")
    parser.add_argument("--resize-images", action="store_true", help="accept pictures of another size")
    parser.add_argument("--rename-file", type=Path, help="JSON, from the clients' names to the policy's")
    executor = parser.add_argument_group("executor", "each changes what the policy was exported with")
    add_executor_arguments(executor)
    try:
        _serve(parser.parse_args(arguments))
    except ForeactError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _serve(options: argparse.Namespace) -> None:
    try:
        from foreact_runtime.serve.command import read_api_key, serve_policy
        from foreact_runtime.serve.server import ServerOptions
    except ModuleNotFoundError as error:
        if error.name not in ("msgpack", "websockets"):
            raise
        message = f"package '{error.name}' is not installed; type: pip install 'foreact-runtime[serve]'"
        raise MissingPackageError(message) from error

    policy = load_policy(options.bundle, resize_images=options.resize_images, overrides=executor_overrides(options))
    serve_policy(
        policy,
        name=str(options.bundle),
        options=ServerOptions(
            host=options.host,
            port=options.port,
            api_key=read_api_key(options.api_key_file),
            insecure=options.insecure,
        ),
        rename_file=options.rename_file,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
