"""`foreact plan PRESET --image 480x640 --gpus 8`: what a training would cost, before there is any data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from foreact.cli.options import parse, value_of
from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.errors import ConfigError, unknown_name
from foreact.presets import PRESETS, preset

if TYPE_CHECKING:
    from foreact.records import Features
    from foreact.train.cost import StepCost
    from foreact.train.rates import Card

_SHORT = {"--chunk": "--policy.chunk-size", "--layers": "--policy.n-encoder-layers", "--batch": "--train.batch-size"}


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Predict what a training costs: parameters, memory, samples a second, hours, disk.

    The preset comes first and gives every default below; --chunk, --layers (of the encoder) and --batch are short for
    the options of policy and training. The step is counted from the configuration; how fast that is, is measured on
    this machine in some seconds, or taken from what is published of a graphics card. Reading data, validation and
    checkpoints are left out.
    """

    data: Path | None = None
    """Take cameras, sizes and the number of frames from a data set; otherwise what the preset's robot usually has."""
    image: str | None = None
    """HEIGHTxWIDTH of the data's pictures; a preset that resizes them goes on doing so."""
    cameras: int | None = None
    """How many."""
    samples: int | None = None
    """Budget that the hours are for; the preset's where it is not given."""
    episodes: int | None = None
    """Of the data, for the size of the frame cache; with --frames."""
    frames: int = 400
    """Of an episode."""
    gpus: int = 0
    """How many graphics cards; 0 plans for this machine's processor."""
    device: str | None = None
    """Which card (a100, h100, l4, rtx3090, rtx4090, t4), by its published float32 figures: nobody has checked these
    predictions. a100 where it is not given."""
    tflops: float | None = None
    """Of a card that is not listed, or in another precision."""
    bandwidth: float | None = None
    """Of its memory [GB/s]."""
    link: float = 31.5
    """GB/s in one direction between two cards; PCIe 4.0 x16 has 31.5."""
    threads: int | None = None
    """Of this machine's processor; $OMP_NUM_THREADS or as many as there are free cores where it is not given."""
    rates: Path | None = None
    """File of this machine's rates: read where it exists, otherwise measured and written."""
    json: Path | None = None
    """Write everything here."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was predicted."""

    where: str
    """On which processor or card."""
    step_s: float
    """Seconds of an optimiser step."""
    all_reduce_s: float
    """Seconds of it that cards wait for each other's gradients, if nothing is computed meanwhile."""
    samples_per_s: float
    """Of all cards together."""
    samples: int
    hours: float
    memory: int
    """Bytes: on a processor of the whole process, on a card of the tensors."""
    checkpoint: int
    """Bytes."""
    frame_cache: int | None
    """Bytes; None where the number of frames is not known."""


