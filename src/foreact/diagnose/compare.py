"""Which checkpoint is best, without a robot? Figures of recorded episodes, one score, and whether it tells them apart.

Which figure ranks is not a matter of taste: benchmarks/ranking.py compares each with success in simulation
(docs/compare.md). Best is the first chunk of an episode: there the arm's own state does not give away yet where it is
going, so the policy must see or be told. Along the rest of the way the demonstrator has already steered, and errors
are small whoever predicts. The hand's distance ranks where the arm's kinematics are known, else the actions'.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.diagnose.agreement import measure_agreement
from foreact.diagnose.collapse import collapse
from foreact.diagnose.examined import Examined, held_out_episodes, open_examined
from foreact.diagnose.gripper_timing import WITHIN_S, find_grippers, match_switches, switch_frames
from foreact.diagnose.open_loop import measure_open_loop
from foreact.diagnose.other_cues import known_places, other_cues
from foreact.diagnose.probe import FEWER, Probe, first_episodes
from foreact.diagnose.replay import FEWEST, Replay, action_scale, as_actions, held_still, replay
from foreact.diagnose.response import demonstrated_response
from foreact.diagnose.sensitivity import sensitivity
from foreact.diagnose.smoothness import measure_smoothness
from foreact.diagnose.swap import HALF, swap_test
from foreact.errors import ConfigError
from foreact.policy.checkpoint import CHECKPOINTS, checkpoints_in, data_paths, find_checkpoint, read_meta
from foreact.policy.hand import Hand
from foreact.policy.policy import Policy

EPISODES = 50
PER_EPISODE = 4
"""Chunks an episode that the open-loop error is taken from."""
SCORES = ("start", "first_chunk")
"""Figures that rank, the first that is known of all."""
SURE = 0.95
"""Share of the draws of episodes in which one must be better than another for the two to count as told apart."""
ENOUGH = 5
"""Episodes from which any two are told apart: draws of fewer hardly differ, and 4 of 4 comes by chance too often."""
DRAWS = 2000
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing that is measured of each policy."""

    title: str
    unit: str
    more_is_better: bool = False
    digits: int = 2


