"""A report on disk: JSON, pictures, and one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

from foreact.diagnose.pictures import draw
from foreact.diagnose.report import Report, to_json
from foreact.errors import DataError
from foreact.page import facts, page, section

JSON, PAGE = "diagnosis.json", "diagnosis.html"


def write_report(report: Report, out: Path) -> Path:
    """Write `diagnosis.json`, a PNG a question and `diagnosis.html`, and return the page.

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
                    "episodes": f"{report.episodes}, {report.held_out} of them not trained on",
                }
            ),
            "<p>Worst first. What an intervention shows comes before what attention and gradients hint at.</p>",
        ]
        for finding in report.findings:
            picture = out / f"{finding.question}.png"
            parts.append(section(finding, picture if draw(finding, picture) else None))
        (out / PAGE).write_text(page(f"Diagnosis of {report.run}", parts))
    except OSError as error:
        raise DataError(f"cannot write the diagnosis to '{out}': {error.strerror or error}") from error
    return out / PAGE
