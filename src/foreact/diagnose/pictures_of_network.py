"""The network with the gradient at each of its parts, drawn as data flow through it: the loss on top, inputs below.

Where there is a posterior the loss is two boxes: the gradient of what judges predictions goes down the network, that of
the KL term around it, straight to the CVAE encoder's latent head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from foreact.diagnose.drawing import AMBER, NO, PALE, Drawing, ink, paper
from foreact.diagnose.network_parts import BACKBONE, DECODER, ENCODER, KL, LATENT_HEAD, VAE

_LEAST = 1e-5
"""Share from which on colours tell parts apart; below it all are pale."""
_HEIGHT, _GAP = 0.74, 0.26
_LEFT, _MIDDLE, _RIGHT, _WIDTH = 0.0, 3.45, 6.9, 3.1
"""Left edges of three columns and their width; a box over all of them is 10 wide."""
_AROUND = -0.5
"""Where the KL term's arrow goes down, left of all boxes."""
_KL_COLOUR = "#9f7aea"


def _parts(figure: Any, evidence: Any) -> None:
    parts = evidence["parts"]
    columns = _columns(parts)
    top = _stacked(parts, ("action head", "coordinate head"), (DECODER, "queries"), (ENCODER,))
    norms = evidence["gradient_norm_of_terms"]
    n_rows = len(top) + max((len(column) for column in columns.values()), default=0) + 1 + (KL in norms)
    figure.set_size_inches(6, 0.9 + 0.52 * n_rows)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(5, _HEIGHT / 2, "loss", ha="center", va="center", fontweight="bold")
    y = _terms(axes, norms) if KL in norms else 0.0
    for row in top:
        _arrow(axes, 5, y)
        y -= _HEIGHT + _GAP
        width = 10 / len(row)
        for i, part in enumerate(row):
            _box(axes, part, (i * width + 0.04, y), width - 0.08)
    for x, column in columns.items():
        below = y
        for number, part in enumerate(column):
            if number == 0 or x != _MIDDLE:  # what is in the middle goes into the encoder side by side
                _arrow(axes, x + _WIDTH / 2, below)
            below -= _HEIGHT + _GAP
            _box(axes, part, (x, below), _WIDTH)
            if KL in norms and part["box"] == VAE and part["layer"] == LATENT_HEAD:
                _kl_arrow(axes, below + _HEIGHT / 2)
    axes.set_xlim(_AROUND - 0.15 if KL in norms else -0.1, 10.1)
    axes.set_ylim(-n_rows * (_HEIGHT + _GAP), _HEIGHT)
    _key(figure, axes)


def _terms(axes: Any, norms: Mapping[str, float]) -> float:
    """Draw the loss's two terms with the norms of their gradients side by side; return the y that they stand on."""
    y = -_HEIGHT - _GAP
    (predicted,) = norms.keys() - {KL}
    for term, name, left, right in (
        (KL, "KL, weighted", _AROUND - 0.1, _MIDDLE - 0.1),
        (predicted, predicted, _MIDDLE, 9.96),
    ):
        _arrow(axes, (left + right) / 2, 0.0)
        axes.add_patch(
            _frame((left, y), right - left, facecolor=paper(), edgecolor=_KL_COLOUR if term == KL else ink())
        )
        says = f"{name}\ngradient {norms[term]:.3g}"
        axes.text((left + right) / 2, y + _HEIGHT / 2, says, ha="center", va="center", fontsize=8.5, linespacing=1.05)
    return y


def _kl_arrow(axes: Any, y: float) -> None:
    """From the KL term down beside the network, and into the box whose middle is at y."""
    axes.plot([_AROUND, _AROUND], [-_HEIGHT - _GAP, y], color=_KL_COLOUR, linewidth=1.6)
    axes.annotate("", (_LEFT, y), (_AROUND, y), arrowprops={"arrowstyle": "->", "color": _KL_COLOUR, "linewidth": 1.6})


def _stacked(parts: Sequence[Mapping[str, Any]], *rows: Sequence[str]) -> list[list[Mapping[str, Any]]]:
    """Rows of parts from the loss downwards; layers of one box stand one above the other, the last on top."""
    found: list[list[Mapping[str, Any]]] = []
    for boxes in rows:
        layers = [part for part in parts if part["box"] in boxes and part["layer"]]
        beside = [part for part in parts if part["box"] in boxes and not part["layer"]]
        if beside and not layers:
            found.append(beside)
            continue
        layers.sort(key=lambda part: (part["layer"] != "norm", -_number(part["layer"])))
        found += [[part] for part in layers[:-1]]
        if layers:
            found.append([layers[-1], *beside])
    return found


