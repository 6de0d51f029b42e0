"""Every option of a policy and of its training: frozen dataclasses with their checks.

One typed schema is the configuration file, the command line (tyro) and its documentation. The names are
LeRobot's and the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from foreact.errors import ConfigError, unknown_name

Normalization = Literal["mean_std", "min_max", "quantile", "identity"]
Backbone = Literal["resnet18", "resnet34", "resnet50", "vit_base", "dinov2_small", "cnn"]
BackboneNorm = Literal["frozen", "batch", "group"]
Reduction = Literal["valid", "padded_mean"]
Latent = Literal["zero", "prior"]
Schedule = Literal["constant", "cosine"]
Conditioning = Literal["token", "auxiliary", "contrastive", "crop", "film", "strong", "heatmap", "world", "frame"]
Sampling = Literal["uniform", "balanced", "paired"]
JpegColours = Literal["opencv", "standard"]
BaseAction = Literal["smoothed", "recorded", "none"]
OnAlarm = Literal["off", "warn", "hold", "stop"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The network, its inputs and how its chunks are executed (reference: ACT.md 1 to 7)."""

    chunk_size: int = 100
    """Actions predicted per query (T)."""
    n_action_steps: int = 100
    """Actions executed before the next query; 1 with temporal ensembling."""
    temporal_ensemble_coeff: float | None = None
    """The paper's m in w_i = exp(-m i), i = 0 the oldest prediction; None executes a queue instead."""
    asynchronous: bool = False
    """Compute the next chunk while the present one is executed (docs/executor.md): it is asked for early enough to take
    over after `n_action_steps`, going by measured latencies, and its actions that come too late are dropped."""
    blend_steps: int | None = None
    """Ticks over which a queue goes over from one chunk to the next; None takes half of `chunk_size` where
    `asynchronous`, else 0."""
    limit_margin: float | None = 0.5
    """Actions are limited to the positions, velocities and jumps of the training data, widened by this share of their
    range on either side; None limits only what is declared next."""
    position_limits: tuple[tuple[float, float], ...] | None = None
    """Declared (lower, upper) a dimension of the action, instead of the data's."""
    velocity_limits: tuple[float, ...] | None = None
    """Declared largest velocity [unit/s] a dimension of the action, instead of the data's."""
    jump_limits: tuple[float, ...] | None = None
    """Declared largest growth of the velocity from one tick to the next [unit/s], instead of the data's."""
    on_alarm: OnAlarm = "warn"
    """Where an observation is far outside of the training data: `warn` in the log, `hold` the arm until it is back,
    `stop` with an error, or `off`."""
    alarm_margin: float = 0.5
    """How far outside, as a share of the range in the training data."""

    use_state: bool = True
    """Feed proprioception; False leaves its token out, in the CVAE encoder too."""
    use_environment_state: bool = True
    """Use the coordinates; False gives the uncued control."""
    conditioning: tuple[Conditioning, ...] = ("token",)
    """How the coordinates reach the network, alone or combined (docs/conditioning.md): `token` (one token of the
    encoder), `strong` (several wide tokens, in every layer and on every cell), `film` (scales and shifts the backbone),
    `crop` (pictures cut out around the cue), `heatmap` (the cue as a channel of the pictures), `world` (cells know
    which point of the table they show), `frame` (hand relative to the cue in, displacements of the hand out),
    `auxiliary` (the coordinates are to be recovered from the tokens), `contrastive` (another cue, another chunk)."""
    auxiliary_from: Literal["image", "decoder", "cue_token"] = "image"
    """What the coordinates are recovered from; `cue_token` is satisfied for free and is there to show it, and so is
    `image` with `strong`."""
    auxiliary_weight: float = 0.1
    contrastive_weight: float = 0.1
    contrastive_margin: float = 0.5
    """Mean distance between the chunks of two cues, in normalised actions, from which nothing is lost."""
    cue_crop: float = 128 / 480
    """Side of the square crop around the cue, as a share of the picture's height."""
    cue_crop_cameras: tuple[str, ...] | None = None
    """Cameras that are cropped around the cue; None takes all calibrated ones, but those on the hand only where their
    full picture stays beside it: alone, a crop of theirs shows nothing but grey while the block is far."""
    cue_crop_full: tuple[str, ...] | None = ()
    """Cameras whose full picture stays beside its crop; None is all of them."""
    cue_crop_full_scale: float = 1.0
    """How large that full picture is, as a share of its size: the crop shows the detail, the picture the rest."""
    cue_crop_full_when: Literal["always", "closed"] = "always"
    """When it is shown: with `frame`, `closed` hides it (mean grey) while the jaws are open, so that nothing but the
    crop guides the approach, and what stands elsewhere, such as a bowl that nobody tells, is seen once they close."""
    cue_map_sigma: float = 0.03
    """Width of the heat map's Gaussian, as a share of the picture's height."""
    strong_bands: int = 6
    """Octaves of the Fourier features of the coordinates."""
    strong_tokens: int = 4
    cameras: tuple[str, ...] | None = None
    """Cameras to use, in this order; None takes all that the data has; an empty tuple gives the blind control."""
    use_depth: bool = True
    """Use the depth of RGB-D cameras as a fourth channel; colour cameras are not concerned."""
    image_size: tuple[int, int] | None = None
    """Height and width that pictures are resized to before caching, training and inference; None keeps the data's."""
    crop_size: tuple[int, int] | None = None
    """Height and width of a random crop in training and of the centre crop at inference; None crops nothing."""

    vision_backbone: Backbone = "resnet18"
    """A torchvision ResNet, timm's ViT-B/16 or DINOv2 ViT-S/14, whose patches are the cells, or `cnn`, a small network
    for training on a CPU."""
    pretrained_backbone_weights: str | None = "imagenet"
    """`imagenet` (downloaded once; random with a warning where it cannot be), a file's path, or None for random."""
    backbone_norm: BackboneNorm = "frozen"
    """Batch norm with fixed statistics (DETR, ACT), trained batch norm, or group norm."""
    backbone_dilation: bool = False
    """Dilate the last stage's convolutions instead of halving its map once more (DETR's DC5, LeRobot's
    `replace_final_stride_with_dilation`): cells are 16 pixels apart, not 32; `resnet50` only."""
    shared_backbone: bool = True
    """One backbone for all cameras; False makes one a camera."""
    camera_embedding: bool = True
    """Add a learned vector a camera to its tokens; no public implementation does, the parity presets neither."""

    dim_model: int = 512
    """Width of every token (D)."""
    n_heads: int = 8
    dim_feedforward: int = 3200
    feedforward_activation: Literal["relu", "gelu"] = "relu"
    n_encoder_layers: int = 4
    n_decoder_layers: int = 1
    """The paper's 7 were built but only the first was used; 1 reproduces its numbers. Ours takes the last."""
    pre_norm: bool = False
    dropout: float = 0.1

    use_vae: bool = True
    latent_dim: int = 32
    n_vae_encoder_layers: int = 4
    kl_weight: float = 10.0
    latent: Latent = "zero"
    """At inference: the prior's mode, or a sample of it to look at the policy's modes."""
    reduction: Reduction = "valid"
    """Denominator of L1: real entries (LeRobot 0.6), or all of them (original code, il_lib, LeRobot up to 0.3)."""

    state_normalization: Normalization = "mean_std"
    environment_normalization: Normalization = "mean_std"
    action_normalization: Normalization = "mean_std"
    state_ranges: tuple[tuple[float, float], ...] | None = None
    """Declared (lower, upper) a dimension for `min_max`, instead of the data's."""
    action_ranges: tuple[tuple[float, float], ...] | None = None
    """Declared (lower, upper) a dimension for `min_max`, instead of the data's."""
    narrowest: float = 1e-4
    """A dimension whose statistics vary less than this (0.1 mm, 0.006 degrees) counts as constant and is shifted, not
    scaled. 0, for imported policies, scales all: LeRobot divides by std + 1e-8, and so makes 1e5 of a movement of 1e-3
    at inference; the original code clips std at 1e-2, which also flattens real movements of slow joints."""
    binary_actions: tuple[str, ...] = ()
    """Names of action dimensions (or groups) that leave as +1 where positive, else -1: BEHAVIOR-1K's grippers."""
    binary_state: tuple[str, ...] = ()
    """Names of state dimensions (or groups) that the network sees as +1 above the threshold, else as -1, whatever
    their range: BEHAVIOR-1K's grippers."""
    binary_state_threshold: float = 0.0
    """In the state's unit."""

    state_keys: tuple[str, ...] = ()
    """Groups of a nested observation that make up the state, in order (`qpos/torso`); empty: one vector."""
    action_keys: tuple[str, ...] = ()
    """Groups of a nested action, in order (`left_arm`); empty: one vector."""
    key_dims: tuple[int, ...] = ()
    """Sizes of `state_keys`, then of `action_keys`."""
    downsample_factor: int = 1
    """Use every n-th frame: 3 takes BEHAVIOR-1K from 30 Hz to 10 Hz."""

    def __post_init__(self) -> None:
        _freeze_lists(self)
        _check_choices(self)
        for name in ("chunk_size", "n_action_steps", "dim_model", "n_heads", "dim_feedforward", "latent_dim"):
            _require(getattr(self, name) >= 1, f"policy.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("n_encoder_layers", "n_decoder_layers", "n_vae_encoder_layers", "downsample_factor"):
            _require(getattr(self, name) >= 1, f"policy.{name} is {getattr(self, name)}; it must be at least 1")
        _require(
            self.n_action_steps <= self.chunk_size,
            f"policy.n_action_steps is {self.n_action_steps}, more than policy.chunk_size {self.chunk_size}: "
            "a chunk has no more actions than that",
        )
        _require(
            self.temporal_ensemble_coeff is None or self.n_action_steps == 1,
            "policy.temporal_ensemble_coeff needs a query each tick: policy.n_action_steps 1, "
            f"not {self.n_action_steps}",
        )
        _require(
            self.blend_steps is None or self.blend_steps >= 0,
            f"policy.blend_steps is {self.blend_steps}; it must not be negative",
        )
        _require(
            self.blend_steps is None or self.blend_steps < self.chunk_size,
            f"policy.blend_steps is {self.blend_steps}; it must be at most {self.chunk_size - 1}, one less than "
            "policy.chunk_size, or no chunk ever takes over from the one before",
        )
        for name in ("limit_margin", "alarm_margin"):
            _require(
                getattr(self, name) is None or getattr(self, name) >= 0,
                f"policy.{name} is {getattr(self, name)}; it must not be negative",
            )
        for low, high in self.position_limits or ():
            _require(low <= high, f"policy.position_limits has ({low:g}, {high:g}): the lower limit is the higher one")
        for name in ("velocity_limits", "jump_limits"):
            for value in getattr(self, name) or ():
                _require(value > 0, f"policy.{name} has a {value:g}; they must be positive, infinite for none")
        _require(
            self.dim_model % self.n_heads == 0,
            f"policy.dim_model {self.dim_model} cannot be divided among policy.n_heads {self.n_heads}",
        )
        _require(
            self.dim_model % 4 == 0,
            f"policy.dim_model is {self.dim_model}; the 2-D sinusoidal positions need a multiple of 4",
        )
        _require(
            not self.backbone_dilation or self.vision_backbone == "resnet50",
            f"policy.backbone_dilation is for resnet50, the only one whose blocks can be dilated, not "
            f"{self.vision_backbone}",
        )
        _require(self.narrowest >= 0, f"policy.narrowest is {self.narrowest}; it must not be negative")
        _require(0 <= self.dropout < 1, f"policy.dropout is {self.dropout}; it must be in [0, 1)")
        _require(self.kl_weight >= 0, f"policy.kl_weight is {self.kl_weight}; it must not be negative")
        for name in ("auxiliary_weight", "contrastive_weight", "contrastive_margin"):
            _require(getattr(self, name) >= 0, f"policy.{name} is {getattr(self, name)}; it must not be negative")
        _require(
            self.cue_crop_full_when == "always" or "frame" in self.conditioning,
            "policy.cue_crop_full_when closed needs the conditioning 'frame', which knows when the jaws are closed",
        )
        _require(
            self.cue_crop_full_scale == 1 or self.crop_size is None,
            "policy.cue_crop_full_scale knows no random crops: leave policy.crop_size out",
        )
        for name in ("cue_crop", "cue_crop_full_scale", "cue_map_sigma"):
            _require(0 < getattr(self, name) <= 1, f"policy.{name} is {getattr(self, name)}; it must be in (0, 1]")
        for name in ("strong_bands", "strong_tokens"):
            _require(getattr(self, name) >= 1, f"policy.{name} is {getattr(self, name)}; it must be at least 1")
        _require(
            len(set(self.conditioning)) == len(self.conditioning),
            f"policy.conditioning names a way twice: {', '.join(self.conditioning)}",
        )
        for name in ("image_size", "crop_size"):
            size = getattr(self, name)
            _require(size is None or min(size) >= 1, f"policy.{name} is {size}; it must be at least 1 pixel")
        for name in ("state", "action"):
            declared = getattr(self, f"{name}_ranges") is not None
            _require(
                not declared or getattr(self, f"{name}_normalization") == "min_max",
                f"policy.{name}_ranges is only used with policy.{name}_normalization min_max",
            )
        if self.image_size is not None and self.crop_size is not None:
            _require(
                self.crop_size[0] <= self.image_size[0] and self.crop_size[1] <= self.image_size[1],
                f"policy.crop_size {self.crop_size} is larger than policy.image_size {self.image_size}",
            )
        _require(
            len(self.key_dims) == len(self.state_keys) + len(self.action_keys),
            f"policy.key_dims has {len(self.key_dims)} sizes for {len(self.state_keys)} state keys and "
            f"{len(self.action_keys)} action keys",
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a policy is trained. The budget is counted in samples seen, so that more devices do not change it."""

    steps: int = 100_000
    """Optimiser steps."""
    batch_size: int = 8
    """Samples a device and optimiser sub-step."""
    accumulate: int = 1
    """Sub-steps whose gradients are added before an optimiser step."""
    lr: float = 1e-5
    lr_backbone: float = 1e-5
    lr_schedule: Schedule = "constant"
    warmup_steps: int = 0
    """Steps of linear warm-up from 0."""
    lr_min: float = 0.0
    """Where the cosine ends."""
    weight_decay: float = 1e-4
    """On matrices only: no decay on biases, norms and embeddings of one dimension."""
    layer_decay: float = 1.0
    """Factor on the learning rate for each transformer layer further from the output."""
    grad_clip: float = 10.0
    """Largest gradient norm; 0 clips nothing."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """16-mixed needs a GPU; bf16-mixed a GPU or a processor that multiplies bfloat16 itself (avx512_bf16, amx_bf16),
    for emulated it is slower. A saved policy computes in float32."""
    ema_decay: float | None = None
    """Decay of an exponential moving average of the weights, used for validation and inference; None for none."""
    compile: bool = False
    """Compile the training step with torch.compile."""

    val_fraction: float = 0.1
    """Share of the episodes held out, stratified by task and length, chosen by the seed."""
    val_every: int = 1000
    """Steps between validations (the same L1 with z = 0 and with the posterior z)."""
    save_every: int = 1000
    """Steps between checkpoints."""
    keep_last: int = 2
    """Checkpoints kept besides the best."""
    log_every: int = 50
    cue_noise: float = 0.0
    """Standard deviation [m] of Gaussian noise added to the coordinates of each training sample, so that a policy
    learns to look where exactly to go instead of trusting the cue."""
    sampling: Sampling = "uniform"
    """Order of the samples: every frame alike; `balanced`, so that all coordinates are seen equally often; or `paired`,
    the same moment of the same scene with each of its blocks as target side by side (`foreact record --paired`)."""
    source_weights: tuple[float, ...] = ()
    """Share of the samples that come from each data set of --data, in their order, for example 3 1; only with `uniform`
    sampling. Empty: every frame of all of them alike."""
    grad_share: bool = False
    """Log each input's share of the gradient as `grad_share/*` (train/gradient_share.py)."""
    stream: float | None = None
    """GB of disk for decoded frames where those of all episodes do not fit (foreact train --stream): a part of the
    episodes is decoded at a time, in the background, and each again every round. None decodes and keeps all of them."""
    num_workers: int = 0
    """Loader threads that read ahead; 0 reads in between, a millisecond a batch where the frame cache is in memory."""
    seed: int = 0
    """Of initialisation, split, data order and latent noise."""

    accelerator: str = "auto"
    """Passed to Lightning, like the next three."""
    devices: str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        _freeze_lists(self)
        _check_choices(self)
        counts = ("steps", "batch_size", "accumulate", "val_every", "save_every", "keep_last", "log_every", "num_nodes")
        for name in counts:
            _require(getattr(self, name) >= 1, f"train.{name} is {getattr(self, name)}; it must be at least 1")
        not_negative = ("lr", "lr_backbone", "lr_min", "weight_decay", "grad_clip", "warmup_steps", "num_workers")
        for name in (*not_negative, "cue_noise"):
            _require(getattr(self, name) >= 0, f"train.{name} is {getattr(self, name)}; it must not be negative")
        for weight in self.source_weights:
            _require(
                0 < weight < float("inf"),
                f"train.source_weights has a {weight:g}; leave a data set out of --data instead",
            )
        _require(
            not self.source_weights or self.sampling == "uniform",
            f"train.source_weights needs train.sampling uniform, not {self.sampling}",
        )
        _require(
            self.stream is None or 0 < self.stream < float("inf"),
            f"train.stream is {self.stream} GB; it must be positive",
        )
        _require(
            self.stream is None or self.num_workers == 0,
            f"train.stream reads in the training thread: leave train.num_workers at 0, not {self.num_workers}",
        )
        _require(0 <= self.val_fraction < 1, f"train.val_fraction is {self.val_fraction}; it must be in [0, 1)")
        _require(0 < self.layer_decay <= 1, f"train.layer_decay is {self.layer_decay}; it must be in (0, 1]")
        _require(
            self.ema_decay is None or 0 < self.ema_decay < 1,
            f"train.ema_decay is {self.ema_decay}; it must be in (0, 1)",
        )
        _require(
            self.warmup_steps < self.steps,
            f"train.warmup_steps {self.warmup_steps} is not below train.steps {self.steps}: it would never end",
        )


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """How a data set is read where its files leave that open; each option concerns the formats it names."""

    fps: float | None = None
    """ALOHA and robomimic: the recorded rate [Hz]. None takes what the file says, else 50 for ALOHA (whose files do not
    say it) and 20 for robomimic."""
    jpeg_colours: JpegColours = "opencv"
    """ALOHA with compressed pictures: `opencv` gives the channels that the recorder handed to OpenCV, as ACT++ reads
    them; `standard` those of the JPEG. Take the one with which skin is not blue."""
    action_lag: int | None = None
    """ALOHA: how many frames later than it was recorded an action is used: 1 for real robots, 0 in simulation, as in
    ACT. None goes by the files' attribute `sim`, which means a real robot where it is missing."""
    base_action: BaseAction = "smoothed"
    """Mobile ALOHA: the base's two velocities after the arms' actions, as the mean of 5 frames (ACT++), as recorded, or
    not at all."""
    low_dim_keys: tuple[str, ...] = ()
    """robomimic: observations that make up the state, in order; empty takes the pose of each robot's hand and its
    gripper."""
    environment_keys: tuple[str, ...] = ()
    """robomimic: observations that make up the coordinates, for example `object`."""

    def __post_init__(self) -> None:
        _freeze_lists(self)
        _check_choices(self)
        _require(self.fps is None or 0 < self.fps < float("inf"), f"source.fps is {self.fps}; it must be positive")
        _require(
            self.action_lag is None or self.action_lag >= 0,
            f"source.action_lag is {self.action_lag}; it must not be negative",
        )
        for name in ("low_dim_keys", "environment_keys"):
            names = getattr(self, name)
            _require(len(set(names)) == len(names), f"source.{name} has a name twice: {', '.join(names)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A recipe: a policy, its training, and how its data are read."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    source: SourceConfig = field(default_factory=SourceConfig)


def _freeze_lists(config: PolicyConfig | TrainConfig | SourceConfig) -> None:
    """Turn lists into tuples: JSON, YAML and Hydra know lists only."""
    for item in fields(config):
        if isinstance(value := getattr(config, item.name), list | tuple):
            object.__setattr__(config, item.name, _tuples(value))


def to_dict(config: PolicyConfig | TrainConfig | SourceConfig | RunConfig) -> dict[str, Any]:
    """Return a configuration as plain values for JSON."""
    return asdict(config)


def policy_config_from_dict(values: Mapping[str, Any]) -> PolicyConfig:
    """Build a policy configuration from plain values, for example from a checkpoint's JSON.

    Raises:
        ConfigError: If a key is unknown or a value is not allowed.
    """
    return _from_dict(PolicyConfig, values)


def train_config_from_dict(values: Mapping[str, Any]) -> TrainConfig:
    """Build a training configuration from plain values; raises like `policy_config_from_dict`."""
    return _from_dict(TrainConfig, values)


def source_config_from_dict(values: Mapping[str, Any]) -> SourceConfig:
    """Build a `SourceConfig` from plain values; raises like `policy_config_from_dict`."""
    return _from_dict(SourceConfig, values)


ConfigT = TypeVar("ConfigT", PolicyConfig, TrainConfig, SourceConfig)


def _from_dict(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    known = {item.name for item in fields(cls)}
    for name in values:
        if name not in known:
            raise ConfigError(unknown_name(f"{cls.__name__} key", name, known))
    return cls(**values)


def _check_choices(config: PolicyConfig | TrainConfig | SourceConfig) -> None:
    """Refuse a value that is not among an option's choices, wherever it comes from: JSON, Hydra or code."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ConfigError(unknown_name(f"value of {name}", str(value), get_args(hint)))
    if isinstance(config, PolicyConfig):
        for way in config.conditioning:
            if way not in get_args(Conditioning):
                raise ConfigError(unknown_name("policy.conditioning", str(way), get_args(Conditioning)))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
