"""Write all tables of docs/speed.md, and speed.md beside the figures, from the JSON files: `foreact bench`'s last step.

python benchmarks/speed_page.py --results benchmarks/results --page docs/speed.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
Content = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is read and written."""

    results: Path = Path("benchmarks/results")
    """Where the JSON files lie, and speed.md is written."""
    page: Path | None = None
    """A page whose part between the marks is replaced."""


def lines_of(results: Path) -> Iterator[str]:
    """Yield all sections; where a file is missing its section says which stage measures it."""
    for title, name, stage, section in SECTIONS:
        path = results / f"{name}.json"
        yield from (f"## {title}", "")
        if path.exists():
            content = json.loads(path.read_text())
            for reason in content["machine"]["busy"]:
                yield from (f"**Busy**: {reason}.", "")
            yield from section(content)
            yield from ("", how(content), "")
        else:
            yield from (f"Not measured yet: `foreact bench {stage}`.", "")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    for cells in (header, ("---",) * len(header), *rows):
        yield f"| {' | '.join(cells)} |"


def how(content: Content) -> str:
    """Return where and with what a file's figures were measured."""
    machine, versions = content["machine"], content["versions"]
    threads = ", ".join(f"{side} {known(n)}" for side, n in machine["threads"].items())
    libraries = "; ".join(f"{side}: {joined(of)}" for side, of in versions.items())
    if versions.get("LeRobot") == versions["ours"]:
        libraries = f"both sides: {joined(versions['ours'])}"
    load, others = machine["load"], machine["cores_of_others"]
    seed = "" if content["seed"] is None else f" Seed {content['seed']}."
    return (
        f"`{content['command']}`: {machine['cpu']} ({' '.join(machine['flags'])}), {machine['cores']} cores; threads: "
        f"{threads}; load {known(load['before'])} before and {known(load['after'])} after, cores of other programs "
        f"{known(others['before'])} before and {known(others['during'])} during. {libraries}.{seed}"
    )


def joined(versions: Mapping[str, str]) -> str:
    """Return names and versions in a row."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def known(value: float | None) -> str:
    """Return a number, or that nobody noted it."""
    return "not noted" if value is None else f"{value:g}"


def ms(value: float) -> str:
    """Return milliseconds with two digits or more."""
    return f"{value:.3f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def span(of: Mapping[str, float], digits: int = 2) -> str:
    """Return median, lowest and highest."""
    return f"{of['median']:.{digits}f} ({of['lowest']:.{digits}f} to {of['highest']:.{digits}f})"


def ratio(of: Content) -> str:
    """Return the median ratio, and that of the worst and the best turn."""
    low, high = of["ratio_from_to"]
    return f"{of['ratio']:.2f} ({low:.2f} to {high:.2f})"


def reached(goal: str, yes: bool) -> str:
    """Return a goal, and whether it is."""
    return f"{goal}: {'yes' if yes else '**no**'}"


def percent(shares: Mapping[str, float | None]) -> str:
    """Return both sides' shares, or nothing where none is known."""
    if all(of is None for of in shares.values()):
        return ""
    return ", ".join("?" if of is None else f"{of:.0%}" for of in shares.values())


def seen(peak: Mapping[str, float]) -> str:
    """Return what a processor was seen to do."""
    return ", ".join(f"{name.replace('_', ' ')} {rate:g}" for name, rate in peak.items())


def networks(content: Content) -> Iterator[str]:
    """A chunk at batch 1, in PyTorch and as a bundle, a training step and its memory: speed.py."""
    results, goals, settings, peak = (content[name] for name in ("results", "goals", "settings", "peak"))
    yield (
        "Both networks in one process, with the same weights, in turns; CPU time of one thread, medians (turns: "
        f"{settings['turns']}; of a training step: {settings['steps']}); the ratio is taken turn by turn (median, "
        "lowest to highest). A goal of bundles is the faster library's."
    )
    yield ""

    def row(label: str, size: str, of: Content, goal: float | None) -> tuple[str, ...]:
        times = (ms(of["ours_cpu_ms"]), ms(of["theirs_cpu_ms"]))
        verdict = "" if goal is None else reached(f"{goal:g}", of["ratio"] >= goal)
        shares = (percent(of["share_of_matrix_rate"]), percent(of.get("share_of_copy_rate", {})))
        return (
            label,
            f"`{size}`",
            *times,
            ratio(of),
            verdict,
            *shares,
            f"{of.get('difference', of.get('difference_of_losses')):.0e}",
        )

    rows = []
    for stage, label in (("inference", "a chunk at batch 1, PyTorch"), ("training", "a training step")):
        for size, of in results.items():
            batch = f", batch {of[stage]['batch']}" if stage == "training" else ""
            rows.append(row(label + batch, size, of[stage], goals[stage][size]))
    for size, of in results.items():
        for kind, figures in of["bundle"].items():
            precision = kind.split()[0]
            fastest = max(other["ratio"] for name, other in of["bundle"].items() if name.startswith(precision))
            goal = goals["bundle"][precision][size] if figures["ratio"] == fastest else None
            rows.append(row(f"a chunk at batch 1, bundle {kind}", size, figures, goal))
    yield from table(
        ("stage", "size", "ours, ms", "LeRobot, ms", "ratio", "goal", "matrix rate, ours and LeRobot", "copy rate",
         "difference"),
        rows,
    )  # fmt: skip
    yield ""
    yield (
        f"Shares of what this processor was seen to do in the same run ({seen(peak)}): of the matrix rate, which is "
        "that of the faster product, and int8's own for int8 where it was measured, LeRobot's FLOPs, which a "
        "library with a faster way may exceed; of the copy rate every weight, read once. The difference is the "
        "largest of a chunk's normalised actions from LeRobot's, and that of the loss relative to it."
    )
    probe = content["probe_ms"]
    faster = [f"{probe[size] / of['inference']['theirs_cpu_ms']:.1f} (`{size}`)" for size, of in results.items()]
    yield ""
    yield (
        "LeRobot's own chunk in PyTorch, beside the least times of the probe that the goals come from "
        f"({', '.join(f'{probe[size]} ms' for size in results)}): {', '.join(faster)} times as fast here."
    )
    yield ""
    yield from memory(content)


