"""How well does a ranking without a robot agree with success? `foreact compare` against closed loop, in simulation.

    python benchmarks/ranking.py --study STUDY --work WORK

STUDY holds what `python benchmarks/grounding run` trained. The success of each run's last checkpoint at L1 is read from
benchmarks/results/grounding/ (200 episodes); one more training run with ten checkpoints is made here, and its
checkpoints and the study's earliest are measured on 100 episodes. All are ranked on demonstrations that none was
trained on, recorded here. Stopped, it goes on where it was. Writes benchmarks/results/ranking.json and
docs/ranking.png.

Which figure ranks is chosen on half of the training runs and tried on the other half, many times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

import foreact
from foreact.diagnose.compare import FIGURES, SCORES, candidates, figures
from foreact.diagnose.examined import open_examined
from foreact.policy.checkpoint import CHECKPOINTS, checkpoints_in, load_policy, read_meta
from foreact.sim.evaluation import Evaluation
from foreact.sim.rollout import rollout, task_for_policy
from foreact.sim.task import level

LEVEL, EVAL_SEED, EVALUATED = "L1", 1_000_000, 100
DATA_SEED, EPISODES = 500_000, 30
EARLY = 1000
"""Training steps up to which a run's earliest checkpoint is measured too; later ones are like the last."""
FAMILY = "family"
RESULTS = Path(__file__).parent / "results"
DRAWS, SPLITS = 1000, 500
GOOD = 0.4
"""Success from which a checkpoint is among those that the choice is really between."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    study: Path
    """Where the study's runs and data are."""
    work: Path
    """Where recordings, the training run and what is measured are kept."""
    train_on: str = "recording-c9b187c4"
    """The study's data set (400 demonstrations at L2) that the run with ten checkpoints is trained on."""
    out: Path = RESULTS / "ranking.json"
    picture: Path = Path(__file__).parents[1] / "docs" / "ranking.png"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One checkpoint."""

    name: str
    run: str
    """The training run that it is of."""
    successes: int
    episodes: int
    figures: dict[str, float]

    @property
    def success(self) -> float:
        """Rate in closed loop."""
        return self.successes / self.episodes


def main() -> None:
    """Record, train, measure, compare, write."""
    options = tyro.cli(Options)
    options.work.mkdir(parents=True, exist_ok=True)
    data = record(options)
    train(options)
    measured = []
    for name, run, directory, known in checkpoints(options):
        successes, episodes = known or evaluate(name, directory, options.work)
        of = read_figures(name, directory, data, options.work)
        measured.append(Measured(name=name, run=run, successes=successes, episodes=episodes, figures=of))
    content = analyse(measured)
    options.out.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    draw(measured, content, options.picture)
    for name, of in content["figures"].items():
        low, high = of["spearman_95"]
        print(f"{name:12} Spearman {of['spearman']:.2f} ({low:.2f} to {high:.2f})")


def _foreact(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "foreact", *words], check=True)


def record(options: Options) -> Path:
    """Return demonstrations that no policy was trained on."""
    path = options.work / "data"
    size = ["--task.overhead-size", "128", "128", "--task.wrist-size", "96", "96"]
    _foreact("record", str(path), "--level", LEVEL, "--episodes", "60", "--seed", str(DATA_SEED), *size)
    return path


def train(options: Options) -> None:
    """Train one policy and keep its checkpoints."""
    out = options.work / FAMILY
    if out.exists():
        return
    data = str(options.study / "data" / options.train_on)
    words = ["train", "compact-grounded", "--data", data, "--out", str(out), "--policy.cameras", "overhead"]
    crop_alone = "--policy.conditioning token crop frame --policy.cue-crop-full --policy.cue-crop-full-scale 1"
    budget = "--train.steps 1200 --train.save-every 120 --train.val-every 400 --train.keep-last 20"
    _foreact(*words, *crop_alone.split(), *budget.split())


def checkpoints(options: Options) -> list[tuple[str, str, Path, tuple[int, int] | None]]:
    """Return name, run, directory and known successes of episodes of every checkpoint."""
    found: list[tuple[str, str, Path, tuple[int, int] | None]] = []
    for result in sorted((RESULTS / "grounding").glob("*.json")):
        conditions = json.loads(result.read_text())["conditions"]
        folder = options.study / result.stem / "run" / CHECKPOINTS
        if LEVEL not in conditions or not folder.is_dir() or not (all_of := checkpoints_in(folder)):
            continue
        known = conditions[LEVEL]["successes"], conditions[LEVEL]["episodes"]
        last, first = all_of[-1], all_of[0]
        found.append((result.stem, result.stem, last, known))
        if len(all_of) > 1 and (step := read_meta(first).step) <= EARLY:
            found.append((f"{result.stem}@{step}", result.stem, first, None))
    for directory in candidates([options.work / FAMILY], "all").values():
        if (step := read_meta(directory).step) % 120 == 0:
            found.append((f"{FAMILY}@{step}", FAMILY, directory, None))
    return found


def evaluate(name: str, directory: Path, work: Path) -> tuple[int, int]:
    """Return successes and episodes in closed loop, at the seeds of the study."""
    file = work / "success" / f"{name}.json"
    if not file.exists():
        policy = load_policy(directory)
        seeds = range(EVAL_SEED, EVAL_SEED + EVALUATED)
        episodes = rollout(policy, task_for_policy(level(LEVEL), policy), seeds, n_envs=1, name=name)
        successes = Evaluation(name=name, episodes=episodes).successes
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"episodes": len(episodes), "successes": successes}))
    content = json.loads(file.read_text())
    return content["successes"], content["episodes"]


def read_figures(name: str, directory: Path, data: Path, work: Path) -> dict[str, float]:
    """Return what `foreact compare` measures of a checkpoint."""
    file = work / "compared" / f"{name}.json"
    if not file.exists():
        examined = open_examined(
            directory, data=data, checkpoint="last", episodes=EPISODES, cache_dir=work / "frames", device="cpu"
        )
        values = figures(examined, steps=examined.policy.config.chunk_size)
        means = {key: float(np.nanmean(of)) for key, of in values.items() if not np.isnan(of).all()}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(means))
        print(f"{name}: {means}", flush=True)
    found: dict[str, float] = json.loads(file.read_text())
    return found


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks (N,) from 1, equal values the mean of theirs."""
    return np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the rank correlation; 0 where one of the two does not vary."""
    of = np.stack([ranks(one), ranks(other)])
    return 0.0 if (of.std(axis=1) == 0).any() else float(np.corrcoef(of)[0, 1])


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Return Kendall's tau-b; 0 where one of the two does not vary."""
    signs = [np.sign(of[:, None] - of[None]) for of in (one, other)]
    size = np.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum())
    return float((signs[0] * signs[1]).sum() / size) if size else 0.0


