"""Where do episodes begin and grasp: one place, several with gaps between, or everywhere? Where to record next?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.finding import Finding
from foreact.inspection.scale import Scale
from foreact.inspection.words import episodes_text
from foreact.policy.sight import CueSight
from foreact.records import Arm, Episode, Features
from foreact_runtime import keys
from foreact_runtime.kinematics import InverseKinematics

_LINK, _LINK_LINE = 2.0, 2.0
"""Places nearer than so many mean spacings hang together; in a line, spacings times ln n: chance leaves no such gap."""
_FEW, _WIDER = 50, 1.35
"""Up to so many places they are so much farther. Of uniform random places in a box, a disc, an arc, a strip or a line
one set in a hundred has two clusters then, of more than fifty none in a hundred without it."""
_HOLE = 2.5
"""A hole is large from so many times the radius on that chance leaves among n places: spacing * sqrt(ln n / pi)."""
_MEMBERS = 3
_NEXT = 3
"""Places proposed for the next recordings."""
_MIN_PLACES = 8
_MAX_LINKED = 2000
"""Places that clusters and gaps are computed from; of more, spread evenly."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where one episode begins and grasps."""

    coordinates: np.ndarray | None
    """The coordinates at the first frame (2,)."""
    start_hand: np.ndarray | None
    """The hand at the first frame (3,) [m], where the arm is known."""
    closing_hand: np.ndarray | None
    """The hand where the gripper first closes (3,) [m]."""
    start_state: np.ndarray | None
    """(S,)."""
    closing_state: np.ndarray | None
    """(S,)."""
    in_view: Mapping[str, float]
    """Share of the frames in which a camera whose pose is known has the coordinates in its picture, by its name."""


class PlaceFinder:
    """Finds an episode's places; knows the arm's kinematics where the data set does."""

    def __init__(self, features: Features) -> None:
        """Take what the data set says of coordinates and arm."""
        self._sight = CueSight(features)
        arm = features.arm
        knows_arm = arm is not None and set(arm.joints) <= set(features.state_names)
        self._arm: Arm | None = arm if knows_arm else None
        self._kinematics = None if self._arm is None else InverseKinematics(self._arm)
        self._dims = [features.state_names.index(joint) for joint in self._arm.joints] if self._arm else []

    def measure(self, episode: Episode, closing: int | None) -> Places:
        """Return an episode's places; `closing` is the frame at which the gripper first closes."""
        told = episode.environment_state
        state = episode.state
        return Places(
            coordinates=None if told is None or told.shape[1] < 2 else told[0, :2].astype(np.float64),
            start_hand=self._hand(state, 0),
            closing_hand=self._hand(state, closing),
            start_state=None if state is None else state[0].astype(np.float64),
            closing_state=None if state is None or closing is None else state[closing].astype(np.float64),
            in_view={name: float(seen.mean()) for name, seen in self._sight.frames(episode).items()},
        )

    def _hand(self, state: np.ndarray | None, frame: int | None) -> np.ndarray | None:
        if self._kinematics is None or self._arm is None or state is None or frame is None:
            return None
        angles = state[frame, self._dims].astype(np.float64)
        return self._kinematics.forward(np.radians(angles) if self._arm.unit == "deg" else angles)[0]


@dataclass(frozen=True, kw_only=True)
class PlaceMap:
    """Places of one kind, in two dimensions."""

    what: str
    axes: tuple[str, str]
    """Labels, with units."""
    unit: str
    points: Mapping[int, tuple[float, float]]
    """By episode."""