FIGURES: dict[str, Figure] = {
    "start": Figure(title="hand along the first chunk", unit="mm", digits=1),
    "aim": Figure(title="aim at the grasp", unit="mm", digits=1),
    "hand": Figure(title="hand along the chunk", unit="mm", digits=1),
    "first_chunk": Figure(title="error of the first chunk", unit="std", digits=3),
    "open_loop": Figure(title="open-loop error", unit="std", digits=3),
    "first_steps": Figure(title="error of what is executed of it", unit="std", digits=3),
    "gripper": Figure(title="gripper off by", unit="s"),
    "jerk": Figure(title="jerk", unit="times demonstrated"),
    "agreement": Figure(title="chunks disagree", unit="of the motion"),
    "swap": Figure(title="swap test", unit="obeyed", more_is_better=True),
    "collapse": Figure(title="collapse index", unit="0 to 1"),
    "sensitivity": Figure(title="answer to the coordinate", unit="of demonstrated", more_is_better=True),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A checkpoint and what was measured of it."""

    name: str
    run: str
    step: int
    values: dict[str, np.ndarray]
    """By figure: one value an episode (E,), nan where it is not known, or one of all together (1,)."""

    def mean(self, figure: str) -> float | None:
        """Return a figure; None where it is not known."""
        of = self.values.get(figure)
        return None if of is None or np.isnan(of).all() else float(np.nanmean(of))


@dataclass(frozen=True, kw_only=True)
class Place:
    """A candidate's place in the ranking."""

    name: str
    run: str
    step: int
    figures: dict[str, float | None]
    low: float
    """95 % interval of the score, over episodes drawn with replacement."""
    high: float
    like_the_one_before: bool
    """Whether it cannot be told from the one ranked just before it."""
    best_in: float
    """Share of the draws in which it comes first."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Checkpoints, the best first."""

    score: str
    """The figure that ranks."""
    places: tuple[Place, ...]
    like_the_best: tuple[str, ...]
    """Those that cannot be told from the best, besides itself."""
    data: str
    episodes: int
    held_out: int | None
    """Episodes that none of them was trained on; None where one of them does not say what it was trained on."""


def compare(
    runs: Sequence[str | Path],
    *,
    data: str | Path | None = None,
    checkpoints: str = "last",
    episodes: int = EPISODES,
    cache_dir: Path | None = None,
    device: str = "cpu",
    advance: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Measure checkpoints on the same recorded episodes and rank them.

    Args:
        runs: Runs or checkpoint directories.
        data: A data set; None takes what they were trained on, which must then be the same.
        checkpoints: Of each run: "last", "best", a step's number, or "all".
        episodes: How many; those that none of the policies was trained on first.
        cache_dir: Where decoded frames are kept; None for the user's cache.
        device: Where to compute.
        advance: Called with the name of what is measured next.

    Raises:
        CheckpointError: If there is no policy, or it is damaged.
        ConfigError: If there are fewer than two, or they are of different robots or trained on different data sets.
        DataError: If the data set is missing, damaged or not what the policies take.
    """
    directories = candidates(runs, checkpoints)
    if len(directories) < 2:
        raise ConfigError("there is one checkpoint to compare; give several runs, or --checkpoints all")
    if episodes < 1:
        raise ConfigError(f"--episodes is {episodes}; it must be at least 1")
    chosen, held_out, paths = common_episodes(directories, data, episodes)
    metas = {name: read_meta(directory) for name, directory in directories.items()}
    steps = min(meta.policy.chunk_size for meta in metas.values())
    first_name, first = next(iter(metas.items()))
    for name, meta in metas.items():
        for what in ("action_names", "fps"):
            if getattr(meta.features, what) != getattr(first.features, what):
                raise ConfigError(
                    f"'{name}' has {what} {getattr(meta.features, what)}, '{first_name}' has "
                    f"{getattr(first.features, what)}; compare policies of one robot"
                )
    all_say = all(data_paths(meta) for meta in metas.values())
    measured = []
    for name, directory in directories.items():
        advance(name)
        examined = open_examined(
            directory,
            data=data,
            checkpoint="last",
            episodes=episodes,
            cache_dir=cache_dir,
            device=device,
            chosen=chosen,
        )
        values = figures(examined, steps=steps)
        measured.append(Candidate(name=name, run=str(directory), step=examined.meta.step, values=values))
    data_sets = " and ".join(map(str, paths))
    return rank(measured, data=data_sets, episodes=len(chosen), held_out=held_out if all_say else None)


def candidates(runs: Sequence[str | Path], checkpoints: str) -> dict[str, Path]:
    """Return checkpoint directories by name.

    That is the run's path without the folder that all lie in, with the step where there are several of a run.
    """
    found: dict[str, Path] = {}
    paths = [Path(run).absolute() for run in runs]
    together = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
    for run in paths:
        folder = run / CHECKPOINTS
        several = checkpoints == "all" and folder.is_dir()
        directories = checkpoints_in(folder) if several else [find_checkpoint(run, _one(checkpoints))]
        for directory in directories or [find_checkpoint(run)]:
            name = str(run.relative_to(together))
            found[f"{name}@{read_meta(directory).step}" if several else name] = directory
    return found


def _one(checkpoints: str) -> str:
    return "last" if checkpoints == "all" else checkpoints


def common_episodes(
    directories: dict[str, Path], data: str | Path | None, episodes: int
) -> tuple[tuple[int, ...], int, tuple[Path, ...]]:
    """Return the episodes to compare on, how many of them none was trained on, and the data sets.

    Raises:
        ConfigError: If they were trained on different data sets and none is given.
    """
    splits = {
        name: held_out_episodes(directory, data=data, checkpoint="last") for name, directory in directories.items()
    }
    (first_name, (paths, fresh, trained_on)), *others = splits.items()
    unseen, known = set(fresh), {*fresh, *trained_on}
    for name, (own, fresh, trained_on) in others:
        if own != paths:
            raise ConfigError(
                f"'{first_name}' was trained on {' and '.join(map(str, paths))}, '{name}' on "
                f"{' and '.join(map(str, own))}; give one data set for all with --data"
            )
        unseen &= set(fresh)
        known &= {*fresh, *trained_on}
    chosen = first_episodes(sorted(unseen), sorted(known - unseen), episodes)
    if len(unseen) >= FEWEST:
        chosen = first_episodes(sorted(unseen), (), episodes)
    return chosen, len(set(chosen) & unseen), paths


def figures(examined: Examined, *, steps: int) -> dict[str, np.ndarray]:
    """Measure one policy.

    Args:
        examined: With the episodes that all are compared on.
        steps: Of a chunk: those of the shortest chunk among the policies.
    """
    policy, dataset = examined.policy, examined.dataset
    replays = replay(policy, dataset, held_out=0, most=len(dataset), compared=PER_EPISODE * len(dataset.episodes))
    open_loop = measure_open_loop(policy, replays, (), steps=steps)
    scaled = open_loop.policy.scaled
    n = min(steps, policy.config.n_action_steps)
    values = {
        "first_chunk": first_chunk_errors(policy, replays, steps),
        "open_loop": _at(open_loop.episode, open_loop.by_episode(scaled), len(replays)),
        "first_steps": _at(open_loop.episode, open_loop.by_episode(scaled[:, :n]), len(replays)),
        "gripper": gripper_offsets(policy, replays),
    }
    agreement, smooth = measure_agreement(policy, replays), measure_smoothness(policy, replays)
    values["agreement"] = np.array([np.nan if agreement is None else agreement.relative])
    values["jerk"] = np.array([np.nan if smooth is None else smooth.mean])
    if knows_hand(policy):
        values |= hand_errors(policy, replays, steps)
    return values | _about_the_coordinate(examined)


def first_chunk_errors(policy: Policy, replays: Sequence[Replay], steps: int) -> np.ndarray:
    """Return the open-loop error of the episodes' first chunks (E,), in standard deviations of the actions."""
    scale = action_scale(replays, policy.config.narrowest)
    errors = []
    for of in replays:
        still = held_still(of.episode, policy.features)[0]
        n = min(steps, of.episode.length)
        chunk = as_actions(policy, of.chunks[0][:n], still).astype(np.float64)
        errors.append(np.nanmean(np.abs(chunk - of.episode.action[:n]) / scale))
    return np.array(errors)


def _at(episode: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Values of some episodes as an array of all (E,), nan for the others."""
    of = np.full(n, np.nan)
    of[np.unique(episode)] = values
    return of


def knows_hand(policy: Policy) -> bool:
    """Whether actions can be turned into where the hand is."""
    arm = policy.features.arm
    return arm is not None and arm.gripper is not None and set(arm.joints) <= set(policy.features.action_names)


def hand_errors(policy: Policy, replays: Sequence[Replay], steps: int) -> dict[str, np.ndarray]:
    """Return how far the predicted hand is from the demonstrated one, in millimetres (E,).

    `hand` is the mean over all chunks, `start` that of the first one. `aim` is where the hand would be at the grasp,
    the tick at which the demonstrator first closes the gripper, in the table's plane: the mean over all chunks that
    were predicted before and reach it; nan where there is no grasp.
    """
    arm = policy.features.arm
    assert arm is not None
    hand, grippers = Hand(policy.features, policy.executor_settings, arm), find_grippers(policy, replays)
    along, start, aim = [], [], []
    for of in replays:
        length = of.episode.length
        shown, path = hand.reached(of.episode.action), hand.path(of.chunks)
        assert shown is not None
        assert path is not None
        path = path[:, :steps]
        at = np.arange(length)[:, None] + np.arange(path.shape[1])
        away = np.linalg.norm(path - shown[np.minimum(at, length - 1)], axis=-1)
        along.append(1000 * away[at < length].mean())
        start.append(1000 * away[0, :length].mean())
        closings = [
            frame
            for gripper in grippers
            for frame in switch_frames(of.episode.action[:, gripper.dim], gripper.threshold, gripper.band)[0]
        ]
        if not closings or min(closings) == 0:
            aim.append(np.nan)
            continue
        grasp = min(closings)
        ahead = np.arange(1, min(path.shape[1] - 1, grasp) + 1)
        aimed = path[grasp - ahead, ahead, :2]
        aim.append(1000 * np.linalg.norm(aimed - shown[grasp, :2], axis=-1).mean() if len(ahead) else np.nan)
    return {"start": np.array(start), "aim": np.array(aim), "hand": np.array(along)}


def gripper_offsets(policy: Policy, replays: Sequence[Replay]) -> np.ndarray:
    """Return by how much the executed switches are off (E,) [s]; one missed or spurious counts as `WITHIN_S`."""
    fps, grippers = policy.features.fps, find_grippers(policy, replays)
    means = []
    for of in replays:
        offsets: list[float] = []
        for gripper in grippers:
            both = (
                switch_frames(action[:, gripper.dim], gripper.threshold, gripper.band)
                for action in (of.episode.action, of.executed)
            )
            for demonstrated, predicted in zip(*both, strict=True):
                pairs = match_switches(demonstrated, predicted, WITHIN_S * fps)
                offsets += [abs(p - d) / fps for d, p in pairs]
                offsets += [WITHIN_S] * (len(demonstrated) + len(predicted) - 2 * len(pairs))
        means.append(float(np.mean(offsets)) if offsets else np.nan)
    return np.array(means)


def _about_the_coordinate(examined: Examined) -> dict[str, np.ndarray]:
    policy = examined.policy
    probe = Probe(policy.model, policy.inputs, policy.features, examined.dataset)
    response = demonstrated_response(probe) if probe.has_cue else None
    if response is None:
        return {}
    found = {"collapse": np.array([abs(collapse(probe, response).index)])}
    gain = sensitivity(probe, response, shares=(0.0,), episodes=FEWER).gain
    if gain is not None and response.gain:
        found["sensitivity"] = np.array([gain / response.gain])
    trials = other_cues(probe.episodes, probe.cues(probe.samples(0.0)), known_places(examined.source))
    if len(trials.episode):
        obeyed = swap_test(probe, response, trials).way > HALF
        found["swap"] = np.array(
            [obeyed[of].mean() if (of := trials.episode == i).any() else np.nan for i in range(len(probe.episodes))]
        )
    return found


def rank(measured: Sequence[Candidate], *, data: str, episodes: int, held_out: int | None) -> Comparison:
    """Rank candidates that were measured on the same episodes.

    Raises:
        ConfigError: If no score is known of all of them.
    """
    score = next((name for name in SCORES if all(of.mean(name) is not None for of in measured)), None)
    if score is None:
        raise ConfigError(f"none of {', '.join(SCORES)} is known of all of them; compare on longer episodes (--data)")
    values = np.stack([of.values[score] for of in measured])
    values = values[:, ~np.isnan(values).any(axis=0)]
    draws = _draws(values)
    order = sorted(range(len(measured)), key=lambda i: measured[i].mean(score) or 0.0)
    best = draws.argmin(axis=0)

    def is_told(better: int, worse: int) -> bool:
        return values.shape[1] >= ENOUGH and bool((draws[better] < draws[worse]).mean() >= SURE)

    places = []
    for place, i in enumerate(order):
        of = measured[i]
        low, high = np.quantile(draws[i], (0.025, 0.975))
        places.append(
            Place(
                name=of.name,
                run=of.run,
                step=of.step,
                figures={name: of.mean(name) for name in FIGURES},
                low=float(low),
                high=float(high),
                like_the_one_before=place > 0 and not is_told(order[place - 1], i),
                best_in=float((best == i).mean()),
            )
        )
    return Comparison(
        score=score,
        places=tuple(places),
        like_the_best=tuple(measured[i].name for i in order[1:] if not is_told(order[0], i)),
        data=data,
        episodes=episodes,
        held_out=held_out,
    )


def _draws(values: np.ndarray) -> np.ndarray:
    """Return the mean scores (C, DRAWS) of values (C, E), the same episodes drawn with replacement for all."""
    which = np.random.default_rng(0).integers(values.shape[1], size=(DRAWS, values.shape[1]))
    return np.asarray(values[:, which].mean(axis=2))


def summary(comparison: Comparison) -> str:
    """Return the answer in a sentence."""
    best, figure = comparison.places[0], FIGURES[comparison.score]
    said = (
        f"best: {best.name}: {figure.title} {best.figures[comparison.score]:.{figure.digits}f} {figure.unit} "
        f"({best.low:.{figure.digits}f} to {best.high:.{figure.digits}f})"
    )
    like = comparison.like_the_best
    if like:
        shown = ", ".join(like[:4]) + (f" and {len(like) - 4} more" if len(like) > 4 else "")
        said += f"; on these {comparison.episodes} episodes it cannot be told from {shown}"
    return said


def to_json(comparison: Comparison) -> str:
    """Return a comparison as JSON."""
    units: dict[str, Any] = {name: asdict(figure) for name, figure in FIGURES.items()}
    content = {"schema_version": SCHEMA_VERSION, **asdict(comparison), "units": units}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
