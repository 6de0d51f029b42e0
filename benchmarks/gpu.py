"""ACT on a GPU beside LeRobot's with the same weights: training steps and chunks, in one command of under ten minutes.

    .venv-lerobot/bin/python -m benchmarks.gpu --out benchmarks/results/gpu.json

Needs LeRobot 0.6.1 beside foreact in one environment (`make test-lerobot` makes it); for a machine with PyTorch but
no network `scripts/gpu_wheels.sh` gathers what is to be carried there, 45 MB of wheels, and says how to use them.

For each size and batch all networks lie on the card and take turns, so that a ratio is that of one turn; the most
telling rows come first, and what does not fit into the seconds or onto the card is named in the table. No time counts
before both networks have given the same chunk to 1e-5 in plain float32. A share of the peak is LeRobot's count of FLOPs
over the time of this card's own fastest matrix product in that precision, measured first.

Ways to compute: float32 without and with TF32, bfloat16 autocast; `compile` is torch.compile; `graph` replays the whole
training step or prediction as one CUDA graph; `unfused` is AdamW as a loop. LeRobot's own ways are float32 and what its
trainer does with mixed precision: float16 autocast with a scaler. `channels last`, which ours always is, is tried on
LeRobot's.
"""

from __future__ import annotations

import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import tyro
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from lerobot_twin import Pair, lerobot_batch, make_batch, make_pair
from record import Record

from foreact.model.losses import act_loss
from foreact.presets import preset
from foreact.records import Batch
from foreact.train.optimizer import gradient_norm, parameter_groups

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
SAME = 1e-5
"""Largest difference of two chunks in float32."""
GOALS = {("training", 8): {"fp32": 3.0, "amp": 1.5}, ("inference", 1): {"fp32": 4.0}}
"""Times LeRobot's float32, and its mixed precision."""
ROUNDS = 7


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    sizes: tuple[str, ...] = ("so101", "r1pro", "compact")
    train_batches: tuple[int, ...] = (8, 32, 64, 256)
    chunk_batches: tuple[int, ...] = (1, 64)
    seconds: float = 540.0
    """No group is begun after that."""
    device: str = "cuda"
    """On `cpu` the same code runs, for a test of the benchmark, without graphs, compiling and float16."""
    seed: int = 0
    out: Path | None = None
    """Write the figures here as JSON, after each group anew."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to compute the same."""

    side: Literal["ours", "lerobot"]
    precision: Precision
    extra: Literal["", "compile", "graph", "channels last", "unfused"] = ""

    @property
    def name(self) -> str:
        """Its row's name."""
        return " ".join(word for word in (self.side, self.precision, self.extra) if word)


THEIRS = (Way(side="lerobot", precision="fp32"), Way(side="lerobot", precision="fp16"))
PLAIN = tuple(Way(side="ours", precision=precision) for precision in ("fp32", "tf32", "bf16"))
GRAPHS = (Way(side="ours", precision="fp32", extra="graph"), Way(side="ours", precision="bf16", extra="graph"))
COMPILED = (Way(side="ours", precision="bf16", extra="compile"),)
SINGLE = (
    Way(side="ours", precision="bf16", extra="unfused"),
    Way(side="lerobot", precision="fp16", extra="channels last"),
)
"""What single techniques give: ours without one, LeRobot's with another."""


def ways_of(stage: str, batch: int, options: Options) -> tuple[Way, ...]:
    """Return the ways that a group compares; everything at the batch of the goals, less elsewhere."""
    on_card = torch.device(options.device).type == "cuda"
    ways = THEIRS + PLAIN + (GRAPHS if on_card else ())
    if (stage, batch) in GOALS:
        ways += COMPILED if on_card else ()
        ways += tuple(way for way in SINGLE if stage == "training" or way.extra != "unfused")
    return tuple(way for way in ways if on_card or way.precision != "fp16")


class Turn:
    """A call whose time is measured, on whatever device."""

    def __init__(self, call: Callable[[], object], device: torch.device) -> None:
        """Keep the call."""
        self.call, self.device = call, device

    def milliseconds(self, times: int) -> float:
        """Return what one of so many calls in a row takes."""
        if self.device.type != "cuda":
            begun = time.perf_counter()
            for _ in range(times):
                self.call()
            return 1000 * (time.perf_counter() - begun) / times
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        first.record()
        for _ in range(times):
            self.call()
        last.record()
        torch.cuda.synchronize()
        return first.elapsed_time(last) / times


def autocast(way: Way, device: torch.device) -> Any:
    """Return the context of a way's precision."""
    dtype = torch.float16 if way.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=way.precision in ("bf16", "fp16"))


