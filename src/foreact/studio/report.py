"""A run's results as one self-contained HTML page: text, table, map and video, no network needed."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from foreact.sim.evaluation import Evaluation
from foreact.sim.outcome import OUTCOMES

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
code { background: #f3f3f3; padding: .1rem .3rem; border-radius: 3px; }
video, img { max-width: 100%; border-radius: 6px; }
.rate { font-size: 2rem; font-weight: 600; }
"""


def write_report(
    path: Path,
    *,
    title: str,
    evaluations: Mapping[str, Sequence[Evaluation]],
    facts: Mapping[str, str],
    commands: Sequence[tuple[str, str]],
    missing_controls: str = "",
    video: Path | None = None,
    pictures: Mapping[str, Path] | None = None,
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        title: Its heading.
        evaluations: By heading; in each the first is the policy's, the others are its controls on the same seeds. The
            very first makes the headline.
        facts: What was done, as name and value.
        commands: What to try next, as command and reason.
        missing_controls: A sentence about controls that were not run; empty where all were.
        video: An MP4 to embed.
        pictures: Captions and PNG files to embed.
    """
    heading, (first, *_) = next(iter(evaluations.items()))
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>",
        f"<p class='rate'>{html.escape(f'{heading}: {first.rate_text()}')}</p>",
        "<p>Episodes that end with the told block in the bowl, with 95 % Wilson interval. "
        f"Wrong block taken: {first.confusions}.</p>",
    ]
    if video is not None:
        parts.append(f"<video controls autoplay loop muted src='{_data_url(video, 'video/mp4')}'></video>")
        parts.append("<p>Left of each pair the overhead camera, right the wrist camera; the cross is the cue.</p>")
    for name, of in evaluations.items():
        parts.append(f"<h2>{html.escape(name)}</h2>{_table(of)}")
    if missing_controls:
        parts.append(f"<p>{html.escape(missing_controls)}</p>")
    for caption, picture in (pictures or {}).items():
        parts.append(f"<h2>{html.escape(caption)}</h2><img src='{_data_url(picture, 'image/png')}'>")
    parts.append("<h2>How it was made</h2><table>")
    parts += [f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in facts.items()]
    parts.append("</table><h2>What to try next</h2><ul>")
    parts += [f"<li><code>{html.escape(command)}</code><br>{html.escape(why)}</li>" for command, why in commands]
    parts.append("</ul></html>")
    path.write_text("\n".join(parts))


def _table(evaluations: Sequence[Evaluation]) -> str:
    head = "".join(f"<th>{html.escape(evaluation.name)}</th>" for evaluation in evaluations)
    rows = [f"<tr><th>outcome</th>{head}</tr>"]
    for name in OUTCOMES:
        cells = "".join(f"<td>{evaluation.outcomes[name]}</td>" for evaluation in evaluations)
        rows.append(f"<tr><td>{name}</td>{cells}</tr>")
    rates = "".join(f"<td>{html.escape(evaluation.rate_text())}</td>" for evaluation in evaluations)
    rows.append(f"<tr><th>success</th>{rates}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _data_url(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