def quality(measured: Sequence[Measured], figure: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a figure, more being better, and success, of the checkpoints that have it."""
    known = [of for of in measured if figure in of.figures]
    sign = 1 if FIGURES[figure].more_is_better else -1
    return np.array([sign * of.figures[figure] for of in known]), np.array([of.success for of in known])


def analyse(measured: Sequence[Measured]) -> dict[str, Any]:
    """Return rank correlations of each figure with success, with intervals, and what choosing among them gives."""
    study = [of for of in measured if of.run != FAMILY]
    family = [of for of in measured if of.run == FAMILY]
    names = [name for name in FIGURES if sum(name in of.figures for of in study) > 0.8 * len(study)]
    return {
        "command": "python benchmarks/ranking.py --study STUDY --work WORK",
        "versions": {"foreact": foreact.__version__, "python": sys.version.split()[0], "numpy": np.__version__},
        "level": LEVEL,
        "compared_on_episodes": EPISODES,
        "checkpoints": len(measured),
        "score_of_foreact_compare": SCORES[0],
        "figures": {name: agreement(study, name) for name in names},
        "all_with_the_family": {name: agreement(measured, name) for name in names},
        "family": {name: agreement(family, name) for name in names},
        "those_that_succeed_in_40_percent": {
            name: agreement([of for of in study if of.success >= GOOD], name) for name in names
        },
        "chosen_on_half": choose_on_half(study, names),
        "measured": [
            {"name": of.name, "run": of.run, "successes": of.successes, "episodes": of.episodes, "figures": of.figures}
            for of in measured
        ],
    }


def agreement(measured: Sequence[Measured], figure: str) -> dict[str, Any]:
    """Return the rank correlations of a figure, with 95 % intervals over training runs drawn with replacement.

    Of one run its checkpoints are drawn.
    """
    known = [of for of in measured if figure in of.figures]
    runs = sorted({of.run for of in known})
    groups = [[of for of in known if of.run == run] for run in runs] if len(runs) > 1 else [[of] for of in known]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        chosen = [of for which in rng.integers(len(groups), size=len(groups)) for of in groups[which]]
        one, other = quality(chosen, figure)
        drawn.append((spearman(one, other), kendall(one, other)))
    low, high = np.quantile(np.array(drawn), (0.025, 0.975), axis=0)
    one, other = quality(known, figure)
    return {
        "checkpoints": len(known),
        "spearman": round(spearman(one, other), 3),
        "spearman_95": [round(float(low[0]), 3), round(float(high[0]), 3)],
        "kendall": round(kendall(one, other), 3),
        "kendall_95": [round(float(low[1]), 3), round(float(high[1]), 3)],
        "best_by_figure_succeeds": round(float(other[one.argmax()]), 3),
        "best_succeeds": round(float(other.max()), 3),
    }


def choose_on_half(measured: Sequence[Measured], names: Sequence[str]) -> dict[str, Any]:
    """Choose the figure on half of the runs and try it on the other half, `SPLITS` times."""
    runs = sorted({of.run for of in measured})
    rng = np.random.default_rng(0)
    chosen: list[str] = []
    tried: list[float] = []
    each: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(SPLITS):
        half = set(rng.permutation(runs)[: len(runs) // 2])
        here, there = [of for of in measured if of.run in half], [of for of in measured if of.run not in half]
        best = max(names, key=lambda name: spearman(*quality(here, name)))
        chosen.append(best)
        for name in names:
            each[name].append(spearman(*quality(there, name)))
        tried.append(each[best][-1])
    low, middle, high = (round(float(of), 3) for of in np.quantile(tried, (0.025, 0.5, 0.975)))
    return {
        "splits": SPLITS,
        "share_of_splits_that_choose": {name: chosen.count(name) / SPLITS for name in names if name in chosen},
        "spearman_of_the_chosen_on_the_other_half": {"median": middle, "quantiles_95": [low, high]},
        "median_spearman_on_the_other_half": {name: round(float(np.median(of)), 3) for name, of in each.items()},
    }


def draw(measured: Sequence[Measured], content: dict[str, Any], path: Path) -> None:
    """Write the scatter plot of the score and of the open-loop error against success."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
    kinds = ((False, "#3b82c4", "the study's runs"), (True, "#e0a030", "one run's checkpoints"))
    for axes, name in zip(both, (SCORES[0], "open_loop"), strict=True):
        for of_family, colour, label in kinds:
            known = [of for of in measured if name in of.figures and (of.run == FAMILY) == of_family]
            x, y = [of.figures[name] for of in known], [100 * of.success for of in known]
            axes.plot(x, y, "o-" if of_family else "o", color=colour, markersize=5, linewidth=0.8, label=label)
        rho = content["figures"][name]["spearman"]
        axes.set_xscale("log")
        axes.set_xlabel(f"{FIGURES[name].title} [{FIGURES[name].unit}]   (Spearman {abs(rho):.2f})")
        axes.grid(alpha=0.25, which="both")
    both[0].set_ylabel("success at L1 [%]")
    both[0].legend(frameon=False)
    both[1].set_xticks([0.15, 0.2, 0.3, 0.6], ["0.15", "0.2", "0.3", "0.6"], minor=False)
    both[1].set_xticks([], minor=True)
    both[0].set_xticks([10, 20, 40, 80], ["10", "20", "40", "80"], minor=False)
    both[0].set_xticks([], minor=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
