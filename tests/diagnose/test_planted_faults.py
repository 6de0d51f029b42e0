"""Faults that people really make are planted into trained policies or their data; each is found and called by its name.

A healthy policy, trained the same way on the same data, is accused of none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import lightning
import numpy as np
import pytest
from lightning.pytorch.callbacks import Callback

from diagnose.needed_inputs import RUN, Scene, scenes, write
from foreact.config import RunConfig
from foreact.diagnose.pictures import draw
from foreact.diagnose.report import Report, diagnose
from foreact.policy.checkpoint import load_policy, save_policy
from foreact.records import VectorStatistics
from foreact.train.module import ACTModule
from foreact.train.run import train
from foreact_runtime import keys

pytestmark = pytest.mark.slow

ACCUSATIONS = {
    "inputs": ("collapsed", "cannot tell overhead from wrist", "ignores camera"),
    "pictures": ("not as in training", "not as in the others"),
    "normalisation": ("wrong", "do not fit"),
    "latent": ("two groups", "needed"),
    "shift": ("actions shifted",),
    "parts": ("is frozen:", "is frozen at its random weights", "no gradient arrives"),
    "training": ("too high", "nothing was learned"),
    "collapse": ("nearly one trajectory",),
}
"""What a healthy policy must not be told, by question."""
EXAMINED = 24
"""Episodes of each report."""


@dataclass(frozen=True)
class Workshop:
    """Trains and examines in a folder of its own."""

    root: Path
    demonstrations: list[Scene]

    def changed(self, name: str, change: Callable[[Scene], Scene]) -> Path:
        """Write as many of the demonstrations as are examined, each changed."""
        return write(self.root / name, [change(scene) for scene in self.demonstrations[:EXAMINED]])

    def train(self, name: str, data: Path, run: RunConfig = RUN, callbacks: Sequence[Callback] = ()) -> Path:
        """Train and return the run."""
        train(run, data=data, out=self.root / name, cache_dir=self.root / "cache", callbacks=callbacks)
        return self.root / name

    def examine(self, run: Path, data: Path | None = None) -> Report:
        """Ask all questions."""
        return diagnose(run, data=data, episodes=EXAMINED, cache_dir=self.root / "cache")


def short(steps: int, **changes: object) -> RunConfig:
    """The recipe with fewer steps: enough to see what is wrong."""
    every = steps // 2
    options = {"steps": steps, "val_every": every, "save_every": every, **changes}
    return replace(RUN, train=replace(RUN.train, **options))  # type: ignore[arg-type]


def verdict(report: Report, question: str) -> str:
    """Return the answer, which must be more than a remark, with a remedy and a picture."""
    finding = report.finding(question)
    assert finding is not None, question
    assert finding.severity in ("fault", "warning"), finding.verdict
    assert finding.remedy, "whoever is told a fault is told what helps"
    with TemporaryDirectory() as folder:
        assert draw(finding, Path(folder) / "seen.png"), "and shown it"
    return finding.verdict


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("faults"), scenes(150))


@pytest.fixture(scope="module")
def data(workshop: Workshop) -> Path:
    return write(workshop.root / "data", workshop.demonstrations)


@pytest.fixture(scope="module")
def untold(workshop: Workshop) -> Path:
    """Half of the demonstrations go one way and half the other, and nothing says which."""
    return write(workshop.root / "untold", scenes(150, seed=1, untold=True))


@pytest.fixture(scope="module")
def healthy(workshop: Workshop, data: Path) -> Path:
    return workshop.train("healthy", data)


def test_a_healthy_policy_is_accused_of_nothing(workshop: Workshop, healthy: Path) -> None:
    report = workshop.examine(healthy)
    for question, words in ACCUSATIONS.items():
        finding = report.finding(question)
        assert finding is not None, question
        assert finding.severity in ("fine", "note"), finding.verdict
        assert not [word for word in words if word in finding.verdict], finding.verdict
    inputs = report.finding("inputs")
    assert inputs is not None
    for name in ("pictures", "state", "coordinate"):
        assert f"{name}: yes" in inputs.verdict


def test_cameras_in_each_others_place_are_named(workshop: Workshop, healthy: Path) -> None:
    swapped = workshop.changed("swapped", lambda of: replace(of, overhead=of.wrist, wrist=of.overhead))
    report = workshop.examine(healthy, swapped)
    assert "overhead and wrist in each other's place" in verdict(report, "pictures")


def test_cameras_swapped_in_a_few_episodes_alone_are_named_with_the_episodes(workshop: Workshop, healthy: Path) -> None:
    wrong = {4, 10, 11}
    mixed = [
        replace(of, overhead=of.wrist, wrist=of.overhead) if i in wrong else of
        for i, of in enumerate(workshop.demonstrations[:20])
    ]
    report = workshop.examine(healthy, write(workshop.root / "mixed", mixed))
    assert "overhead and wrist in each other's place" in verdict(report, "pictures")
    found = report.finding("pictures")
    assert found is not None
    episodes = found.evidence["better_in_episodes"]["overhead and wrist in each other's place"]
    assert set(episodes) <= wrong
    assert len(episodes) >= 2


def test_red_and_blue_exchanged_are_named(workshop: Workshop, healthy: Path) -> None:
    bgr = workshop.changed("bgr", lambda of: replace(of, overhead=of.overhead[..., ::-1], wrist=of.wrist[..., ::-1]))
    assert "pictures: red and blue exchanged" in verdict(workshop.examine(healthy, bgr), "pictures")


def test_pictures_in_0_to_1_are_named(workshop: Workshop, healthy: Path) -> None:
    dark = workshop.changed("dark", lambda of: replace(of, overhead=of.overhead // 200, wrist=of.wrist // 200))
    assert "are black to the network: no value is above " in verdict(workshop.examine(healthy, dark), "normalisation")


def test_a_checkpoint_with_the_wrong_image_normalisation_is_named(
    workshop: Workshop, healthy: Path, data: Path
) -> None:
    """Mean and deviation of colours in 0..255, as some programs keep them, where 0..1 is meant."""
    policy = load_policy(healthy)
    colours = VectorStatistics(
        mean=np.array([124.0, 116.0, 104.0]), std=np.array([58.0, 57.0, 57.0]), min=np.zeros(3), max=np.full(3, 255.0),
        q01=np.zeros(3), q99=np.full(3, 255.0), count=1,
    )  # fmt: skip
    policy.statistics = {**policy.statistics, **{keys.image_key(name): colours for name in ("overhead", "wrist")}}
    save_policy(workshop.root / "imported", policy)
    report = workshop.examine(workshop.root / "imported", data)
    assert "image normalisation is wrong" in verdict(report, "normalisation")


def test_a_checkpoint_whose_statistics_do_not_fit_is_named_with_the_dimension(
    workshop: Workshop, healthy: Path
) -> None:
    """The data are in degrees, the policy was trained in radians."""
    in_degrees = workshop.changed(
        "degrees", lambda of: replace(of, start=np.degrees(of.start), goal=np.r_[of.goal[:2], np.degrees(of.goal[2:])])
    )
    said = verdict(workshop.examine(healthy, in_degrees), "normalisation")
    assert "do not fit" in said
    assert "as if in degrees, where it was trained in radians" in said
    assert "state 'd'" in said or "action 'd'" in said or "state 'c'" in said


def test_a_policy_that_averages_two_ways_since_its_latent_is_unused_is_named(workshop: Workshop, untold: Path) -> None:
    run = workshop.train("averaging", untold, short(120))
    said = verdict(workshop.examine(run), "latent")
    assert said.startswith("the latent is unused (posterior collapse)")
    assert "fall into two groups" in said


def test_a_latent_that_inference_lacks_is_named(workshop: Workshop, untold: Path) -> None:
    """Without the KL term the decoder reads from the latent which way the demonstration went."""
    recipe = short(120)
    run = workshop.train("leaning", untold, replace(recipe, policy=replace(recipe.policy, kl_weight=1e-5)))
    assert verdict(workshop.examine(run), "latent").startswith("the latent is needed, and inference has none")


def test_a_backbone_frozen_by_the_recipe_at_random_weights_is_named(workshop: Workshop, data: Path) -> None:
    run = workshop.train("frozen", data, short(40, lr_backbone=0.0))
    said = verdict(workshop.examine(run), "parts")
    assert "the backbone is frozen at its random weights: train.lr_backbone is 0" in said


class Freeze(Callback):
    """What a line that was left in the code does."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, ACTModule)
        pl_module.model.backbones.requires_grad_(False)


