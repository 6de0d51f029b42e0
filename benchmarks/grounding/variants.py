"""What the study compares: the one place to change it.

Every cell is a line of `study()`; their order is the order in which they are run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from benchmarks.grounding.cells import Cell, Condition, Data, Variant

from foreact.config import RunConfig
from foreact.presets import preset
from foreact.sim.layout import CLUSTER_RADIUS, CLUSTERS, WORKSPACE
from foreact.sim.record import RecordConfig
from foreact.sim.task import CAMERAS, level

# --- data -----------------------------------------------------------------------------------------------------------

DEMONSTRATIONS = 400
PICTURES: dict[str, Any] = {"overhead_size": (128, 128), "wrist_size": (96, 96)}
LEVELS = ("L1", "L2")


def _data(name: str, of_level: str, *, episodes: int = DEMONSTRATIONS, paired: bool = False, **options: Any) -> Data:
    task = level(of_level, **PICTURES, **options)
    return Data(name=f"{name}-{of_level}", recording=RecordConfig(task=task, episodes=episodes, paired=paired))


CLUSTERED = {name: _data("clusters", name, positions="clusters") for name in LEVELS}
TARGET_CLUSTERED = _data("target-clusters", "L1", positions="target_clusters")
"""Seed 000's other form: the confuser anywhere."""
UNIFORM = {name: _data("uniform", name) for name in LEVELS}
MIXED = _data("mixed", "L2", episodes=500, min_separation=0.06)
"""What the quickstart records: L2 with other blocks as near as they stand at L1."""
HARDEST = _data("uniform", "L3", episodes=500)
HARDEST_MORE = _data("more", "L3", episodes=1000)
"""Light, colours and the camera's pose vary, so that there is more to be shown."""
TOLD = _data("told", "L3", episodes=500, tell_bowl=True)
"""The bowl's place is a coordinate too, relative to which `frame` tells the hand once the jaws close."""
SO101 = Data(
    name="so101-L2",
    recording=RecordConfig(
        task=level("L2", cameras=("overhead",), overhead_size=(480, 640), fps=30.0, min_separation=0.06),
        episodes=DEMONSTRATIONS,
    ),
)
"""What a real SO-101 gives: pictures of 480x640, thirty times a second."""
PAIRED = {name: _data("paired", name, paired=True) for name in LEVELS}
ALONE = {name: _data("alone", name, confusers=(0, 0)) for name in LEVELS}

