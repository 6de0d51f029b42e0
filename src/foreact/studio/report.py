"""A run's results as one self-contained HTML page: text, table, map and video, no network needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from foreact.page import data_url, escape, image, page
from foreact.page import facts as fact_table
from foreact.sim.evaluation import Evaluation
from foreact.sim.outcome import OUTCOMES


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
        f"<p class='rate'>{escape(f'{heading}: {first.rate_text()}')}</p>",
        "<p>Episodes that end with the told block in the bowl, with 95 % Wilson interval. "
        f"Wrong block taken: {first.confusions}.</p>",
    ]
    if video is not None:
        parts.append(f"<video controls autoplay loop muted src='{data_url(video, 'video/mp4')}'></video>")
        parts.append("<p>Left of each pair the overhead camera, right the wrist camera; the cross is the cue.</p>")
    for name, of in evaluations.items():
        parts.append(f"<h2>{escape(name)}</h2>{_table(of)}")
    if missing_controls:
        parts.append(f"<p>{escape(missing_controls)}</p>")
    for caption, picture in (pictures or {}).items():
        parts.append(f"<h2>{escape(caption)}</h2>{image(picture, caption)}")
    parts.append(f"<h2>How it was made</h2>{fact_table(facts)}<h2>What to try next</h2><ul>")
    parts += [f"<li><code>{escape(command)}</code><br>{escape(why)}</li>" for command, why in commands]
    parts.append("</ul>")
    path.write_text(page(title, parts))


def _table(evaluations: Sequence[Evaluation]) -> str:
    head = "".join(f"<th>{escape(evaluation.name)}</th>" for evaluation in evaluations)
    rows = [f"<tr><th>outcome</th>{head}</tr>"]
    for name in OUTCOMES:
        cells = "".join(f"<td>{evaluation.outcomes[name]}</td>" for evaluation in evaluations)
        rows.append(f"<tr><td>{name}</td>{cells}</tr>")
    rates = "".join(f"<td>{escape(evaluation.rate_text())}</td>" for evaluation in evaluations)
    rows.append(f"<tr><th>success</th>{rates}</tr>")
    return f"<table>{''.join(rows)}</table>"