def place_maps(features: Features, places: Mapping[int, Places], scales: Mapping[str, Scale]) -> tuple[PlaceMap, ...]:
    """Return the maps that the data allow, the one that says most about the task first.

    Coordinates, then where the gripper closes, then where the hand starts. Without an arm's kinematics the last two
    are the first two principal components of the state, in standard deviations of the set.
    """
    maps = []
    told = {index: of.coordinates for index, of in places.items() if of.coordinates is not None}
    if told:
        one, other = features.environment_names[:2]
        unit = "m" if features.arm is not None or features.environment_height else ""
        suffix = f" [{unit}]" if unit else ""
        maps.append(_map("coordinates", (f"{one}{suffix}", f"{other}{suffix}"), unit, told))
    for what, hand, state in (
        ("gripper closing", "closing_hand", "closing_state"),
        ("start", "start_hand", "start_state"),
    ):
        hands = {index: at[:2] for index, of in places.items() if (at := getattr(of, hand)) is not None}
        states = {index: at for index, of in places.items() if (at := getattr(of, state)) is not None}
        if hands:
            axes = ("in front of the base [m]", "to the left of the base [m]")
            maps.append(_map(what, axes, "m", hands))
        elif len(states) >= 3 and keys.STATE in scales:
            axes = ("first principal component [std]", "second principal component [std]")
            maps.append(_map(what, axes, "std", _components(states, scales[keys.STATE])))
    return tuple(maps)


def _map(what: str, axes: tuple[str, str], unit: str, points: Mapping[int, np.ndarray]) -> PlaceMap:
    return PlaceMap(
        what=what, axes=axes, unit=unit, points={i: (float(at[0]), float(at[1])) for i, at in points.items()}
    )


def _components(states: Mapping[int, np.ndarray], scale: Scale) -> dict[int, np.ndarray]:
    values = (np.stack(list(states.values())) - scale.mean) / scale.std
    values = values - values.mean(axis=0)
    _, _, directions = np.linalg.svd(values, full_matrices=False)
    directions = np.vstack([directions, np.zeros((2, values.shape[1]))])[:2]
    return dict(zip(states, values @ directions.T, strict=True))


def clusters(points: np.ndarray, link: float) -> np.ndarray:
    """Return a number (N,) for each of the points (N, 2): those within `link` of one another are together."""
    label = np.full(len(points), -1)
    for seed in range(len(points)):
        if label[seed] >= 0:
            continue
        label[seed] = label.max() + 1
        edge = [seed]
        while edge:
            at = edge.pop()
            near = np.flatnonzero((label < 0) & (np.linalg.norm(points - points[at], axis=1) <= link))
            label[near] = label[seed]
            edge += near.tolist()
    return label


def link_length(points: np.ndarray) -> tuple[float, float]:
    """Return the distance within which places hang together, and the mean spacing of the places.

    The spacing is that of as many places spread evenly over their extent, as a box along the main directions, without
    the outermost 5 %; a box as thin as a line is measured along the line.
    """
    centred = points - points.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    low, high = np.quantile(centred @ directions.T, (0.025, 0.975), axis=0)
    length, width = np.sort(high - low)[::-1]
    n = len(points)
    spacing = max(float(np.sqrt(length * width / n)), float(length) / n)
    link = max(_LINK * spacing, _LINK_LINE * float(length) / n * float(np.log(n)))
    return link * (_WIDER if n <= _FEW else 1.0), spacing


def holes(points: np.ndarray, n: int) -> list[tuple[float, float, float]]:
    """Return the n largest empty circles within the places' hull: x, y, radius; largest first.

    At most half of a circle's radius may stick out of the hull: beyond it nobody has recorded for a reason.
    """
    corners = hull(points)
    if len(corners) < 3:
        return []
    low, high = points.min(axis=0), points.max(axis=0)
    grid = np.stack(np.meshgrid(*(np.linspace(low[i], high[i], 61) for i in range(2))), axis=-1).reshape(-1, 2)
    edges = np.roll(corners, -1, axis=0) - corners
    offset = grid[:, None] - corners
    inside = (edges[:, 0] * offset[..., 1] - edges[:, 1] * offset[..., 0]) / np.linalg.norm(edges, axis=1)
    radius = 2 * inside.min(axis=1)
    for point in points:
        radius = np.minimum(radius, np.linalg.norm(grid - point, axis=1))
    found = []
    for _ in range(n):
        best = int(radius.argmax())
        if radius[best] <= 0:
            break
        found.append((float(grid[best, 0]), float(grid[best, 1]), float(radius[best])))
        radius = np.minimum(radius, np.linalg.norm(grid - grid[best], axis=1))
    return found


