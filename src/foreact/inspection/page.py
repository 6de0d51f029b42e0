"""A report on disk: JSON, pictures, and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from foreact.data.files import refuse_inside
from foreact.errors import DataError, MissingExtraError
from foreact.finding import Finding
from foreact.inspection.pictures import draw
from foreact.inspection.report import Report, to_json
from foreact.inspection.words import short_key
from foreact.page import escape, facts, page, pictures, section, table

JSON, PAGE = "inspection.json", "inspection.html"
DIMENSIONS = ("dimension", "unit", "min", "max", "mean", "std", "remark")
"""Heading of `dimension_rows`."""


def prepare(out: Path, data: Path) -> None:
    """Make the folder of a report, before the long look at the data.

    Raises:
        DataError: If it cannot be made or written to, or lies within the data set.
    """
    refuse_inside(out, data, "data set")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{JSON}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise _cannot_write(out, error) from error


def write_report(report: Report, out: Path) -> Path:
    """Write `inspection.json`, PNGs for light and dark, and `inspection.html`, and return the page.

    Without the package that draws, the page is written without its plots and says how to get them.

    Raises:
        DataError: If the folder cannot be written, or lies within the data set.
    """
    prepare(out, Path(report.data))
    draws = find_spec("matplotlib") is not None
    try:
        (out / JSON).write_text(to_json(report))
        parts = [f"<p>{escape(report.counts)}. Worst first.</p>", _facts(report)]
        if command := report.command:
            parts.append(f"<p>To train on it: <code>{escape(command)}</code></p>")
        if not draws:
            parts.append(f"<p>Without plots: {escape(str(MissingExtraError('view', 'matplotlib')))}</p>")
        parts += [_section(report, finding, out, draws) for finding in report.findings]
        if report.contact:
            first = [
                (picture, f"{camera}, episode {index}")
                for camera, of in report.contact.items()
                for index, picture in of.items()
            ]
            parts.append(f"<h2>The first frame of some episodes</h2>{pictures(_save(first, out, 'first'))}")
        (out / PAGE).write_text(page(f"Inspection of {report.data}", parts))
    except OSError as error:
        raise _cannot_write(out, error) from error
    return out / PAGE


def dimension_rows(finding: Finding) -> list[tuple[str, ...]]:
    """Return the finding `dimensions` as rows of text, in the order of `DIMENSIONS`."""
    return [
        (
            f"{short_key(row['key'])}: {row['name']}",
            row["unit"],
            *(f"{row[of]:.4g}" for of in ("min", "max", "mean", "std")),
            row["remark"],
        )
        for row in finding.evidence["dimensions"]
    ]


def _facts(report: Report) -> str:
    return facts(
        {
            "episodes": f"{report.episodes}, {report.frames} frames at {report.fps:g} Hz "
            f"({report.frames / report.fps / 60:.1f} minutes)",
            "cameras": ", ".join(f"{name} {h}x{w}" for name, (h, w) in report.cameras.items()) or "none",
            "tasks": "; ".join(report.tasks[:5]) + (" ..." if len(report.tasks) > 5 else ""),
            "looked at": report.looked_at,
        }
    )


def _section(report: Report, finding: Finding, out: Path, draws: bool) -> str:
    light, dark = out / f"{finding.question}.png", out / f"{finding.question}-dark.png"
    drawn = draws and draw(finding, light, dark=False) and draw(finding, dark, dark=True)
    more = ""
    if finding.question == "dimensions":
        more = table(DIMENSIONS, dimension_rows(finding))
    if exhibits := report.exhibits.get(finding.question):
        shown = [(of.picture, of.caption) for of in exhibits]
        more = pictures(_save(shown, out, f"{finding.question}-frame"))
    return section(finding, light if drawn else None, dark if drawn else None, more)


def _save(shown: Sequence[tuple[np.ndarray, str]], out: Path, name: str) -> list[tuple[Path, str]]:
    """Write pictures, uint8 (H, W, 3), as PNG files; return the files with their captions."""
    saved = []
    for number, (picture, caption) in enumerate(shown):
        path = out / f"{name}-{number:02d}.png"
        Image.fromarray(picture).save(path)
        saved.append((path, caption))
    return saved


def _cannot_write(out: Path, error: OSError) -> DataError:
    return DataError(f"cannot write the inspection to '{out}': {error.strerror or error}; choose another --out")
