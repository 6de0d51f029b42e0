"""The original ACT's checkpoints act with us as they do there, and none of their files runs anything."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.aloha_files import LENGTHS, vectors_of, write
from deploy.original_act import OriginalACT
from foreact import load_policy
from foreact.cli.main import run
from foreact.deploy import array_pickle
from foreact.deploy.array_pickle import read_arrays
from foreact.deploy.import_checkpoint import import_checkpoint
from foreact.deploy.unsaid import Unsaid
from foreact.errors import CheckpointError, ConfigError

SIZE = (64, 96)
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])


def statistics(rng: np.random.Generator, state: int, action: int, *, widened: bool = False) -> dict[str, np.ndarray]:
    """As `get_norm_stats` leaves them; ACT++ adds the action's range."""
    stats = {}
    for name, dim in (("qpos", state), ("action", action)):
        stats[f"{name}_mean"] = rng.normal(size=dim).astype(np.float32)
        stats[f"{name}_std"] = rng.uniform(0.01, 1, dim).astype(np.float32)
    if widened:
        stats |= {"action_min": stats["action_mean"] - 2, "action_max": stats["action_mean"] + 2}
    return {**stats, "example_qpos": rng.normal(size=(5, state)).astype(np.float32)}


def checkpoint(folder: Path, stats: dict[str, Any], **options: Any) -> OriginalACT:
    torch.manual_seed(0)
    network = OriginalACT(**options).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.8, 1.2)
            elif "norm" in name or "bn" in name or name.endswith("bias"):
                value.add_(0.02 * torch.randn_like(value))
    torch.save({f"model.{name}": value for name, value in network.state_dict().items()}, folder / "policy_best.ckpt")
    (folder / "dataset_stats.pkl").write_bytes(pickle.dumps(stats))
    return network


