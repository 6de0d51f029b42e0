"""Enough episodes to fit a response to."""

from pathlib import Path

import pytest

from spots import write_dataset


@pytest.fixture(scope="session")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four episodes of 11 to 13 frames: each goes to its cue in about twelve steps."""
    return write_dataset(tmp_path_factory.mktemp("diagnose") / "spots", lengths=(11, 12, 13) * 8)
