"""Going through recorded episodes: what is said on the way."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.diagnose.replay import replay
from foreact.policy.policy import Policy
from foreact_runtime import limits
from made_policy import STATISTICS
from spots import FEATURES
from tiny import TINY


def test_limited_commands_are_not_logged_where_nothing_moves(
    dataset: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    narrow = replace(TINY, position_limits=((5.0, 5.1),) * 2)
    policy = Policy(config=narrow, features=FEATURES, statistics=STATISTICS)
    samples = ChunkDataset(
        open_source(dataset), (0,), features=FEATURES, chunk_size=narrow.chunk_size, cache_dir=cache_dir
    )
    caplog.clear()
    (of,) = replay(policy, samples, held_out=None)
    assert (of.executed >= 5).all(), "every command was limited"
    assert of.is_held_out is None
    assert caplog.text == ""
    assert logging.getLogger(limits.__name__).level == logging.NOTSET
