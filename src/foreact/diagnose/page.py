"""A report on disk: JSON, pictures, and one self-contained HTML page."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from foreact.diagnose.pictures import draw
from foreact.diagnose.report import Report, to_json
from foreact.errors import DataError

JSON, PAGE = "diagnosis.json", "diagnosis.html"

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
td { border-bottom: 1px solid #ddd; padding: .3rem .8rem; }
code { background: #f3f3f3; padding: .1rem .3rem; border-radius: 3px; }
img { max-width: 100%; border-radius: 6px; }
section { border-left: .4rem solid #ccc; padding-left: 1rem; margin: 2rem 0; }
.fault { border-color: #c0392b; } .warning { border-color: #e0a030; } .fine { border-color: #2a9d4a; }
.verdict { font-size: 1.15rem; font-weight: 600; }
"""


def write_report(report: Report, out: Path) -> Path:
    """Write `diagnosis.json`, a PNG a question and `diagnosis.html`, and return the page.

    Raises:
        DataError: If the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / JSON).write_text(to_json(report))  # first: pictures need a package that may not be there
        parts = [_head(report)]
        for finding in report.findings:
            parts.append(f"<section class='{finding.severity}'><h2>{html.escape(finding.title)}</h2>")
            parts.append(f"<p class='verdict'>{html.escape(finding.verdict)}</p>")
            if finding.remedy:
                parts.append(f"<p>What helps: {html.escape(finding.remedy)}</p>")
            picture = out / f"{finding.question}.png"
            if draw(finding, picture):
                data = base64.b64encode(picture.read_bytes()).decode()
                parts.append(f"<img alt='{html.escape(finding.title)}' src='data:image/png;base64,{data}'>")
            parts.append("</section>")
        (out / PAGE).write_text("\n".join([*parts, "</html>"]))
    except OSError as error:
        raise DataError(f"cannot write the diagnosis to '{out}': {error.strerror or error}") from error
    return out / PAGE


def _head(report: Report) -> str:
    title = html.escape(f"Diagnosis of {report.run}")
    facts = {
        "step": str(report.step),
        "conditioning": ", ".join(report.conditioning),
        "data": report.data,
        "episodes": f"{report.episodes}, {report.held_out} of them not trained on",
    }
    rows = "".join(f"<tr><td>{name}</td><td>{html.escape(value)}</td></tr>" for name, value in facts.items())
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1><table>{rows}</table>"
        "<p>Worst first. What an intervention shows comes before what attention and gradients hint at.</p>"
    )
