"""The evidence as pictures, one a question, drawn from the findings alone, for a light and for a dark page."""

from __future__ import annotations

from pathlib import Path

from foreact.diagnose import pictures_of_chunks, pictures_of_inputs, pictures_of_network, pictures_of_training
from foreact.diagnose.drawing import Drawing, page_style
from foreact.finding import Finding

DRAWINGS: dict[str, Drawing] = {
    **pictures_of_inputs.DRAWINGS,
    **pictures_of_chunks.DRAWINGS,
    **pictures_of_network.DRAWINGS,
    **pictures_of_training.DRAWINGS,
}
"""By question."""


def draw(finding: Finding, path: Path, *, dark: bool = False) -> bool:
    """Write a finding's PNG; return False where it has nothing to draw."""
    drawing = DRAWINGS.get(finding.question)
    if drawing is None or not finding.evidence:
        return False
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with page_style(dark=dark):
        figure = pyplot.figure(figsize=(6, 3.8), layout="constrained")
        drawing(figure, finding.evidence)
        is_empty = not figure.axes
        if not is_empty:
            figure.savefig(path, dpi=120)
        pyplot.close(figure)
    return not is_empty