def memory(content: Content) -> Iterator[str]:
    """The largest memory of a process that trains: speed.py."""
    steps, processes = content["settings"]["memory_steps"], content["settings"]["memory_processes"]
    yield (
        f"The largest memory of processes that make {steps} training steps of one network, MB (processes of each "
        f"side: {processes}; median, lowest to highest); ours keeps freed memory as `foreact train` does."
    )
    yield ""
    rows = []
    for size, of in content["results"].items():
        if "memory_mb" not in of:
            continue
        ours, theirs = of["memory_mb"]["ours"], of["memory_mb"]["theirs"]
        rows.append(
            (f"`{size}`", span(ours, 0), span(theirs, 0), reached("no more", ours["median"] <= theirs["median"]))
        )
    yield from table(("size", "ours", "LeRobot", "goal"), rows)


def bf16(content: Content) -> Iterator[str]:
    """A training step in bfloat16: bf16.py."""
    yield (
        "`train.precision` bf16-mixed, which `foreact train` takes on a CPU only where the processor multiplies "
        "bfloat16 itself; steps as above, CPU time of one thread, in turns with LeRobot's step in float32 and with "
        f"LeRobot's step in the same precision ({content['settings']['steps']} turns). The error is that of the loss "
        "relative to float32's, and the cosine of both gradients, without dropout and with one noise."
    )
    yield ""
    rows = []
    for size, of in content["results"].items():
        plain, mixed, error = of["beside fp32"], of["beside bf16"], of["error"]
        rows.append((
            f"`{size}`, batch {of['batch']}", ms(mixed["ours_cpu_ms"]), ms(plain["theirs_cpu_ms"]), ratio(plain),
            ms(mixed["theirs_cpu_ms"]), ratio(mixed), f"{error['loss']:.1e}", f"{error['cosine_of_gradients']:.5f}",
        ))  # fmt: skip
    yield from table(
        ("size", "ours, ms", "LeRobot fp32, ms", "ratio", "LeRobot bf16, ms", "ratio", "loss", "gradients"), rows
    )


def end_to_end(content: Content) -> Iterator[str]:
    """Training from videos on disk: training_speed.py."""
    yield (
        "`foreact train` and `lerobot-train`, a process each, in turns, on one data set of AV1 videos, chunk 100, with "
        "as many threads as each command chooses: samples/s by the clock, between two lines of its log; ratios by the "
        f"clock and in CPU time (turns: {content['settings']['turns']}; median, lowest to highest). "
        f"The networks are the same in value: `{content['equality']}`."
    )
    yield ""
    rows = []
    for size, of in content["results"].items():
        sides = of["sides"]
        for side, ratios in of["times_lerobot"].items():
            theirs, shares = sides[side]["samples_per_s"], of["share_of_matrix_rate"]
            rows.append((
                f"`{size}`, batch {of['batch']}{', **busy**' if of['busy'] else ''}", side.partition(", ")[2],
                ", ".join(known(of["threads"][name]) for name in ("ours", "LeRobot")),
                span(sides["ours"]["samples_per_s"]), span(theirs), span(ratios["steady"]), span(ratios["cpu"]),
                reached(f"{of['goal']:g}", ratios["steady"]["median"] >= of["goal"]),
                percent({name: shares.get(name) for name in ("ours", side)}),
            ))  # fmt: skip
    yield from table(
        ("size", "LeRobot's loader", "threads, ours and LeRobot", "ours", "LeRobot", "ratio", "in CPU time", "goal",
         "matrix rate, ours and LeRobot"),
        rows,
    )  # fmt: skip


