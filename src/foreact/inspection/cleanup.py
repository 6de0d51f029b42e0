"""What to leave out: one `foreact convert` command for a finding, and one for all of them together."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from foreact.data.source import HDF5
from foreact.finding import Finding
from foreact.inspection.words import episode_ranges

_LEFT_OUT = (
    "damaged",
    "numbers",
    "timestamps",
    "units",
    "black",
    "frozen",
    "swapped",
    "views",
    "stale",
    "action",
    "jumps",
    "lengths",
    "gripper",
    "duplicates",
)
"""Questions whose episodes are left out together."""
_LOOKED_AT = ("outliers", "brightness", "joint_range", "doubled", "depth", "coordinates")
"""Those whose episodes may be all that shows a case, or can still be used: a command is given, to decide on."""
_MOST = 0.5
"""What concerns a larger share of the episodes is mended in the set, not left out."""


@dataclass(frozen=True, kw_only=True)
class Cleanup:
    """What all findings together leave of a data set."""

    out: Path
    """Folder of the cleaned set."""
    left_out: tuple[int, ...]
    trims: bool
    command: str
    """Empty where nothing has to be done."""


def spare(finding: Finding) -> list[int]:
    """Return the episodes that are left out because of a finding: those that it names, of copies all but one."""
    if finding.severity not in ("fault", "warning"):
        return []
    return sorted(finding.evidence.get("leave_out", finding.evidence.get("episodes", ())))


def with_command(finding: Finding, data: str, episodes: Sequence[int]) -> Finding:
    """Return a finding whose remedy says how to leave its episodes out, where they can be."""
    gone = spare(finding)
    if finding.question not in (*_LEFT_OUT, *_LOOKED_AT) or not 0 < len(gone) <= _MOST * len(episodes):
        return finding
    said = f"{finding.remedy}: {_convert(data, episodes, set(gone), trims=False)}"
    return replace(finding, remedy=said)


def clean_up(findings: Sequence[Finding], data: str, episodes: Sequence[int]) -> Cleanup:
    """Return the one command that does what the findings ask for.

    Args:
        findings: All.
        data: The set.
        episodes: Its indices, ascending.
    """
    gone: set[int] = set()
    for finding in findings:
        if finding.question in _LEFT_OUT and len(of := spare(finding)) <= _MOST * len(episodes):
            gone |= set(of)
    if len(gone) == len(episodes):
        gone = set()
    trims = any(finding.question == "idle" and finding.severity == "warning" for finding in findings)
    return Cleanup(
        out=cleaned(data),
        left_out=tuple(sorted(gone)),
        trims=trims,
        command=_convert(data, episodes, gone, trims=trims) if gone or trims else "",
    )


def cleaned(data: str) -> Path:
    """Return where the cleaned set goes: beside the original."""
    path = Path(data)
    if path.name in ("", ".."):
        path = path.resolve()
    return path.with_name(f"{path.stem if path.suffix == HDF5 else path.name}-clean")


def _convert(data: str, episodes: Sequence[int], gone: set[int], *, trims: bool) -> str:
    chosen = f" --episodes {episode_ranges([index for index in episodes if index not in gone])}" if gone else ""
    return f"foreact convert {shlex.quote(data)} {shlex.quote(str(cleaned(data)))}{chosen}{' --trim-idle' * trims}"


def judge_cleanup(cleanup: Cleanup, n_episodes: int) -> Finding:
    """Say what the one command leaves out."""
    left = n_episodes - len(cleanup.left_out)
    what = [f"leaves out {len(cleanup.left_out)} of {n_episodes} episodes"] * bool(cleanup.left_out)
    what += ["cuts off where the arm waits"] * cleanup.trims
    return Finding(
        question="cleanup",
        title="How to clean it up",
        verdict=f"one command {' and '.join(what)}; look at what it leaves out before you use it"
        if cleanup.command
        else "no episode has to be left out",
        severity="note",
        remedy=cleanup.command,
        evidence={"left_out": list(cleanup.left_out), "kept": left, "command": cleanup.command},
    )