def test_a_backbone_that_code_has_frozen_is_named_though_the_recipe_trains_it(workshop: Workshop, data: Path) -> None:
    run = workshop.train("frozen by code", data, short(40), [Freeze()])
    said = verdict(workshop.examine(run), "parts")
    assert "the backbone is frozen at its random weights: not one weight has changed since step 20" in said


def test_a_learning_rate_that_is_too_high_is_named(workshop: Workshop, data: Path) -> None:
    run = workshop.train("too fast", data, short(150, lr=0.3, lr_backbone=0.3, warmup_steps=0))
    assert "learning rate too high (train.lr 0.3)" in verdict(workshop.examine(run), "training")


def test_one_trajectory_for_all_is_named(workshop: Workshop, data: Path) -> None:
    """Observations and actions of different episodes were put together."""
    of = workshop.demonstrations
    torn = write(workshop.root / "torn", of, seen=[*of[1:], of[0]])
    run = workshop.train("collapsed", torn, short(60, lr=1e-3, lr_backbone=1e-3))
    report = workshop.examine(run, data)
    assert "collapsed: one chunk for all" in verdict(report, "inputs")
    assert "nearly one trajectory for all" in verdict(report, "collapse")
    assert "nothing was learned" in verdict(report, "training")


@pytest.mark.parametrize(
    ("later", "words"), [(1, ""), (2, "actions shifted by 1 frame:"), (0, "actions shifted by 1 ")]
)
def test_actions_shifted_by_one_are_named_though_the_policy_was_trained_on_the_same(
    later: int, words: str, workshop: Workshop
) -> None:
    """Nothing but the data's own lead tells: the policy has learned the shifted actions, and agrees with them."""
    longer = write(workshop.root / f"later {later}", scenes(40, length=24), later=later)
    report = workshop.examine(workshop.train(f"trained later {later}", longer, short(20, warmup_steps=5)))
    if words:
        assert words in verdict(report, "shift")
        found = report.finding("shift")
        assert found is not None
        assert "foreact inspect" in found.remedy
        assert "--source.action-lag" in found.remedy
    else:
        found = report.finding("shift")
        assert found is not None
        assert found.evidence["state_follows_action_after_frames"] == pytest.approx(1.0, abs=0.1)
        assert "actions shifted" not in found.verdict