def in_precision(way: Way, call: Callable[[], object]) -> Callable[[], object]:
    """Return a call that switches TF32 as its way wants it; a captured graph keeps what it was captured with."""

    def switched() -> object:
        allowed = way.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
        return call()

    return switched


def captured(call: Callable[[], object]) -> Callable[[], object]:
    """Return the replay of a call as one CUDA graph, after calls that are not captured."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def training_step(way: Way, pair: Pair, preset_name: str, raw: Batch, device: torch.device) -> Callable[[], object]:
    """Return a step: forward, loss, backward, clipping, AdamW."""
    train = preset(preset_name).train
    if way.side == "lerobot":
        theirs, given = deepcopy(pair.theirs).to(device).train(), lerobot_batch(raw)
        if way.extra == "channels last":
            theirs = theirs.to(memory_format=torch.channels_last)
        theirs.config.device = device.type
        optimizer = torch.optim.AdamW(theirs.get_optim_params(), lr=train.lr, weight_decay=train.weight_decay)
        scaler = torch.amp.GradScaler(device.type, enabled=way.precision == "fp16" and device.type == "cuda")

        def their_step() -> None:
            optimizer.zero_grad()
            with autocast(way, device):
                loss = theirs.forward(given)[0]
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 10.0)
            scaler.step(optimizer)
            scaler.update()

        return their_step
    ours = deepcopy(pair.ours).to(device).train()
    groups = parameter_groups(ours, train)
    ours_optimizer = torch.optim.AdamW(
        groups, lr=train.lr, weight_decay=train.weight_decay, fused=way.extra != "unfused",
        foreach=False if way.extra == "unfused" else None, capturable=way.extra == "graph",
    )  # fmt: skip
    if way.extra == "compile":
        ours.compile()

    def our_step() -> None:
        ours_optimizer.zero_grad(set_to_none=True)
        with autocast(way, device):
            loss = act_loss(ours(raw, z="posterior"), raw, pair.config).loss
        loss.backward()
        gradient_norm(ours, 10.0)
        ours_optimizer.step()

    return our_step


def prediction(way: Way, pair: Pair, raw: Batch, device: torch.device) -> Callable[[], torch.Tensor]:
    """Return a call that predicts chunks."""
    if way.side == "lerobot":
        theirs, given = deepcopy(pair.theirs).to(device).eval(), lerobot_batch(raw)
        if way.extra == "channels last":
            theirs = theirs.to(memory_format=torch.channels_last)
        theirs.config.device = device.type

        def their_chunk() -> torch.Tensor:
            with torch.inference_mode(), autocast(way, device):
                return theirs.predict_action_chunk(given)

        return their_chunk
    ours = deepcopy(pair.ours).eval().folded().to(device)
    if way.extra == "compile":
        ours.compile()

    def our_chunk() -> torch.Tensor:
        with torch.no_grad(), autocast(way, device):
            return ours(raw).action_hat

    return our_chunk


def ready(way: Way, call: Callable[[], object], device: torch.device) -> Turn:
    """Return a way's call, warmed up, compiled or captured."""
    switched = in_precision(way, call)
    for _ in range(3):
        switched()
    if way.extra == "graph":
        switched = captured(switched)
    return Turn(switched, device)


def check_same(pair: Pair, raw: Batch, device: torch.device) -> float:
    """Return how far the two networks' chunks differ in float32.

    Raises:
        SystemExit: If it is more than they may.
    """
    plain = Way(side="ours", precision="fp32")
    ours = in_precision(plain, prediction(plain, pair, raw, device))()
    theirs = in_precision(plain, prediction(Way(side="lerobot", precision="fp32"), pair, raw, device))()
    assert isinstance(ours, torch.Tensor)
    assert isinstance(theirs, torch.Tensor)
    difference = (ours - theirs).abs().max().item()
    if not difference <= SAME:  # nor where it is not a number
        raise SystemExit(f"the chunks differ by {difference:.1e}: no time counts")
    return difference


def peaks(device: torch.device) -> dict[str, float]:
    """Return this device's rates: TFLOP/s of large products by precision, GB/s of a copy."""
    n = 8192 if device.type == "cuda" else 512
    found = {}
    for precision in get_args(Precision)[: 4 if device.type == "cuda" else 3]:
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
        a, b = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, device=device, dtype=dtype)
        way = Way(side="ours", precision=precision)
        turn = Turn(in_precision(way, lambda a=a, b=b: a @ b), device)  # type: ignore[misc]
        turn.milliseconds(2)
        found[precision] = round(2 * n**3 / min(turn.milliseconds(3) for _ in range(3)) / 1e9, 3)
    large = torch.empty(n * n, device=device)
    copy = Turn(lambda: large.clone(), device)
    copy.milliseconds(2)
    found["copy_gb_s"] = round(8 * n * n / min(copy.milliseconds(3) for _ in range(3)) / 1e6, 1)
    return found