def _number(layer: str) -> int:
    digits = "".join(character for character in layer if character.isdigit())
    return int(digits) if digits else 0


def _columns(parts: Sequence[Mapping[str, Any]]) -> dict[float, list[Mapping[str, Any]]]:
    """What feeds the encoder: the latent's way, the vectors', the pictures'; nearest to the encoder first."""
    known = {"action head", "coordinate head", DECODER, "queries", ENCODER}
    latent = [part for part in parts if part["box"] == "latent projection"]
    vae = [part for part in parts if part["box"] == VAE]
    vae.sort(key=lambda part: (part["layer"] != "latent head", part["layer"] == "inputs", -_number(part["layer"])))
    pictures = [part for part in parts if part["box"] == "picture projection"]
    backbone = [part for part in parts if part["box"].startswith(BACKBONE)]
    backbone.sort(key=lambda part: (part["box"], part["layer"] != "last norm", -_number(part["layer"])))
    taken = {id(part) for part in (*latent, *vae, *pictures, *backbone)}
    others = [part for part in parts if part["box"] not in known and id(part) not in taken]
    columns = {_LEFT: [*latent, *vae], _MIDDLE: others, _RIGHT: [*pictures, *backbone]}
    return {x: column for x, column in columns.items() if column}


def _box(axes: Any, part: Mapping[str, Any], corner: tuple[float, float], width: float) -> None:
    frozen, dead = part["frozen"], part["dead"]
    colour = PALE if frozen else "#ffffff" if dead else _colour(part["share"])
    edge = NO if dead else AMBER if frozen else ink()
    patch = _frame(corner, width, facecolor=colour, edgecolor=edge, linewidth=2.5 if dead or frozen else 0.6)
    patch.set_hatch("///" if frozen else None)
    axes.add_patch(patch)
    name = part["box"] if not part["layer"] else f"{_short(part['box'])}: {part['layer']}"
    says = "frozen" if frozen else "no gradient" if dead else _shares(part["share_of_terms"])
    letters = "#ffffff" if not frozen and not dead and _depth(part["share"]) > 0.55 else "#111111"
    middle = corner[0] + width / 2, corner[1] + _HEIGHT / 2
    if width > 4:
        axes.text(*middle, f"{name}   {says}", ha="center", va="center", color=letters, fontsize=11)
    else:
        axes.text(*middle, f"{name}\n{says}", ha="center", va="center", color=letters, fontsize=8.5, linespacing=1.05)


def _frame(corner: tuple[float, float], width: float, **style: Any) -> Any:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(corner, width, _HEIGHT, boxstyle="round,pad=0,rounding_size=0.12", **style)


def _shares(of_terms: Mapping[str, float]) -> str:
    """How much of each term's gradient arrives at a part; of the KL term only where any does."""
    (predicted,) = of_terms.keys() - {KL}
    said = _percent(of_terms[predicted])
    return f"{said}, KL {_percent(of_terms[KL])}" if of_terms.get(KL) else said


def _short(box: str) -> str:
    return {VAE: "CVAE"}.get(box, box)


def _percent(share: float) -> str:
    if share >= 0.995:  # of which two digits would be 1e+02
        return "100 %"
    return f"{100 * share:.2g} %" if share >= 1e-4 else f"{100 * share:.0e} %"


def _arrow(axes: Any, x: float, y: float) -> None:
    """Downwards, as the gradient goes."""
    axes.annotate("", (x, y - _GAP), (x, y), arrowprops={"arrowstyle": "->", "color": ink(), "linewidth": 0.9})


def _depth(share: float) -> float:
    """Place of a share among the colours, 0 to 1."""
    return 1 + math.log10(max(share, _LEAST)) / -math.log10(_LEAST)


def _colour(share: float) -> Any:
    from matplotlib import colormaps

    return colormaps["YlGnBu"](0.08 + 0.84 * _depth(share))


def _key(figure: Any, axes: Any) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm

    shares = [_LEAST ** (1 - i / 99) for i in range(100)]
    colours = ListedColormap([_colour(share) for share in shares])
    bar = figure.colorbar(
        ScalarMappable(LogNorm(100 * _LEAST, 100), colours), ax=axes, orientation="horizontal", aspect=40, pad=0.01
    )
    bar.set_label("colour: share of the whole squared gradient norm [%]; in the boxes: of each term's", fontsize=9)
    bar.ax.tick_params(labelsize=9)


DRAWINGS: dict[str, Drawing] = {"parts": _parts}
