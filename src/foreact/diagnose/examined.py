"""Opening a policy together with the episodes that it is examined on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from foreact.config import TrainConfig, train_config_from_dict
from foreact.data.dataset import ChunkDataset
from foreact.data.mixed import open_sources, origin_of, parts_of
from foreact.data.selection import select_features
from foreact.data.source import EpisodeSource
from foreact.diagnose.probe import first_episodes
from foreact.errors import ConfigError, DataError
from foreact.model.act import ACT
from foreact.policy.checkpoint import (
    CHECKPOINTS,
    CheckpointMeta,
    checkpoints_in,
    data_paths,
    find_checkpoint,
    load_weights,
    read_meta,
    read_policy,
    read_weights,
    source_of,
)
from foreact.policy.policy import Policy
from foreact.records import Features


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A policy and its episodes."""

    checkpoint: Path
    meta: CheckpointMeta
    policy: Policy
    data: str
    """The data sets, for people."""
    source: EpisodeSource
    dataset: ChunkDataset
    """Of the chosen episodes, held-out ones first."""
    held_out: int | None
    """How many of them the policy was not trained on; None where the checkpoint does not say what it was trained on, as
    an imported one."""
    trained_on: tuple[int, ...]
    """Those of the source's episodes that it was trained on, chosen or not."""
    cache_dir: Path | None

    @property
    def run_folder(self) -> Path:
        """The run's folder; the checkpoint's own where it lies alone."""
        return self.checkpoint.parent.parent if self.checkpoint.parent.name == CHECKPOINTS else self.checkpoint


def open_examined(
    run: str | Path,
    *,
    data: str | Path | None,
    checkpoint: str,
    episodes: int,
    cache_dir: Path | None,
    device: str,
    chosen: tuple[int, ...] | None = None,
) -> Examined:
    """Open them.

    Args:
        run: A run or a checkpoint directory.
        data: A data set; None takes what the run was trained on.
        checkpoint: Of a run: "last", "best", or a step's number.
        episodes: How many; held-out ones first, then training episodes.
        cache_dir: Where decoded frames are kept; None for the user's cache.
        device: Where to compute.
        chosen: Exactly these episodes instead, those that are held out first.

    Raises:
        CheckpointError: If there is no policy, or it is damaged.
        ConfigError: If the run does not say what it was trained on.
        DataError: If the data set is missing, damaged or not what the policy takes.
    """
    directory = find_checkpoint(run, checkpoint)
    meta = read_meta(directory)
    paths = (Path(data),) if data is not None else _data_of(meta, run)
    policy = read_policy(directory, meta, device=device)
    source = open_sources(paths, source_of(meta))
    _check_fits(source, policy.features, meta)
    held_out, trained_on = _split(source, meta)
    if chosen is None:
        chosen = first_episodes(held_out, trained_on, episodes)
    return Examined(
        checkpoint=directory,
        meta=meta,
        policy=policy,
        data=" and ".join(str(path) for path in paths),
        source=source,
        dataset=_samples(source, chosen, policy, cache_dir),
        held_out=len(set(chosen) & set(held_out)) if data_paths(meta) else None,
        trained_on=trained_on,
        cache_dir=cache_dir,
    )


def training_samples(examined: Examined, episodes: int) -> ChunkDataset | None:
    """Return samples of up to so many episodes that the policy was trained on; None where these are not known."""
    chosen = first_episodes((), examined.trained_on, episodes)
    return _samples(examined.source, chosen, examined.policy, examined.cache_dir) if chosen else None


def _samples(source: EpisodeSource, episodes: tuple[int, ...], policy: Policy, cache_dir: Path | None) -> ChunkDataset:
    return ChunkDataset(
        source,
        episodes,
        features=policy.features,
        chunk_size=policy.config.chunk_size,
        downsample_factor=policy.config.downsample_factor,
        image_size=policy.config.image_size,
        cache_dir=cache_dir,
    )