def group(
    stage: str, name: str, batch: int, pair: Pair, options: Options, peak: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one stage, size and batch; every way takes its turn in each round."""
    device = torch.device(options.device)
    raw = make_batch(pair, batch).to(device)
    turns: dict[Way, Turn] = {}
    failed: dict[Way, str] = {}
    memory: dict[Way, float] = {}
    for way in ways_of(stage, batch, options):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
        try:
            call = (
                training_step(way, pair, name, raw, device)
                if stage == "training"
                else prediction(way, pair, raw, device)
            )
            turns[way] = ready(way, call, device)
        except torch.cuda.OutOfMemoryError:
            failed[way] = "does not fit on the card"
            free()
        else:
            memory[way] = (torch.cuda.max_memory_allocated() - before) / 1e6 if device.type == "cuda" else 0.0
    n_calls = {way: max(1, min(50, int(300 / turn.milliseconds(2)))) for way, turn in turns.items()}
    spent = [{way: turn.milliseconds(n_calls[way]) for way, turn in turns.items()} for _ in range(ROUNDS)]
    flop = flops(stage, name, pair, raw, device)
    for way in (*turns, *failed):
        row: dict[str, Any] = {"stage": stage, "size": name, "batch": batch, "way": way.name}
        if way in failed:
            yield row | {"failed": failed[way]}
            continue
        times = [of[way] for of in spent]
        ms = statistics.median(times)
        row |= {"ms": round(ms, 3), "ms_from_to": [round(min(times), 3), round(max(times), 3)]}
        row |= {"samples_per_s": round(1000 * batch / ms, 1), "memory_mb": round(memory[way])}
        row["share_of_peak"] = round(flop / ms / 1e9 / peak[way.precision], 3)
        for baseline, theirs in (("fp32", THEIRS[0]), ("amp", THEIRS[1])):
            if theirs in turns:
                ratios = sorted(of[theirs] / of[way] for of in spent)
                row[f"times_lerobot_{baseline}"] = round(statistics.median(ratios), 2)
                row[f"times_lerobot_{baseline}_from_to"] = [round(ratios[0], 2), round(ratios[-1], 2)]
        yield row
    turns.clear()
    free()


def flops(stage: str, name: str, pair: Pair, raw: Batch, device: torch.device) -> float:
    """Return LeRobot's FLOPs of a call."""
    way = THEIRS[0]
    one = raw.map(lambda tensor: tensor[:1])
    call = training_step(way, pair, name, one, device) if stage == "training" else prediction(way, pair, one, device)
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) * raw.size


def free() -> None:
    """Give the card back what nobody holds any more."""
    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(options: Options) -> None:
    """Measure group by group, print each row, and write all of them after each group."""
    begun, record = time.perf_counter(), Record(seed=options.seed)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU that PyTorch can use; --device cpu tries the same code without")
    peak = peaks(device)
    card = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{card}: {peak}", flush=True)
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    same: dict[str, float] = {}
    # The goals' batches of all sizes come before anything else.
    telling = [(stage, batch) for stage, batch in GOALS if batch in batches_of(stage, options)]
    others = [(s, b) for s in ("training", "inference") for b in batches_of(s, options) if (s, b) not in telling]
    pairs = {name: make_pair(name, options.seed) for name in options.sizes}
    for stage, batch, name in [(s, b, n) for part in (telling, others) for s, b in part for n in options.sizes]:
        if time.perf_counter() - begun > options.seconds:
            skipped.append(f"{stage} {name} batch {batch}")
            continue
        if name not in same:
            same[name] = check_same(pairs[name], make_batch(pairs[name], 1).to(device), device)
        for row in group(stage, name, batch, pairs[name], options, peak):
            rows.append(row)
            print(json.dumps(row), flush=True)
        threads = torch.get_num_threads()
        record.write(
            options.out,
            results=rows,
            not_measured_for_time=skipped,
            chunks_differ_by=same,
            goals={f"{stage} batch {batch}": goal for (stage, batch), goal in GOALS.items()},
            peak=peak,
            settings={"device": card, "cuda": torch.version.cuda, "seconds": round(time.perf_counter() - begun, 1)},
            threads={"ours": threads, "LeRobot": threads},
        )
    print(f"not measured for lack of time: {', '.join(skipped) or 'nothing'}", flush=True)


def batches_of(stage: str, options: Options) -> tuple[int, ...]:
    """Return a stage's batches."""
    return options.train_batches if stage == "training" else options.chunk_batches


if __name__ == "__main__":
    main(tyro.cli(Options))
