"""A report on disk: JSON, pictures, and one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

from foreact.data.files import refuse_inside
from foreact.errors import DataError
from foreact.inspection.pictures import draw, draw_contact_sheet
from foreact.inspection.report import Report, to_json
from foreact.page import escape, facts, image, page, section

JSON, PAGE = "inspection.json", "inspection.html"


def write_report(report: Report, out: Path) -> Path:
    """Write `inspection.json`, PNGs for light and dark, and `inspection.html`, and return the page.

    Raises:
        DataError: If the folder cannot be written, or lies within the data set.
    """
    refuse_inside(out, Path(report.data), "data set")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / JSON).write_text(to_json(report))  # first: pictures need a package that may not be there
        command = report.finding("recommendation").evidence["command"]
        parts = [
            facts(
                {
                    "episodes": f"{report.episodes}, {report.frames} frames at {report.fps:g} Hz "
                    f"({report.frames / report.fps / 60:.1f} minutes)",
                    "cameras": ", ".join(f"{name} {h}x{w}" for name, (h, w) in report.cameras.items()) or "none",
                    "tasks": "; ".join(report.tasks[:5]) + (" ..." if len(report.tasks) > 5 else ""),
                    "looked at": report.looked_at,
                }
            ),
            f"<p>To train on it: <code>{escape(command)}</code></p>",
        ]
        if report.contact:
            draw_contact_sheet(report.contact, out / "contact.png")
            caption = "The first frame of some episodes, by camera"
            parts.append(f"<h2>{caption}</h2>{image(out / 'contact.png', caption)}")
        parts.append("<p>Worst first.</p>")
        for finding in report.findings:
            light, dark = out / f"{finding.question}.png", out / f"{finding.question}-dark.png"
            drawn = draw(finding, light, dark=False) and draw(finding, dark, dark=True)
            parts.append(section(finding, light if drawn else None, dark if drawn else None))
        (out / PAGE).write_text(page(f"Inspection of {report.data}", parts))
    except OSError as error:
        raise DataError(f"cannot write the inspection to '{out}': {error.strerror or error}") from error
    return out / PAGE