def earlier_checkpoint(examined: Examined) -> Path | None:
    """Return the run's last checkpoint before the examined one; None where there is none."""
    checkpoints = checkpoints_in(examined.checkpoint.parent)
    before = checkpoints[: checkpoints.index(examined.checkpoint)] if examined.checkpoint in checkpoints else []
    return before[-1] if before else None


def whole_network(examined: Examined) -> ACT:
    """Return the network as it was trained, with the CVAE encoder, which a policy drops; another one each time.

    Where the checkpoint has no CVAE encoder, which only training needs, neither has the network.
    """
    meta = examined.meta
    network = ACT(replace(meta.policy, pretrained_backbone_weights=None), examined.policy.inputs.network_features)
    load_weights(network, read_weights(examined.checkpoint), examined.checkpoint)
    return network.to(examined.policy.device).eval()


def held_out_episodes(
    run: str | Path, *, data: str | Path | None, checkpoint: str
) -> tuple[tuple[Path, ...], tuple[int, ...], tuple[int, ...]]:
    """Return a run's data sets, their episodes that it was not trained on, and those that it was.

    All are of the first kind where the checkpoint does not say what it was trained on.

    Raises:
        As `open_examined`.
    """
    meta = read_meta(find_checkpoint(run, checkpoint))
    paths = (Path(data),) if data is not None else _data_of(meta, run)
    return paths, *_split(open_sources(paths, source_of(meta)), meta)


def train_config(meta: CheckpointMeta) -> TrainConfig | None:
    """Return how a policy was trained; None where the checkpoint does not say."""
    return train_config_from_dict(meta.provenance["train"]) if "train" in meta.provenance else None


def seen_in_words(held_out: int | None) -> str:
    """Return how many of the examined episodes are not trained on: `8 of them not trained on`."""
    if held_out is None:
        return "of which the checkpoint does not say whether it was trained on them"
    return f"{held_out} of them not trained on"


def _data_of(meta: CheckpointMeta, run: str | Path) -> tuple[Path, ...]:
    paths = data_paths(meta)
    if not paths:
        raise ConfigError(f"'{run}' does not say what it was trained on; give a data set with --data")
    return paths


def _split(source: EpisodeSource, meta: CheckpointMeta) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the episodes that the policy has not been trained on, and those that it has.

    A data set at the same place whose content has changed since, for example grown, is taken for the same one. One of
    several that were mixed is known too. Damaged episodes that training left out are neither.
    """
    trained = meta.provenance.get("data", {})
    seen: set[tuple[int, int]] = set()
    left_out: set[tuple[int, int]] = set()
    of_data_sets = trained.get("sources", [trained] if trained else [])
    for number, part in enumerate(parts_of(source)):
        for of in of_data_sets:
            if of["fingerprint"] == part.fingerprint() or Path(of["path"]) == part.root.resolve():
                seen |= {(number, index) for index in of["training"]}
                left_out |= {(number, entry["episode"]) for entry in of.get("left_out", ())}
    origins = {index: origin_of(source, index) for index in source.episode_indices}
    fresh = [index for index, origin in origins.items() if origin not in seen | left_out]
    return tuple(fresh), tuple(index for index, origin in origins.items() if origin in seen)


def _check_fits(source: EpisodeSource, features: Features, meta: CheckpointMeta) -> None:
    found = select_features(source.features, meta.policy)
    for kind in ("action_names", "state_names", "environment_names"):
        has, wants = getattr(found, kind), getattr(features, kind)
        if has != wants:
            raise DataError(
                f"'{source.root}' has {kind} ({', '.join(has) or 'none'}), but the policy was trained with "
                f"({', '.join(wants) or 'none'}); give data of the same robot with --data"
            )
    sizes = {camera.name: (camera.height, camera.width) for camera in found.cameras}
    for camera in features.cameras:
        if sizes.get(camera.name) != (camera.height, camera.width):
            raise DataError(
                f"'{source.root}': camera '{camera.name}' is {sizes.get(camera.name, 'missing')}, the policy was "
                f"trained with {(camera.height, camera.width)} pixels; give data of the same robot with --data"
            )
