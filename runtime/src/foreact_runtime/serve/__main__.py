"""`python -m foreact_runtime.serve BUNDLE`: serve an exported policy where there is no torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from foreact_runtime.errors import ForeactError
from foreact_runtime.policy import load_policy
from foreact_runtime.serve.command import read_api_key, serve_policy
from foreact_runtime.serve.server import ServerOptions


def main(arguments: list[str]) -> int:
    """Parse, load, serve, and return 0; 1 after an error, which is one line."""
    parser = argparse.ArgumentParser(prog="python -m foreact_runtime.serve", description=__doc__)
    parser.add_argument("bundle", type=Path, help="what `foreact export` wrote")
    parser.add_argument("--host", default="127.0.0.1", help="any other than this machine needs a key, or --insecure")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--api-key-file", type=Path, help="its first line is the key that clients must send")
    parser.add_argument("--insecure", action="store_true", help="listen beyond this machine without a key")
    parser.add_argument("--resize-images", action="store_true", help="accept pictures of another size")
    parser.add_argument("--rename-file", type=Path, help="JSON, from the clients' names to the policy's")
    parser.add_argument("--actions-only", action="store_true", help="leave `action` out of replies")
    options = parser.parse_args(arguments)
    try:
        serve_policy(
            load_policy(options.bundle, resize_images=options.resize_images),
            name=str(options.bundle),
            options=ServerOptions(
                host=options.host,
                port=options.port,
                api_key=read_api_key(options.api_key_file),
                insecure=options.insecure,
                actions_only=options.actions_only,
            ),
            rename_file=options.rename_file,
        )
    except ForeactError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
