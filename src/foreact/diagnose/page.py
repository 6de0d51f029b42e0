"""A report on disk: JSON, pictures, and one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foreact.diagnose.examined import seen_in_words
from foreact.diagnose.pictures import draw
from foreact.diagnose.report import Report, to_json
from foreact.errors import DataError
from foreact.finding import Finding
from foreact.page import escape, facts, page, section, table

JSON, PAGE = "diagnosis.json", "diagnosis.html"


def write_report(report: Report, out: Path) -> Path:
    """Write `diagnosis.json`, PNGs for light and dark, and `diagnosis.html`, and return the page.

    Raises:
        DataError: If the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / JSON).write_text(to_json(report))  # first: pictures need a package that may not be there
        parts = [
            facts(
                {
                    "step": str(report.step),
                    "conditioning": ", ".join(report.conditioning),
                    "data": report.data,
                    "episodes": f"{report.episodes}, {seen_in_words(report.held_out)}",
                }
            ),
            f"<p>{escape(in_short(report))}</p>",
            "<p>Worst first. What an intervention shows comes before what attention and gradients hint at.</p>",
        ]
        parts += [_section(finding, out) for finding in report.findings]
        (out / PAGE).write_text(page(f"Diagnosis of {report.run}", parts))
    except OSError as error:
        raise DataError(f"cannot write the diagnosis to '{out}': {error.strerror or error}") from error
    return out / PAGE


def in_short(report: Report) -> str:
    """Return how many answers are bad, and to which questions."""
    said = []
    for severity in ("fault", "warning"):
        titles = [finding.title for finding in report.findings if finding.severity == severity]
        if titles:
            said.append(f"{len(titles)} {severity}{'s' * (len(titles) > 1)}: {' '.join(titles)}")
    return " ".join(said) or f"No fault was found in {len(report.findings)} questions."


def _section(finding: Finding, out: Path) -> str:
    """Return a finding with its picture and, where the evidence holds a `table` (rows by column), that."""
    light, dark = out / f"{finding.question}.png", out / f"{finding.question}-dark.png"
    drawn = draw(finding, light, dark=False) and draw(finding, dark, dark=True)
    rows: list[dict[str, Any]] = finding.evidence.get("table", [])
    more = table(list(rows[0]), [[_cell(value) for value in row.values()] for row in rows]) if rows else ""
    return section(finding, light if drawn else None, dark if drawn else None, more)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
