"""Two releases of LeRobot judge, each in an environment of its own: 0.6.1 knows v3.0, 0.3.3 knows v2.1."""

import signal
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # what makes small data sets of every format

of_0_3_3 = ["test_reads_v21.py", "test_reads_old_checkpoints.py"]
# A shell's job in the background ignores Ctrl-C, and so would the processes in which tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
collect_ignore = [] if version("lerobot").startswith("0.3.") else of_0_3_3