def hull(points: np.ndarray) -> np.ndarray:
    """Return the corners (M, 2) of the points' convex hull, counter-clockwise (Andrew's monotone chain, 1979)."""
    ordered = np.unique(points, axis=0)
    if len(ordered) < 3:
        return ordered

    def half(row: np.ndarray) -> list[np.ndarray]:
        chain: list[np.ndarray] = []
        for point in row:
            while len(chain) >= 2 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        return chain[:-1]

    return np.array(half(ordered) + half(ordered[::-1]))


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def judge_coverage(maps: tuple[PlaceMap, ...]) -> Finding:
    """Say whether the places hang together, and where the next episodes are best recorded."""
    question, title = "coverage", "Which places do the demonstrations cover?"
    drawn = {
        of.what: {"axes": list(of.axes), "episodes": list(of.points), "points": [list(at) for at in of.points.values()]}
        for of in maps
    }
    judged = next((of for of in maps if _varies(of)), None)
    if judged is None:
        reason = "every episode begins at one place" if maps else "the data have neither state nor coordinates"
        return Finding(
            question=question,
            title=title,
            verdict=f"cannot tell: {reason}, or there are fewer than {_MIN_PLACES} episodes",
            severity="note",
            evidence={"maps": drawn},
        )
    episodes = np.array(list(judged.points))
    points = np.array(list(judged.points.values()))
    if len(points) > _MAX_LINKED:
        chosen = np.linspace(0, len(points) - 1, _MAX_LINKED).round().astype(int)
        episodes, points = episodes[chosen], points[chosen]
    link, spacing = link_length(points)
    label = clusters(points, link)
    groups = [episodes[label == which].tolist() for which in range(label.max() + 1)]
    large = [group for group in groups if len(group) >= max(_MEMBERS, 0.05 * len(points))]
    empty = holes(points, _NEXT)
    unit = f" {judged.unit}" if judged.unit else ""
    nexts = ", ".join(f"({x:.3g}, {y:.3g})" for x, y, _ in empty)
    apart = len(large) > 1
    big_hole = bool(empty) and empty[0][2] > _HOLE * spacing * float(np.sqrt(np.log(len(points)) / np.pi))
    low, high = points.min(axis=0), points.max(axis=0)
    span = f"{low[0]:.3g} to {high[0]:.3g} by {low[1]:.3g} to {high[1]:.3g}{unit}"
    if apart:
        shown = "; ".join(f"{len(group)} in {episodes_text(group)}" for group in large[:4])
        verdict = (
            f"{len(large)} clusters of places with gaps between ({judged.what}): {shown}: between them the policy has "
            "never seen what to do"
        )
    elif big_hole:
        x, y, radius = empty[0]
        verdict = (
            f"a hole of {radius:.2g}{unit} around ({x:.3g}, {y:.3g}) ({judged.what}), {radius / spacing:.1f} spacings"
        )
    else:
        verdict = f"{len(points)} places ({judged.what}) over {span} without a large gap"
    return Finding(
        question=question,
        title=title,
        verdict=verdict,
        severity="warning" if apart or big_hole else "fine",
        remedy=f"record next at {nexts}{unit}" if (apart or big_hole) and nexts else "",
        evidence={
            "judged_by": judged.what,
            "unit": judged.unit,
            "episodes": sorted(index for group in large[1:] for index in group) if apart else [],
            "clusters": large,
            "record_next": [list(hole) for hole in empty],
            "mean_spacing": spacing,
            "maps": drawn,
        },
    )


def _varies(of: PlaceMap) -> bool:
    points = np.array(list(of.points.values()))
    return len(points) >= _MIN_PLACES and bool((np.ptp(points, axis=0) > 1e-3).any())
