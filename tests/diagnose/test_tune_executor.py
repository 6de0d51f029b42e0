"""The offline sweep: chunks whose answers are known by hand, and the rule on cases made for it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreact.cli.main import run as foreact
from foreact.config import PolicyConfig, RunConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.diagnose.tune_executor import (
    Measured,
    Predicted,
    candidates,
    execute,
    measure,
    predict_episodes,
    recommend,
)
from foreact.policy.checkpoint import load_policy
from foreact.policy.policy import Policy
from foreact.records import Features, VectorStatistics
from foreact.train.run import train
from foreact_runtime.executor import ChunkQueue, TemporalEnsemble
from foreact_runtime.settings import ExecutorSettings
from spots import write_dataset

FEATURES = Features(action_names=("a", "b", "still"), state_names=("a",), fps=10)


def policy() -> Policy:
    """Of its features and settings only; its chunks are made up."""
    one = np.ones(3)
    wide = VectorStatistics(mean=0 * one, std=one, min=-99 * one, max=99 * one, q01=-99 * one, q99=99 * one, count=9)
    config = PolicyConfig(
        chunk_size=4,
        n_action_steps=2,
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        dim_model=16,
        n_heads=2,
        dim_feedforward=16,
        n_vae_encoder_layers=1,
        limit_margin=None,
    )
    state = VectorStatistics(**{n: getattr(wide, n)[:1] for n in ("mean", "std", "min", "max", "q01", "q99")}, count=9)
    return Policy(config=config, features=FEATURES, statistics={"action": wide, "observation.state": state})


def predicted(bias: float) -> Predicted:
    """Recorded parabolas; each chunk is right at first and off by `bias` more with every further tick."""
    t = np.arange(12.0)
    action = np.stack([0.1 * t**2, np.sin(t), np.ones(12)], axis=1)
    later = np.minimum(t[:, None].astype(int) + np.arange(4), 11)
    chunks = action[later] + bias * np.arange(4)[None, :, None] * np.array([1.0, 1.0, 0.0])
    return Predicted(action=action, chunks=chunks)


def test_a_queue_executes_of_each_chunk_what_it_asked_for() -> None:
    of = predicted(0.5)
    executed, asked = execute(ChunkQueue(3), of)
    assert asked == [0, 3, 6, 9]
    np.testing.assert_allclose(executed[:, 0] - of.action[:, 0], [0, 0.5, 1] * 4, atol=1e-9)
    _, asked = execute(TemporalEnsemble(4, 0.0), of)
    assert asked == list(range(12))


def test_errors_disagreement_and_queries_are_those_of_the_made_up_chunks() -> None:
    of = predicted(0.5)
    std = of.action[:, :2].std(axis=0)
    two = measure(policy(), [of], ExecutorSettings(chunk_size=4, n_action_steps=2))
    assert two.error == pytest.approx(0.25 * np.mean(1 / std), rel=1e-5)  # 0 and 0.5 in turn
    assert two.disagreement == pytest.approx(1.0 * np.mean(1 / std), rel=1e-5)  # two ticks ahead, off by 1
    assert two.queries == 0.5
    whole = measure(policy(), [of], ExecutorSettings(chunk_size=4, n_action_steps=4))
    assert whole.disagreement is None
    mean = measure(policy(), [of], ExecutorSettings(chunk_size=4, n_action_steps=1, temporal_ensemble_coeff=0.0))
    # at first one prediction, then two, three, and from the fourth tick on four: 0, 0.25, 0.5, 0.75
    assert mean.error == pytest.approx((0 + 0.25 + 0.5 + 9 * 0.75) / 12 * np.mean(1 / std), rel=1e-5)


def test_executing_the_demonstrations_themselves_is_as_jerky_as_they_are() -> None:
    perfect = measure(policy(), [predicted(0.0)], ExecutorSettings(chunk_size=4, n_action_steps=2))
    assert perfect.error == pytest.approx(0.0, abs=1e-6)
    assert perfect.disagreement == pytest.approx(0.0, abs=1e-6)
    assert (perfect.jerk, perfect.jerk_max) == pytest.approx((1.0, 1.0), rel=1e-5)
    assert measure(policy(), [predicted(0.5)], ExecutorSettings(chunk_size=4, n_action_steps=2)).jerk > 2


def made(steps: int, error: float, jerk: float, queries: float, coeff: float | None = None) -> Measured:
    return Measured(
        n_action_steps=steps,
        temporal_ensemble_coeff=coeff,
        error=error,
        disagreement=0.0,
        jerk=jerk,
        jerk_max=jerk,
        queries=queries,
    )


@pytest.mark.parametrize(
    ("measured", "name"),
    [
        # all alike: the one that asks least
        ([made(1, 0.10, 1.0, 1.0), made(4, 0.12, 1.1, 0.25), made(2, 0.11, 1.0, 0.5)], "queue, 4 steps"),
        # the long queue is elsewhere
        ([made(1, 0.10, 1.0, 1.0), made(2, 0.14, 1.0, 0.5), made(16, 0.16, 0.9, 0.06)], "queue, 2 steps"),
        # every queue jerks at its seams: the ensemble, though it asks every tick
        ([made(1, 0.10, 3.0, 1.0), made(4, 0.11, 4.0, 0.25), made(1, 0.13, 0.4, 1.0, 0.01)], "ensemble, m = 0.01"),
        # but not if it is late, as where it averages over too long a chunk
        ([made(1, 0.10, 3.0, 1.0), made(4, 0.11, 3.2, 0.25), made(1, 0.40, 0.4, 1.0, 0.01)], "queue, 4 steps"),
        # smoother than the demonstrations is no better
        ([made(1, 0.10, 0.2, 1.0, 0.01), made(2, 0.10, 1.2, 0.5)], "queue, 2 steps"),
        # equally many questions: the least error
        ([made(1, 0.12, 0.5, 1.0, 0.5), made(1, 0.11, 0.5, 1.0, 0.0)], "ensemble, m = 0"),
        ([made(1, 0.1, 1.0, 1.0)], "queue, 1 step"),
    ],
)
def test_the_rule_recommends(measured: list[Measured], name: str) -> None:
    assert recommend(measured).name == name
    assert recommend(measured[::-1]).name == name


def test_tried_are_queues_up_to_the_whole_chunk_and_ensembles_and_what_the_policy_has() -> None:
    tried = candidates(ExecutorSettings(chunk_size=20, n_action_steps=5, asynchronous=True, blend_steps=3))
    queues = [of.n_action_steps for of in tried if of.temporal_ensemble_coeff is None]
    assert queues == [1, 2, 4, 5, 8, 16, 20]
    assert all(of.n_action_steps == 1 for of in tried if of.temporal_ensemble_coeff is not None)
    assert not any(of.asynchronous or of.blend_steps for of in tried)
    own = candidates(ExecutorSettings(chunk_size=2, n_action_steps=1, temporal_ensemble_coeff=0.2))
    assert 0.2 in [of.temporal_ensemble_coeff for of in own]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("tune") / "spots", lengths=(12,) * 8)


@pytest.fixture
def trained(tiny_run: RunConfig, data: Path, cache_dir: Path, tmp_path: Path) -> Path:
    train(
        replace(tiny_run, train=replace(tiny_run.train, steps=2, warmup_steps=1)),
        data=data,
        out=tmp_path / "run",
        cache_dir=cache_dir,
    )
    return tmp_path / "run"


def test_the_command_prints_and_writes_every_setting_and_its_recommendation(
    trained: Path, data: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_policy(trained)
    assert loaded.executor_settings.limits.velocity[0] is not None  # learned in training, read from the checkpoint
    source = open_source(data)
    both, one = (
        ChunkDataset(source, indices, features=loaded.features, chunk_size=6, cache_dir=cache_dir)
        for indices in ([2, 5], [5])
    )
    first, second = predict_episodes(loaded, both)
    assert first.chunks.shape == (12, 6, 2)
    alone = loaded.predict(replace(one.__getitems__([7]), action=None, action_is_pad=None))
    np.testing.assert_allclose(second.chunks[7], alone[0], atol=1e-5)

    out = tmp_path / "tuned" / "executor.json"
    arguments = ["tune-executor", str(trained), "--data", str(data), "--cache-dir", str(cache_dir), "--json", str(out)]
    assert foreact(arguments) == 0
    printed = capsys.readouterr().out
    content = json.loads(out.read_text())
    names = [of["name"] for of in content["settings"]]
    assert names[:4] == ["queue, 1 step", "queue, 2 steps", "queue, 3 steps", "queue, 4 steps"]
    assert content["recommended"] in names
    assert f"recommended: {content['recommended']} (--n-action-steps" in printed
    assert (content["episodes"], content["held_out"]) == (8, 2)
    assert all(name in printed for name in names)
    assert foreact([*arguments, "--data-episodes", "0"]) == 1
    assert "--data-episodes is 0; it must be at least 1" in capsys.readouterr().err
    assert foreact(["tune-executor", "nowhere", "--task", "L9"]) == 1  # known before the sweep, which takes minutes
    assert "unknown level 'L9'" in capsys.readouterr().err


def test_a_policy_that_always_says_the_same_agrees_with_itself() -> None:
    of = predicted(0.0)
    frozen = replace(of, chunks=np.ones_like(of.chunks))
    assert measure(policy(), [frozen], ExecutorSettings(chunk_size=4, n_action_steps=2)).disagreement == 0.0
