"""`python -m foreact_runtime.serve BUNDLE`: serve an exported policy where there is no torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from foreact_runtime.dataclass_arguments import add_arguments, from_arguments
from foreact_runtime.errors import ForeactError, MissingPackageError
from foreact_runtime.executor_arguments import add_executor_arguments, executor_overrides
from foreact_runtime.policy import BundlePolicy, load_policy
from foreact_runtime.serve.options import ServingOptions


def main(arguments: list[str]) -> int:
    """Parse, load, serve, and return 0; 1 after an error, which is one line, and 130 where it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m foreact_runtime.serve", description=__doc__)
    parser.add_argument("bundle", type=Path, help="what `foreact export` wrote")
    add_arguments(parser, ServingOptions)
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


def _serve(parsed: argparse.Namespace) -> None:
    try:
        from foreact_runtime.serve.command import serve_policy
    except ModuleNotFoundError as error:
        if error.name not in ("msgpack", "websockets"):
            raise
        message = f"package '{error.name}' is not installed; type: pip install 'foreact-runtime[serve]'"
        raise MissingPackageError(message) from error

    options, overrides = from_arguments(ServingOptions, parsed), executor_overrides(parsed)

    def load() -> BundlePolicy:
        return load_policy(
            parsed.bundle,
            backend=options.backend,
            threads=options.threads,
            resize_images=options.resize_images,
            overrides=overrides,
        )

    serve_policy(load, name=str(parsed.bundle), options=options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
