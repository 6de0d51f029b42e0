"""`python benchmarks/grounding` and `python -m benchmarks.grounding`."""

import sys
from pathlib import Path

if not __package__:  # called as a folder: only the folder itself is on the path
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.grounding.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