def evaluation(content: Content) -> Iterator[str]:
    """Episodes a minute in simulation: evaluation_speed.py."""
    results, settings = content["results"], content["settings"]
    yield (
        "`rollout` beside a loop that renders, infers and steps one environment at a time, with one policy "
        f"(`{settings['preset']}`), {settings['turns']} turns of {settings['episodes']} episodes from one process, by "
        "the clock; the start of the processes that ours simulates in is included, but for the first call's, which "
        "imports PyTorch for them all."
    )
    yield ""
    wall, cpu, goal = results["wall"], results["cpu"], results["goal"]
    minute, seconds = wall["episodes_a_minute"], cpu["seconds_an_episode"]
    first, shares = results["first_call"]["episodes_a_minute"], wall["share_of_matrix_rate"]
    plain = "one at a time"
    yield from table(
        ("", "ours", "one at a time", "ratio", "goal"),
        [
            ("episodes a minute", f"{minute['ours']:.0f}", f"{minute[plain]:.0f}", ratio(wall),
             reached(f"{goal:g}", wall["ratio"] >= goal)),
            ("CPU seconds an episode", f"{seconds['ours']:.3f}", f"{seconds[plain]:.3f}", ratio(cpu), ""),
            ("episodes a minute, the first call", f"{first['ours']:.0f}", f"{first[plain]:.0f}", "", ""),
            ("share of the matrix rate", f"{shares['ours']:.0%}", f"{shares[plain]:.0%}", "", ""),
        ],
    )  # fmt: skip
    yield ""
    yield (
        f"The share is that of the network's {content['flop_of_an_episode'] / 1e9:.1f} GFLOP an episode in what all "
        f"cores were seen to do ({seen(content['peak'])}); the rest is physics and pictures."
    )


def cold_start(content: Content) -> Iterator[str]:
    """A bundle's start: cold_start.py."""
    goal = content["goal_seconds"]
    yield (
        "A fresh process from nothing to its first action, imports included; no ratio, for LeRobot has no bundle; "
        f"{content['settings']['repeats']} processes, median, lowest and highest. The share is that of reading the "
        f"bundle once at the rate at which this processor was seen to copy ({content['peak']['copy_gb_s']:g} GB/s)."
    )
    yield ""
    rows = [
        (
            kind, f"`{size}`", f"{of['mb']:.0f}", span(of["seconds"]),
            reached(f"under {goal:g}", of["seconds"]["median"] < goal), span(of["cpu_seconds"]),
            f"{of['share_of_copy_rate']:.1%}",
        )
        for size, kinds in content["results"].items()
        for kind, of in kinds.items()
    ]  # fmt: skip
    yield from table(("bundle", "size", "MB", "by the clock, s", "goal", "CPU, s", "copy rate"), rows)


def odds(content: Content) -> Iterator[str]:
    """The temporal ensemble and `foreact --help`: odds.py."""
    settings, goals, results = content["settings"], content["goals"], content["results"]
    yield (
        f"A tick of the temporal ensemble, a chunk in and an action out, in one process, {settings['turns']} turns of "
        f"{settings['ticks']} ticks, CPU time of one thread; both say the same to 1e-5 first. The shares are those of "
        f"a tick that read its new chunk once at {content['peak']['copy_gb_s']:g} GB/s and did nothing else: calls "
        "take the time, not memory."
    )
    yield ""
    rows = []
    for chunk, of in results["ensemble"].items():
        for name, label in (("plain", "ensemble"), ("limited", "ensemble, with limits, which LeRobot has not")):
            times = ms(of[name]["ours_cpu_ms"]), ms(of[name]["theirs_cpu_ms"])
            goal = goals["ensemble_ms"]
            rows.append((label, chunk, str(of["dimensions"]), *times, ratio(of[name]),
                         reached(f"under {goal:g} ms", of[name]["ours_cpu_ms"] < goal),
                         percent(of[name]["share_of_copy_rate"])))  # fmt: skip
    yield from table(
        ("", "chunk", "dimensions", "ours, ms", "LeRobot, ms", "ratio", "goal for ours", "copy rate"), rows
    )
    seconds, goal = results["help_seconds"], goals["help_seconds"]
    verdict = reached(f"under {goal:g} s", seconds["median"] < goal)
    yield ""
    yield f"`foreact --help`: {span(seconds)} s, {settings['starts']} processes; goal {verdict}."