def run(arguments: list[str]) -> int:
    """Parse, count, measure, print and return 0."""
    if not arguments or arguments[0].startswith("-"):
        if "--help" not in arguments and "-h" not in arguments:
            raise ConfigError(f"no preset: type foreact plan PRESET; choices: {', '.join(PRESETS)}")
        name, rest = "so101", arguments
    else:
        name, *rest = arguments
    options = _options(name, rest)

    from foreact.console import console, warn
    from foreact.data.frame_windows import frame_bytes
    from foreact.memory import keep_freed_memory
    from foreact.threads import set_threads
    from foreact.train.cost import checkpoint_bytes, count_step
    from foreact.train.rates import GPU_CALLS, all_reduce_seconds, card_rates, process_bytes, rates_of

    keep_freed_memory()  # as training does: what is measured must not ask the system for memory that training has
    besides = process_bytes()
    run = RunConfig(policy=options.policy, train=options.train)
    features, n_frames = _features(name, options)
    cost = count_step(run, features)
    n_devices, calls_s, all_reduce_s = max(options.gpus, 1), 0.0, 0.0
    if options.gpus:
        card, where = _card(options)
        rates = card_rates(card.tflops, card.bandwidth)
        calls_s = cost.operations / GPU_CALLS
        all_reduce_s = all_reduce_seconds(cost.trained, n_devices, options.link)
    else:
        where = f"this processor, {set_threads(options.threads or 'free')}"
        console.print(f"measuring {where}", highlight=False)
        rates = rates_of(options.rates)
    step_s = run.train.accumulate * (cost.seconds(rates) + calls_s) + all_reduce_s
    samples_a_step = n_devices * run.train.accumulate * run.train.batch_size
    samples = options.samples or run.train.steps * samples_a_step
    plan = Plan(
        where=where,
        step_s=step_s,
        all_reduce_s=all_reduce_s,
        samples_per_s=samples_a_step / step_s,
        samples=samples,
        hours=samples * step_s / samples_a_step / 3600,
        memory=round(cost.peak) if options.gpus else cost.process_peak(besides),
        checkpoint=checkpoint_bytes(cost),
        frame_cache=None if n_frames is None else n_frames // run.policy.downsample_factor * frame_bytes(features),
    )
    if options.gpus and plan.memory > card.memory * 1e9:
        warn(f"a batch of {run.train.batch_size} does not fit into {card.memory:g} GB; choose a smaller --batch")
    _print(name, run, features, cost, {part: work.seconds(rates) for part, work in cost.work.items()}, plan)
    if options.json is not None:
        content = {
            "plan": asdict(plan),
            "parameters": dict(cost.parameters),
            "work": {part: dict(work.amounts) for part, work in cost.work.items()},
            "peaks": dict(cost.peaks),
            "rates": rates,
            "run": asdict(run),
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _options(name: str, words: list[str]) -> PlanOptions:
    recipe = preset(name)
    words = [_SHORT.get(flag, flag) + equals + value for flag, equals, value in (word.partition("=") for word in words)]
    chunk = value_of(words, "--policy.chunk-size") or ""
    if chunk.isdigit() and value_of(words, "--policy.n-action-steps") is None:
        # How a chunk is executed costs no training, and a shorter one need not be refused for it.
        words += ["--policy.n-action-steps", str(max(1, min(int(chunk), recipe.policy.n_action_steps)))]
    default = PlanOptions(policy=recipe.policy, train=recipe.train)
    options = parse(PlanOptions, words, command=f"plan {name}", default=default)
    for flag in ("cameras", "samples", "episodes", "frames", "threads", "tflops", "bandwidth", "link"):
        number = getattr(options, flag)
        if number is not None and number <= 0:
            raise ConfigError(f"--{flag} is {number}; it must be positive")
    if options.gpus < 0:
        raise ConfigError(f"--gpus is {options.gpus}; it must not be negative")
    if not options.gpus and (options.device or options.tflops or options.bandwidth):
        raise ConfigError("--device, --tflops and --bandwidth are a graphics card's; say how many with --gpus 1")
    return options


def _features(name: str, options: PlanOptions) -> tuple[Features, int | None]:
    """Return what the policy takes of the data, and how many frames there are."""
    from foreact.data.selection import select_features
    from foreact.data.source import open_source
    from foreact.train.stand_in import ROBOTS, SO101, stand_in_features

    if options.data is not None:
        if options.image or options.cameras:
            raise ConfigError("--data says what the pictures are; leave out --image and --cameras")
        source = open_source(options.data)
        return select_features(source.features, options.policy), sum(source.lengths.values())
    robot = ROBOTS.get(name, SO101)
    if options.image is not None:
        robot = replace(robot, size=_size(options.image))
    if options.cameras is not None:
        robot = replace(robot, n_cameras=options.cameras)
    n_frames = None if options.episodes is None else options.episodes * options.frames
    return select_features(stand_in_features(robot), options.policy), n_frames


def _size(text: str) -> tuple[int, int]:
    height, x, width = text.partition("x")
    if not (x and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ConfigError(f"--image '{text}' is not HEIGHTxWIDTH, for example 96x96 or 480x640")
    return int(height), int(width)


def _card(options: PlanOptions) -> tuple[Card, str]:
    """Return a card, and words for what is planned on it."""
    from foreact.train.rates import CARDS, GPU_SHARE, Card

    if (options.tflops is None) != (options.bandwidth is None):
        raise ConfigError("--tflops and --bandwidth go together: a step needs both")
    if options.tflops is not None and options.bandwidth is not None:
        name, card = "card", Card(tflops=options.tflops, bandwidth=options.bandwidth)
    else:
        name = options.device or "a100"
        if name not in CARDS:
            raise ConfigError(unknown_name("device", name, CARDS))
        card = CARDS[name]
    reached = f"{GPU_SHARE:.0%} of {card.tflops:g} TFLOPS and of {card.bandwidth:g} GB/s"
    return card, f"{options.gpus} x {name} ({card.source}), if {reached} are reached: nobody has checked this"


def _print(
    name: str, run: RunConfig, features: Features, cost: StepCost, seconds: dict[str, float], plan: Plan
) -> None:
    from rich.table import Table

    from foreact.console import out
    from foreact.data.files import size_text

    cameras = ", ".join(f"{camera.height}x{camera.width}" for camera in features.cameras) or "none"
    policy, train = run.policy, run.train
    table = Table(title=f"{name}: cameras {cameras}; chunk {policy.chunk_size}; batch {train.batch_size}")
    for column in ("part", "parameters", "GFLOP a sample", "share of a step"):
        table.add_column(column, justify="left" if column == "part" else "right")
    whole = sum(seconds.values())
    for part, work in cost.work.items():
        gflop = work.flops / train.batch_size / 1e9
        table.add_row(part, f"{cost.parameters.get(part, 0):,}", f"{gflop:.2f}", f"{seconds[part] / whole:.0%}")
    table.add_section()
    all_gflop = cost.all_work.flops / train.batch_size / 1e9
    table.add_row("together", f"{cost.n_parameters:,}", f"{all_gflop:.2f}", "100%")
    out.print(table)
    averaged = "" if train.ema_decay is None else f", their average {size_text(cost.weights)}"
    held = "in the process" if "processor" in plan.where else "on each card"
    lines = [
        f"memory: weights {size_text(cost.weights)}{averaged}, gradients {size_text(cost.trained)}, "
        f"AdamW {size_text(2 * cost.trained)}, kept for the way back {size_text(cost.activations)}; "
        f"at most {size_text(plan.memory)} {held}",
        f"speed:  {plan.samples_per_s:.3g} samples/s, {plan.step_s:.3g} s a step, on {plan.where}",
        f"time:   {plan.hours:.3g} hours for {plan.samples:,} samples",
        f"disk:   {size_text(plan.checkpoint)} a checkpoint"
        + (f", {size_text(plan.frame_cache)} of decoded frames" if plan.frame_cache is not None else ""),
    ]
    if train.precision != "32-true":
        lines[1] += f"; counted in float32, not in {train.precision}"
    if plan.all_reduce_s:
        lines[1] += f"; {plan.all_reduce_s:.2g} s of it exchanging gradients"
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)