VARIANTS: dict[str, dict[str, Any]] = {
    "one camera": {"cameras": 1},
    "three cameras, one backbone": {"cameras": 3},
    "four cameras of ACT++": {"cameras": 4, "shared": False, "action": 16},
    "two cameras, one backbone": {"cameras": 2},
    "two cameras of ACT++": {"cameras": 2, "shared": False, "action": 16},
    "pre-norm": {"cameras": 1, "pre_norm": True},
    "dilated ResNet-50": {"cameras": 1, "bottlenecks": True, "dilation": True},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_an_imported_policy_gives_the_original_chunk(name: str, tmp_path: Path) -> None:
    options = VARIANTS[name]
    rng = np.random.default_rng(1)
    n_actions = options.get("action", 14)
    stats = statistics(rng, 14, n_actions, widened=n_actions == 16)
    network = checkpoint(tmp_path, stats, **options)
    cameras = {2: ("left", "right"), 3: ("a", "b", "c")}.get(options["cameras"], ())
    known = Unsaid(image_size=SIZE, n_heads=4, cameras=cameras, dilation=options.get("dilation", False))
    foreign = import_checkpoint(str(tmp_path), tmp_path / "ours", known)
    assert foreign.policy.shared_backbone == options.get("shared", True)
    policy = load_policy(tmp_path / "ours")
    names = [camera.name for camera in policy.features.cameras]
    pictures = {camera: rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for camera in names}
    state = rng.normal(size=14).astype(np.float32)
    scaled = np.stack([(pictures[camera] / 255 - IMAGENET_MEAN) / IMAGENET_STD for camera in names])
    images = torch.from_numpy(scaled).float().permute(0, 3, 1, 2)[None]
    qpos = torch.from_numpy((state - stats["qpos_mean"]) / stats["qpos_std"])[None]
    with torch.inference_mode():
        expected = network(qpos, images)[0].numpy() * stats["action_std"] + stats["action_mean"]
    raw = {"observation.state": state, **{f"observation.images.{camera}": of for camera, of in pictures.items()}}
    assert np.abs(policy.predict_chunk(raw) - expected).max() < 1e-5


def test_what_the_files_do_not_say_is_the_original_codes(tmp_path: Path) -> None:
    checkpoint(tmp_path, statistics(np.random.default_rng(1), 14, 14), cameras=1)
    known = Unsaid(n_heads=4, image_size=SIZE)
    foreign = import_checkpoint(str(tmp_path / "policy_best.ckpt"), tmp_path / "ours", known)
    assert [camera.name for camera in foreign.features.cameras] == ["top"]
    assert foreign.features.fps == 50
    assert foreign.features.action_names[0] == "left_waist"
    assert (foreign.policy.n_action_steps, foreign.policy.temporal_ensemble_coeff) == (6, None)
    names = tuple("abcdefghijklmn")
    known = Unsaid(n_heads=4, image_size=SIZE, fps=25.0, temporal_ensemble_coeff=0.01, action_names=names)
    foreign = import_checkpoint(str(tmp_path), tmp_path / "second", known)
    assert foreign.features.fps == 25
    assert foreign.features.action_names == names
    assert (foreign.policy.n_action_steps, foreign.policy.temporal_ensemble_coeff) == (1, 0.01)


def test_cameras_that_are_not_named_and_wrong_names_are_asked_for(tmp_path: Path) -> None:
    checkpoint(tmp_path, statistics(np.random.default_rng(1), 14, 14), cameras=2, shared=False)
    with pytest.raises(ConfigError, match="2 cameras; name them"):
        import_checkpoint(str(tmp_path), tmp_path / "ours", Unsaid())
    with pytest.raises(ConfigError, match="--action-names has 1 names"):
        import_checkpoint(str(tmp_path), tmp_path / "ours", Unsaid(cameras=("a", "b"), action_names=("x",)))
    assert not (tmp_path / "ours").exists()


def test_its_own_episodes_teach_it_limits_and_an_alarm_of_which_its_files_say_nothing(tmp_path: Path) -> None:
    checkpoint(tmp_path, statistics(np.random.default_rng(1), 14, 14), cameras=1)
    imported(tmp_path)
    free = load_policy(tmp_path / "ours").executor_settings
    assert set(free.limits.upper + free.limits.velocity) == {None}
    assert set(free.alarm.state) == {None}
    data = write(tmp_path / "data")
    import_checkpoint(str(tmp_path), tmp_path / "guarded", Unsaid(n_heads=4, image_size=SIZE, data=data))
    guarded = load_policy(tmp_path / "guarded").executor_settings
    actions = [vectors_of(number, length)["action"].astype("f4") for number, length in LENGTHS.items()]
    fastest = [np.abs(np.diff(of.astype("f8"), axis=0)).max(axis=0) for of in actions]
    expected = 2 * 50 * np.quantile(fastest, 0.99, axis=0)
    np.testing.assert_allclose(np.array(guarded.limits.velocity, float), expected, rtol=1e-6)
    assert (np.array(guarded.limits.upper, float) >= np.concatenate(actions).max(axis=0)).all()
    assert None not in guarded.alarm.state


class Malicious:
    """Runs a command when a careless reader unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", ["dataset_stats.pkl", "policy_best.ckpt"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stats: dict[str, Any] = statistics(np.random.default_rng(1), 14, 14)
    checkpoint(tmp_path, stats, cameras=1)
    bomb = {**stats, "action_mean": Malicious(tmp_path / "ran")}
    if name == "dataset_stats.pkl":
        (tmp_path / name).write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, tmp_path / name)
    assert run(["import", str(tmp_path), str(tmp_path / "ours"), "--n-heads", "4"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert name in said
    assert "nothing in it was run" in said
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "ours").exists()
    if name == "dataset_stats.pkl":  # the trap is a real one
        pickle.loads((tmp_path / name).read_bytes())
        assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_kind_and_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    arrays = {
        "float": np.linspace(0, 1, 7, dtype=np.float32),
        "big end first": np.arange(4, dtype=">f8"),
        "columns first": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "scalar": np.float64(1.5),
        "plain": 3,
        "empty": np.zeros((0, 2)),
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol=protocol))
    read = read_arrays(tmp_path / "a.pkl")
    for name, value in arrays.items():
        np.testing.assert_array_equal(read[name], value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.array([object()])}, "type 'O8'"),
        ({"a": "text"}, "not an array of numbers"),
        ([1, 2], "it holds a list"),
        ({"a": np.dtype("f4")}, "not an array of numbers"),
        ({"a": Path("/")}, "asks for 'pathlib"),
    ],
    ids=["objects", "text", "list", "type", "class"],
)
def test_other_pickles_are_refused_in_one_line(content: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_arrays(tmp_path / "a.pkl")
    assert "\n" not in str(caught.value)


def memo_bomb() -> bytes:
    """An empty dictionary with the number 2**27: two gigabytes of numbers for the reader in C."""
    return b"\x80\x02}r" + struct.pack("<I", 2**27) + b"."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": [[1], [1, 2]]}), "'a', which is not an array"),
        (pickle.dumps({1: np.zeros(2)}), "calls something 1"),
        (b"\x80\x02}X\x01\x00\x00\x00a" + ARRAY + b")\x81s.", "not read"),
    ],
    ids=["lists", "numbered", "array without its parts"],
)
def test_crafted_pickles_are_refused_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_arrays(tmp_path / "a.pkl")


def test_a_few_bytes_reserve_no_gigabytes(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(memo_bomb())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_arrays(tmp_path / "a.pkl") == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_pickle_changes_nothing_of_the_reader(tmp_path: Path) -> None:
    scalar = b"\x80\x02}X\x01\x00\x00\x00acnumpy.core.multiarray\nscalar\nN}X\x03\x00\x00\x00fooK\x05s\x86bs."
    (tmp_path / "a.pkl").write_bytes(scalar)
    with pytest.raises(CheckpointError, match="not an array"):
        read_arrays(tmp_path / "a.pkl")
    assert not any(hasattr(of, "foo") for of in array_pickle._KNOWN.values())


def test_a_cut_off_file_and_one_that_is_no_act_are_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path, statistics(np.random.default_rng(1), 14, 14), cameras=1)
    whole = (tmp_path / "dataset_stats.pkl").read_bytes()
    (tmp_path / "dataset_stats.pkl").write_bytes(whole[:-20])
    with pytest.raises(CheckpointError, match="dataset_stats"):
        import_checkpoint(str(tmp_path), tmp_path / "ours", Unsaid(n_heads=4))
    torch.save({"weight": torch.zeros(3)}, tmp_path / "policy_best.ckpt")
    with pytest.raises(CheckpointError, match="not an ACT checkpoint: it lacks 'query_embed"):
        import_checkpoint(str(tmp_path), tmp_path / "ours", Unsaid())


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = torch.load(path, weights_only=True)
    change(weights)
    torch.save(weights, path)


def imported(folder: Path, **known: Any) -> None:
    import_checkpoint(str(folder), folder / "ours", Unsaid(n_heads=4, image_size=SIZE, **known))


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.pop("model.transformer.encoder.layers.0.linear1.bias"),
        lambda w: w.update({"model.query_embed.weight": torch.zeros(3)}),
        lambda w: w.update({"model.extra": torch.zeros(3)}),
        lambda w: w.update({"model.action_head.bias": torch.zeros(14).to_sparse()}),
        lambda w: w.update({"model.query_embed.weight": torch.zeros(1, 1).expand(10**10, 32)}),
        lambda w: w.update({"model.query_embed.weight": torch.zeros(7, 40)}),
    ],
    ids=["lost", "flat", "superfluous", "sparse", "one number for billions", "another width"],
)
def test_weights_that_are_no_act_are_refused_in_one_line_that_names_their_file(
    change: Callable[[Any], None], tmp_path: Path
) -> None:
    checkpoint(tmp_path, statistics(np.random.default_rng(1), 14, 14), cameras=1)
    rewrite(tmp_path / "policy_best.ckpt", change)
    with pytest.raises(CheckpointError, match=r"policy_best\.ckpt'") as caught:
        imported(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_a_file_that_would_unpack_to_more_than_it_is_large_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path, statistics(np.random.default_rng(1), 14, 14), cameras=1)
    path = tmp_path / "policy_best.ckpt"
    with zipfile.ZipFile(path) as file:
        entries = {of.filename: file.read(of) for of in file.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content if name.endswith("pkl") else bytes(len(content)))
    with pytest.raises(CheckpointError, match="holds more than it is large"):
        imported(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qpos_std": None}, "'qpos_std'"),
        ({"qpos_std": np.ones(3)}, "'std' of 'qpos' .* 3 numbers, expected 14"),
        ({"action_mean": np.full(14, np.nan)}, "not finite"),
    ],
    ids=["lost", "short", "not a number"],
)
def test_statistics_that_do_not_fit_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    stats = {**statistics(np.random.default_rng(1), 14, 14), **change}
    checkpoint(tmp_path, {name: of for name, of in stats.items() if of is not None}, cameras=1)
    with pytest.raises(CheckpointError, match=message):
        imported(tmp_path)


def test_statistics_that_are_elsewhere_are_asked_for_and_read(tmp_path: Path) -> None:
    checkpoint(tmp_path, statistics(np.random.default_rng(1), 14, 14), cameras=1)
    moved = (tmp_path / "dataset_stats.pkl").rename(tmp_path / "other.pkl")
    with pytest.raises(CheckpointError, match="give it with --stats"):
        imported(tmp_path)
    imported(tmp_path, stats=moved)
    assert load_policy(tmp_path / "ours").features.action_dim == 14


def test_cameras_with_one_name_and_pictures_without_pixels_are_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path, statistics(np.random.default_rng(1), 14, 14), cameras=2)
    with pytest.raises(ConfigError, match="twice in the cameras: a, a"):
        imported(tmp_path, cameras=("a", "a"))
    with pytest.raises(ConfigError, match="--image-size is 0 640"):
        import_checkpoint(str(tmp_path), tmp_path / "ours", Unsaid(cameras=("a", "b"), image_size=(0, 640)))