def data(content: Content) -> Iterator[str]:
    """Samples a second from data on disk: data_speed.py."""
    settings = content["settings"]
    theirs = settings["lerobot_backend"]
    yield (
        f"Samples of two AV1 cameras and a chunk of 100 at batch {settings['batch']}, beside LeRobot's loader with "
        f"{theirs}, one worker each, in turns, by the clock; both give the same samples first. The first pass is ours "
        "into an empty cache, LeRobot's an epoch. The shares are of what this processor was seen to copy "
        f"({content['peak']['copy_gb_s']:g} GB/s, read and written): a sample's pictures, read once and written once."
    )
    yield ""
    rows = []
    for name, of in content["results"].items():
        if theirs in of.get("times_lerobot", {}):
            key, digits = ("samples_per_s", 0) if "samples_per_s" in of else ("seconds", 2)
            unit = "samples/s" if key == "samples_per_s" else "s"
            shares = of.get("share_of_copy_rate", {})
            copied = percent({side: shares[side] for side in ("ours", theirs)}) if shares else ""
            goals = [reached(text.removeprefix(name).strip(), yes) for text, yes in content["goals"].items()
                     if text.startswith(name)]  # fmt: skip
            rows.append((f"{name}, {unit}", span(of[key]["ours"], digits), span(of[key][theirs], digits),
                         span(of["times_lerobot"][theirs], 1), ", ".join(goals), copied))  # fmt: skip
    yield from table(("", "ours", "LeRobot", "ratio", "goal", "copy rate, ours and LeRobot"), rows)
    rate = content["results"]["GOP 250"]["video_frames_per_s"]
    yield ""
    goals = [reached(text.removeprefix("GOP 250 "), yes) for text, yes in content["goals"].items() if "GOP" in text]
    yield f"HEVC with a key frame every 250 into the cache, frames/s: {span(rate['every 1'], 0)}; {', '.join(goals)}."


def scaling(content: Content) -> Iterator[str]:
    """Step time and memory beside what the plan says: scaling.py."""
    points, goal = content["results"], content["goal"]
    yield (
        "No ratio to LeRobot: step time (CPU seconds, one thread) and memory (MB of the process) of ours, a process a "
        f"point, beside what `foreact plan` says of the same configuration; {content['settings']['steps']} steps."
    )
    yield ""
    measured = {name: of for name, of in points.items() if "step_s" in of}
    groups: dict[str, list[str]] = {}
    for name in measured:
        groups.setdefault(name.partition("-")[0] if "-" in name else "base and presets", []).append(name)

    def row(label: str, names: Sequence[str]) -> tuple[str, ...]:
        cells: list[str] = []
        for what, of, digits in (("step_s", "cpu", 2), ("memory_mb", "measured", 0)):
            values = [measured[name][what][of] for name in names]
            errors = {name: measured[name][what]["error"] for name in names}
            worst = max(errors, key=lambda name: abs(errors[name]))
            within = sum(abs(error) <= goal for error in errors.values())
            cells += [f"{min(values):.{digits}f} to {max(values):.{digits}f}", f"{errors[worst]:+.0%} ({worst})",
                      f"{within} of {len(names)}"]  # fmt: skip
        return label, *cells

    rows = [row(label, names) for label, names in groups.items()]
    yield from table(
        ("axis", "seconds a step", "largest error", f"within {goal:.0%}", "MB", "largest error", f"within {goal:.0%}"),
        [*rows, row("all", list(measured))],
    )
    if "ddp" in points:
        ddp = points["ddp"]
        yield ""
        yield (
            "`foreact train` in one process and in two (DDP) for one budget of samples, a small network, "
            f"{ddp['turns']} turns; two processes are {span(ddp['times_one_process'])} times as fast as one of a "
            "thread:"
        )
        yield ""
        yield from table(("", "samples/s"), ((name, span(of, 0)) for name, of in ddp["samples_per_s"].items()))


SECTIONS: Sequence[tuple[str, str, str, Callable[[Content], Iterator[str]]]] = (
    ("A chunk, a training step and its memory", "speed", "networks", networks),
    ("A training step in bfloat16", "bf16", "networks", bf16),
    ("Training end to end", "training_speed", "training", end_to_end),
    ("Evaluation in simulation", "evaluation_speed", "evaluation", evaluation),
    ("A bundle's start", "cold_start", "networks", cold_start),
    ("The temporal ensemble and `--help`", "odds", "odds", odds),
    ("Reading data", "data_speed", "data", data),
    ("How it scales", "scaling", "scaling", scaling),
)
"""Title, file, stage that makes it, and what is written of it."""


def main(options: Options) -> None:
    """Write all tables."""
    lines = [*lines_of(options.results)]
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "speed.md").write_text("\n".join(("# Speed", "", *lines)).rstrip() + "\n")
    if options.page is not None:
        text = options.page.read_text()
        before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
        options.page.write_text(text[:before] + "\n\n" + "\n".join(lines).rstrip() + "\n\n" + text[after:])


if __name__ == "__main__":
    main(tyro.cli(Options))