_FEW = replace(CLUSTERED["L1"], recording=replace(CLUSTERED["L1"].recording, episodes=DEMONSTRATIONS // 5))
COPIED = replace(_FEW, name="copied-L1", copies=5)
"""Seed 000: five copies of each trajectory, two clusters."""
MISLED = replace(CLUSTERED["L1"], name="misled-L1", uninformed=0.5)
"""Seed 000: coordinates that tell nothing in part of the data."""
UNTOLD = replace(CLUSTERED["L1"], name="untold-L1", uninformed=1.0)
"""Coordinates that tell nothing at all: what is trained on them is collapsed for certain, and diagnose must say so."""
COPIED_MISLED = replace(COPIED, name="copied-misled-L1", uninformed=0.5)

# --- policies -------------------------------------------------------------------------------------------------------

_PRESET = preset("compact")
COMPACT = RunConfig(policy=replace(_PRESET.policy, cameras=("overhead",)), train=_PRESET.train)
"""A small convolutional network, one camera, 128,000 samples: for the baseline, the best and the controls."""
SHORT = RunConfig(policy=COMPACT.policy, train=replace(COMPACT.train, steps=1000))
"""Half of that, for the breadth of the study."""
RESNET = RunConfig(
    policy=replace(COMPACT.policy, vision_backbone="resnet18", backbone_norm="frozen"),
    train=replace(COMPACT.train, steps=1200, batch_size=32, lr=1e-4, lr_backbone=1e-4, val_every=300, save_every=100),
)
"""ResNet-18 as LeRobot has it, with random weights, on the samples that half an hour of one core allows."""
_SAMPLES_PER_S = {"cnn": 100, "resnet18": 23, "dinov2_small": 12}

_GROUNDED = preset("compact-grounded")
BEST_POLICY: dict[str, Any] = {
    "conditioning": ("token", "crop", "frame"),
    "cue_crop_full": (),
    "cue_crop_full_scale": 1.0,
}
BEST_TRAIN: dict[str, Any] = {"cue_noise": _GROUNDED.train.cue_noise}
"""The best combination of one camera, over any network; the preset has `world` too, and pictures beside their crops."""


_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _variant(name: str, title: str, base: RunConfig = COMPACT, **policy: Any) -> Variant:
    run = replace(base, policy=replace(base.policy, **policy))
    config = run.policy
    pictures = {(): 450.0, ("overhead",): _SAMPLES_PER_S[config.vision_backbone]}
    speed = 300.0 if "crop" in config.conditioning else pictures.get(config.cameras or (), 55.0)
    return Variant(name=name, title=title, run=run, samples_per_s=speed)


def _changed(
    variant: Variant, *, policy: Mapping[str, Any] = _NOTHING, train: Mapping[str, Any] = _NOTHING, **what: Any
) -> Variant:
    """Return a policy like another but for some of its settings, and for `what` the study says of it."""
    run = variant.run
    run = replace(run, policy=replace(run.policy, **policy), train=replace(run.train, **train))
    return replace(variant, run=run, **what)


def _best(name: str, title: str, base: RunConfig = COMPACT, **policy: Any) -> Variant:
    return _changed(_variant(name, title, base, **{**BEST_POLICY, **policy}), train=BEST_TRAIN)


def _beside(variant: Variant, name: str, title: str, **policy: Any) -> Variant:
    return _changed(variant, name=name, title=title, policy=policy, samples_per_s=200)


def _longer(variant: Variant, times: int) -> Variant:
    return _changed(
        variant,
        name=f"{variant.name}-{times}x",
        title=f"{variant.title}, {times} times the training",
        train={"steps": times * variant.run.train.steps},
    )


def _short(variant: Variant) -> Variant:
    return _changed(
        variant,
        name=f"{variant.name}-short",
        title=f"{variant.title}, half the training",
        train={"steps": SHORT.train.steps},
    )


def _in_metres(variant: Variant) -> Variant:
    return _changed(
        variant,
        name=f"raw-{variant.name.removesuffix('-short')}",
        title=f"{variant.title}, coordinates not normalised",
        policy={"environment_normalization": "identity"},
    )


_OVERHEAD = replace(_GROUNDED, policy=replace(_GROUNDED.policy, **BEST_POLICY))
OVERHEAD = _variant("overhead", "best, 4000 steps", _OVERHEAD, cameras=("overhead",))
"""What the quickstart trained until both cameras were measured."""
WRIST_WHOLE = Variant(
    name="wrist-whole", title="best, the wrist's picture whole, 4000 steps", run=_OVERHEAD, samples_per_s=130
)
PRESET = Variant(
    name="preset",
    title="preset compact-grounded",
    run=replace(_GROUNDED, policy=replace(_GROUNDED.policy, cue_crop_cameras=CAMERAS, cue_crop_full=CAMERAS)),
    samples_per_s=180,
)
"""Its cameras named, which it takes unnamed. The wrist's camera is where its calibration says even at L3; it sees the
block before the jaws, and then the bowl."""

PRESET_STRONG = _changed(
    PRESET,
    name="preset-strong",
    title="preset compact-grounded with strong",
    policy={"conditioning": (*_GROUNDED.policy.conditioning, "strong")},
)
"""What was obeyed where crop and frame alone were half deaf: does it cost the default anything?"""

PRESET_BLIND = _variant("preset-blind", "preset compact-grounded without pictures", _GROUNDED, cameras=())
PRESET_UNCUED = replace(
    _variant("preset-uncued", "preset compact-grounded without coordinates", _GROUNDED, use_environment_state=False),
    samples_per_s=66,
)
"""Both cameras' full pictures: nothing says where to crop."""
PRESET_TOKEN = replace(
    _variant(
        "preset-token",
        "baseline: coordinates as a token, both cameras, 4000 steps",
        RunConfig(policy=_PRESET.policy, train=replace(_GROUNDED.train, cue_noise=_PRESET.train.cue_noise)),
    ),
    samples_per_s=66,
)
"""The preset's own data, cameras and budget, without its ways."""

_REAL = preset("so101-grounded")
SO101_GROUNDED = Variant(
    name="so101-grounded",
    title="best, the network of so101-grounded, chunk of 1 s",
    run=RunConfig(
        policy=replace(_REAL.policy, **BEST_POLICY, chunk_size=30, n_action_steps=7, pretrained_backbone_weights=None),
        train=replace(RESNET.train, cue_noise=_REAL.train.cue_noise),
    ),
    samples_per_s=15,
)
"""The full-size network, with the chunk that `foreact inspect` proposes for these demonstrations and a CPU's budget."""

BASELINE = _variant("baseline", "baseline: coordinates as a token")
BEST = _best("best", "best: token + crop + frame, noisy cue")
BEST_FULL = replace(
    _best(
        "best-full",
        "best + world, the full picture beside the crop",
        conditioning=_GROUNDED.policy.conditioning,
        cue_crop_full=("overhead",),
    ),
    samples_per_s=95,
)
"""For L3: the bowl is told by nothing but the picture, whose cells know which point, seen from the hand, they show."""
BEST_HALF = _beside(BEST_FULL, "best-half", "best + world, half-size picture beside the crop", cue_crop_full_scale=0.5)
BEST_LATE = _beside(
    BEST_HALF, "best-late", "best + world, half-size picture once the jaws close", cue_crop_full_when="closed"
)
"""While the jaws are open there is nothing but the crop: positions on the table stay alike."""
OVERHEAD_HALF = _beside(
    OVERHEAD,
    "overhead-half",
    "best + world, half-size picture beside, 4000 steps",
    conditioning=BEST_HALF.run.policy.conditioning,
    cue_crop_full=("overhead",),
    cue_crop_full_scale=0.5,
)
BLIND = _variant("blind", "blind: no pictures", cameras=())
BEST_BLIND = _best("best-blind", "best without pictures", cameras=())
"""The strongest blind control: relative to the cue, but for its noise all that there is to know without eyes."""
STRONG_BLIND = _variant("strong-blind", "blind, strong coordinates", conditioning=("strong",), cameras=())
_UNTOLD: dict[str, Any] = {"use_environment_state": False, "conditioning": ("token",)}
UNCUED = _variant("uncued", "uncued: no coordinates", **_UNTOLD)
CROP = _variant("crop", "token + crop", conditioning=("token", "crop"), cue_crop_cameras=("overhead",))
TOKEN = _short(BASELINE)
BEST_SHORT = _short(BEST)
UNCUED_SHORT = _short(UNCUED)
CURES = (
    *(
        _variant(cure, f"token + {cure}", SHORT, conditioning=("token", cure))
        for cure in ("auxiliary", "contrastive", "film", "strong", "heatmap", "world", "frame")
    ),
    _short(CROP),
    _variant("crop-strong", "token + crop + strong", SHORT, conditioning=("token", "crop", "strong")),
    _variant("crop-frame", "token + crop + frame", SHORT, conditioning=("token", "crop", "frame")),
    _variant(
        "crop-frame-strong", "token + crop + frame + strong", SHORT, conditioning=("token", "crop", "frame", "strong")
    ),
)
"""Each alone, and combinations, with half the training."""
WAYS = (TOKEN, *CURES, BEST_SHORT)
"""Those between the baseline and the best on the same budget."""
RAW_CUE = _variant("raw-cue", "baseline, coordinates not normalised", SHORT, environment_normalization="identity")
"""LeRobot's ACT does not normalise `observation.environment_state`: a weaker signal, so a condition of the collapse."""
RAW = {way.name: RAW_CUE if way is TOKEN else _in_metres(way) for way in WAYS}
"""Each way where the token alone collapses: is the named block found although coordinates are in metres?"""

_PAIRED = RunConfig(policy=SHORT.policy, train=replace(SHORT.train, sampling="paired"))
PAIRED_ORDER = _variant("paired-order", "token, paired sampling", _PAIRED)
PAIRED_CONTRAST = _variant(
    "paired-contrastive", "token + contrastive, paired sampling", _PAIRED, conditioning=("token", "contrastive")
)
"""What demonstrations of one scene with each block as target are for."""

RESNET_BASELINE = _variant("resnet-baseline", "baseline, ResNet-18", RESNET)
RESNET_RAW = _variant(
    "resnet-raw", "baseline, ResNet-18, coordinates not normalised", RESNET, environment_normalization="identity"
)
RESNET_BEST = replace(_best("resnet-best", "best, ResNet-18", RESNET), samples_per_s=60)
LEROBOT = replace(_variant("lerobot", "LeRobot 0.6.1's ACT, ResNet-18", RESNET), by="lerobot")
LEROBOT_BOTH = _changed(
    LEROBOT,
    name="lerobot-both",
    title="LeRobot 0.6.1's ACT, ResNet-18, both cameras",
    policy={"cameras": CAMERAS},
    samples_per_s=14,
)
"""The pictures that the default has."""
LEROBOT_LONG = _longer(LEROBOT, 3)
LEROBOT_AS_PRESET = _changed(
    LEROBOT_BOTH,
    name="lerobot-preset",
    title="LeRobot 0.6.1's ACT, ResNet-18, both cameras, 4000 steps of 64",
    train={"steps": PRESET.run.train.steps, "batch_size": PRESET.run.train.batch_size},
)
"""On the default's own budget: more than four hours of a core."""
PRESET_AS_LEROBOT = _changed(
    PRESET,
    name="preset-1200",
    title="preset compact-grounded, LeRobot's steps and batches",
    train={"steps": RESNET.train.steps, "batch_size": RESNET.train.batch_size, "val_every": 300},
)
"""The default beside LeRobot's ACT at the same data and budget, which is a seventh of its own samples."""
FULL_SIZE = replace(
    _variant(
        "so101-token",
        "baseline, the network of so101",
        RunConfig(
            policy=replace(
                preset("so101").policy,
                cameras=("overhead",),
                chunk_size=COMPACT.policy.chunk_size,
                n_action_steps=COMPACT.policy.n_action_steps,
                pretrained_backbone_weights=None,
            ),
            train=RESNET.train,
        ),
    ),
    samples_per_s=12,
)
"""51 million parameters, as seed 000's; at the study's pictures and chunk."""
VIT = _variant(
    "vit", "baseline with a ViT (DINOv2 small, random)", RESNET, vision_backbone="dinov2_small", backbone_norm="frozen"
)

# --- what is measured -----------------------------------------------------------------------------------------------

EPISODES = 200
GRID_SIDE = 7


def _grid() -> tuple[tuple[float, float], ...]:
    """Positions over the whole workspace, x by x."""
    xs, ys = (np.linspace(*ends, GRID_SIDE).round(4).tolist() for ends in zip(*WORKSPACE, strict=True))
    return tuple((x, y) for x in xs for y in ys)


def _hull(n: int = EPISODES) -> tuple[tuple[float, float], ...]:
    """Positions uniform in the convex hull of the two round clusters."""
    rng = np.random.default_rng(0)
    first, second = np.array(CLUSTERS)
    axis = (second - first) / np.linalg.norm(second - first)
    found: list[tuple[float, float]] = []
    while len(found) < n:
        point = rng.uniform(*WORKSPACE).round(4)
        along = np.clip((point - first) @ axis, 0, math.dist(first, second))
        if np.linalg.norm(point - first - along * axis) <= CLUSTER_RADIUS:
            found.append((float(point[0]), float(point[1])))
    return tuple(found)


AT_L1 = Condition(name="L1", task=level("L1"), episodes=EPISODES)
AT_L2 = Condition(name="L2", task=level("L2"), episodes=EPISODES)
AT_L3 = Condition(name="L3", task=level("L3"), episodes=EPISODES)
THREE_CONFUSERS = Condition(name="L2, 3 confusers", task=level("L2", confusers=(3, 3)), episodes=EPISODES)
GRID = Condition(name="grid L1", task=level("L1", positions=_grid()), episodes=GRID_SIDE**2)
HULL = Condition(name="hull L1", task=level("L1", positions=_hull()), episodes=EPISODES)
IN_CLUSTERS = Condition(name="clusters L1", task=level("L1", positions="clusters"), episodes=EPISODES)

STANDARD = (AT_L1, AT_L2, GRID)
CHOSEN = (*STANDARD, AT_L3, THREE_CONFUSERS)
"""For the baseline, the best and LeRobot."""
OF_CLUSTERS = (*STANDARD, HULL, IN_CLUSTERS)


def study() -> tuple[Cell, ...]:
    """Return every cell, in the order in which they are run."""

    def cells(data: Data, variants: Sequence[Variant], conditions: Sequence[Condition], seeds: int = 1) -> list[Cell]:
        return [
            Cell(
                data=data,
                variant=variant,
                seed=seed,
                conditions=tuple(conditions),
                diagnose=True,
            )
            for seed in range(seeds)
            for variant in variants
        ]

    lines = [
        cells(UNIFORM["L2"], (BEST,), CHOSEN),
        cells(HARDEST, (BEST_FULL, BEST_HALF, BEST_LATE), (AT_L3,)),
        cells(HARDEST_MORE, (PRESET, PRESET_BLIND, OVERHEAD_HALF, WRIST_WHOLE), CHOSEN),
        cells(HARDEST_MORE, (PRESET,), CHOSEN, seeds=3)[1:],
        cells(MIXED, (OVERHEAD, PRESET), CHOSEN),
        cells(CLUSTERED["L1"], (PRESET, BEST_LATE, BEST_HALF), OF_CLUSTERS),
        cells(UNIFORM["L2"], (BASELINE,), CHOSEN),
        cells(UNIFORM["L2"], (BEST_BLIND, BLIND, UNCUED), STANDARD),
        cells(CLUSTERED["L1"], (BEST, BEST_BLIND), OF_CLUSTERS),
        cells(UNTOLD, (BLIND, STRONG_BLIND, BEST_BLIND, CROP), (AT_L1, IN_CLUSTERS)),
        cells(UNTOLD, (BLIND, STRONG_BLIND), (AT_L1, IN_CLUSTERS), seeds=2)[2:],
        cells(UNIFORM["L2"], (LEROBOT, RESNET_BEST, RESNET_BASELINE, RESNET_RAW), CHOSEN),
        cells(UNIFORM["L2"], (BEST, BASELINE), CHOSEN, seeds=3)[2:],
        cells(COPIED_MISLED, (TOKEN, RAW_CUE, BEST_SHORT), OF_CLUSTERS),
        cells(SO101, (SO101_GROUNDED,), CHOSEN),
        cells(UNIFORM["L2"], (*CURES, TOKEN, BEST_SHORT), STANDARD),
        cells(UNIFORM["L2"], (RESNET_BEST, LEROBOT, RESNET_BASELINE), CHOSEN, seeds=3)[3:],
        *(cells(PAIRED[name], (TOKEN, BEST_SHORT), STANDARD) for name in LEVELS),
        cells(PAIRED["L2"], (PAIRED_ORDER, PAIRED_CONTRAST), STANDARD),
        *(cells(ALONE[name], (TOKEN, BEST_SHORT), STANDARD) for name in LEVELS),
        cells(CLUSTERED["L1"], (TOKEN, BEST_SHORT), OF_CLUSTERS),
        cells(CLUSTERED["L2"], (TOKEN, BEST_SHORT), OF_CLUSTERS),
        cells(UNIFORM["L1"], (TOKEN, BEST_SHORT, UNCUED_SHORT, _short(BLIND)), STANDARD),
        cells(UNIFORM["L2"], (VIT,), STANDARD),
        cells(TARGET_CLUSTERED, (TOKEN, BEST_SHORT), OF_CLUSTERS),
        cells(COPIED, (TOKEN,), OF_CLUSTERS),
        cells(MISLED, (TOKEN, BEST_SHORT), OF_CLUSTERS),
        cells(CLUSTERED["L1"], CURES, OF_CLUSTERS),
        cells(CLUSTERED["L1"], (RAW_CUE, LEROBOT, RESNET_BASELINE), OF_CLUSTERS),
        cells(CLUSTERED["L1"], (BASELINE, BLIND), OF_CLUSTERS),
        cells(COPIED, (_longer(BASELINE, 3), FULL_SIZE), OF_CLUSTERS),
        cells(UNIFORM["L1"], CURES, STANDARD),
        cells(HARDEST_MORE, (PRESET_UNCUED,), CHOSEN),
        cells(UNIFORM["L2"], (PRESET_AS_LEROBOT,), CHOSEN, seeds=3),
        cells(HARDEST_MORE, (PRESET_TOKEN,), CHOSEN),
        cells(COPIED_MISLED, [way for way in RAW.values() if way is not RAW_CUE], (IN_CLUSTERS, HULL)),
        cells(COPIED_MISLED, (RAW_CUE, RAW["strong"]), (IN_CLUSTERS, HULL), seeds=2)[2:],
        cells(UNIFORM["L2"], (CROP,), STANDARD),
        *(cells(data["L1"], (UNCUED_SHORT,), STANDARD) for data in (PAIRED, ALONE)),
        cells(CLUSTERED["L1"], (UNCUED_SHORT,), OF_CLUSTERS),
        cells(TOLD, (BEST,), (AT_L3,)),
        cells(HARDEST_MORE, (PRESET_STRONG,), CHOSEN),
        cells(COPIED_MISLED, [_in_metres(of) for of in (PRESET, PRESET_STRONG)], (IN_CLUSTERS, HULL)),
        cells(CLUSTERED["L1"], (PRESET_STRONG,), OF_CLUSTERS),
        cells(UNIFORM["L2"], (LEROBOT_BOTH, LEROBOT_LONG), STANDARD),
        cells(HARDEST_MORE, (LEROBOT_AS_PRESET,), CHOSEN),
    ]
    return tuple(cell for line in lines for cell in line)
