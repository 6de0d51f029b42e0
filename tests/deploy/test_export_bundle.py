"""The bundle: it acts as the policy it was made of, and is refused where it is not what it says."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import foreact_runtime
from foreact import load_policy
from foreact.cli.export import ExportOptions, _in_simulation
from foreact.cli.main import run
from foreact.deploy.export_bundle import Format, check_error, export_bundle
from foreact.deploy.export_onnx import write_onnx
from foreact.deploy.load import trained_on
from foreact.deploy.real_frames import real_observations
from foreact.errors import CheckpointError, ConfigError, DataError, ObservationError
from foreact.policy.checkpoint import read_meta, save_policy
from foreact.policy.policy import Policy
from foreact_runtime.bundle import BUNDLE, CHECK, is_bundle, read_bundle
from foreact_runtime.manifest import sha256
from foreact_runtime.policy import BundlePolicy
from made_policy import small_policy
from tiny import TINY
from untrained import save_untrained


@pytest.fixture(scope="session")
def checkpoint(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("policy") / "run"
    save_policy(path, small_policy(), step=7, provenance={"data": {"path": str(dataset)}})
    return path


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "onnx"
    export_bundle(checkpoint, path)
    return path


def observations(checkpoint: Path, count: int = 8) -> list[dict[str, Any]]:
    return real_observations(read_meta(checkpoint), None, count)


def test_it_acts_as_the_original_through_its_executor(checkpoint: Path, bundle: Path) -> None:
    original, exported = load_policy(checkpoint), load_policy(bundle)
    assert isinstance(exported, BundlePolicy)
    for observation in observations(checkpoint):
        np.testing.assert_allclose(exported.act(observation), original.act(observation), atol=1e-5)
    together = exported.predict_chunks(observations(checkpoint, 3))
    np.testing.assert_allclose(together, original.predict_chunks(observations(checkpoint, 3)), atol=1e-5)


def test_it_says_what_it_is_and_where_it_comes_from(checkpoint: Path, bundle: Path, dataset: Path) -> None:
    found, original = read_bundle(bundle), load_policy(checkpoint)
    assert is_bundle(bundle)
    assert not is_bundle(checkpoint)
    assert found.features == original.features
    assert found.settings == original.executor_settings
    assert found.inputs[0] == "observation.state"
    assert found.provenance["step"] == 7
    assert found.provenance["largest_error"] <= found.tolerance == 1e-4
    assert trained_on(bundle) == trained_on(checkpoint) == (dataset,)
    assert {file.name for file in bundle.iterdir()} == {BUNDLE, CHECK, "network.onnx", "network.bin", "manifest.json"}


def test_its_self_check_knows_the_chunks_of_the_original(bundle: Path) -> None:
    assert foreact_runtime.load_policy(bundle, check=True).self_check() < 1e-5


def test_one_for_openvino_and_one_for_torch_act_alike(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    expected = load_policy(checkpoint).predict_chunk(observations(checkpoint)[0])
    formats: tuple[Format, ...] = ("openvino", "torch")
    for format in formats:
        export_bundle(checkpoint, tmp_path / format, format=format)
        found = load_policy(tmp_path / format).predict_chunk(observations(checkpoint)[0])
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert isinstance(load_policy(tmp_path / "torch"), Policy)
    by_openvino = foreact_runtime.load_policy(bundle, backend="openvino", threads=1)
    np.testing.assert_allclose(by_openvino.predict_chunk(observations(checkpoint)[0]), expected, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"is a bundle for torch: load it with foreact\.load_policy"):
        foreact_runtime.load_policy(tmp_path / "torch")
    with pytest.raises(ConfigError, match="format openvino, which only OpenVINO runs"):
        foreact_runtime.load_policy(tmp_path / "openvino", backend="onnxruntime")


def test_halves_are_smaller_and_their_error_is_told(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    exported = export_bundle(checkpoint, tmp_path / "half", precision="fp16")
    assert 1e-6 < exported.largest < 0.02
    ratio = (tmp_path / "half" / "network.bin").stat().st_size / (bundle / "network.bin").stat().st_size
    assert ratio < 0.6
    foreact_runtime.load_policy(tmp_path / "half", check=True)


@pytest.mark.slow
def test_integers_are_near_the_original_and_their_error_is_told(checkpoint: Path, tmp_path: Path) -> None:
    exported = export_bundle(checkpoint, tmp_path / "int8", precision="int8")
    assert 1e-5 < exported.mean < 0.1
    foreact_runtime.load_policy(tmp_path / "int8", check=True)


def test_a_copy_for_another_process_acts_alike(checkpoint: Path, bundle: Path) -> None:
    policy = foreact_runtime.load_policy(bundle, overrides={"n_action_steps": 2})
    copy = pickle.loads(pickle.dumps(policy))
    assert copy.executor_settings.n_action_steps == 2
    observation = observations(checkpoint)[0]
    np.testing.assert_allclose(copy.predict_chunk(observation), policy.predict_chunk(observation), atol=1e-6)


def test_pictures_of_another_size_are_resized_only_on_request(checkpoint: Path, bundle: Path) -> None:
    large = {
        **observations(checkpoint)[0],
        "observation.images.wrist": np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8),
    }
    original = load_policy(checkpoint, resize_images=True).predict_chunk(large)
    np.testing.assert_allclose(load_policy(bundle, resize_images=True).predict_chunk(large), original, atol=1e-5)
    with pytest.raises(ObservationError, match="pass resize_images=True"):
        load_policy(bundle).predict_chunk(large)


def test_the_executor_can_be_changed_the_network_cannot(bundle: Path) -> None:
    policy = load_policy(bundle, overrides={"n_action_steps": 1, "temporal_ensemble_coeff": 0.1, "latent": "zero"})
    assert isinstance(policy, BundlePolicy)
    assert policy.executor_settings.temporal_ensemble_coeff == 0.1
    for overrides, message in (
        ({"chunk_size": 3}, "'chunk_size' cannot be changed in a bundle"),
        ({"n_action_steps": 9}, "n_action_steps is 9; it must be 1 to 6"),
        ({"temporal_ensemble_coeff": 0.1}, "needs n_action_steps 1"),
        ({"latent": "prior"}, "takes the latent's mode"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_policy(bundle, overrides=overrides)
    with pytest.raises(ConfigError, match="computes on the CPU, not on 'cuda'"):
        load_policy(bundle, device="cuda")
    with pytest.raises(ConfigError, match="unknown backend 'openvno'; did you mean 'openvino'"):
        foreact_runtime.load_policy(bundle, backend="openvno")


def _flip(folder: Path) -> None:
    file = folder / "network.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _newer(folder: Path) -> None:
    content = {**json.loads((folder / BUNDLE).read_text()), "schema_version": 2}
    (folder / BUNDLE).write_text(json.dumps(content))
    _signed(folder, BUNDLE)


def _other_chunks(folder: Path) -> None:
    with np.load(folder / CHECK) as arrays:
        changed = {key: arrays[key] + (0.01 if key == "chunk" else 0) for key in arrays.files}
    np.savez(folder / CHECK, **{key: of.astype(np.uint8) if "images" in key else of for key, of in changed.items()})
    _signed(folder, CHECK)


def _signed(folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _say(**content: Any) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        (folder / BUNDLE).write_text(json.dumps({**json.loads((folder / BUNDLE).read_text()), **content}))
        _signed(folder, BUNDLE)

    return harm


def _executor(kind: str, **content: Any) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        executor = json.loads((folder / BUNDLE).read_text())["executor"]
        _say(executor={**executor, kind: {**executor[kind], **content}})(folder)

    return harm


def _manifest(content: Any) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps(content))

    return harm


def _half_weights(folder: Path) -> None:
    weights = (folder / "network.bin").read_bytes()
    (folder / "network.bin").write_bytes(weights[: len(weights) // 2])
    _signed(folder, "network.bin")


def _no_chunks(folder: Path) -> None:
    with np.load(folder / CHECK) as arrays:
        content = {key: arrays[key][:0] for key in arrays.files}
    np.savez(folder / CHECK, **content)
    _signed(folder, CHECK)


def _empty_check(folder: Path) -> None:
    (folder / CHECK).write_bytes(b"")
    _signed(folder, CHECK)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_flip, "network.onnx' was altered or damaged"),
        (lambda folder: (folder / CHECK).unlink(), f"lacks '{CHECK}'; copy the whole directory again"),
        (lambda folder: (folder / "manifest.json").unlink(), "was not completely written"),
        (_newer, "has schema version 2, this foreact-runtime reads 1; install a newer foreact-runtime"),
        (_other_chunks, "predicts other chunks here than where it was exported"),
        (_manifest({"schema_version": 1}), "does not say the files' SHA-256"),
        (_manifest({"schema_version": 1, "sha256": {}}), f"does not name '{BUNDLE}'; copy the whole directory again"),
        (_say(features=[]), f"{BUNDLE}' is not what this foreact-runtime reads: TypeError"),
        (_say(tolerance=None), f"{BUNDLE}' is not what this foreact-runtime reads: TypeError"),
        (_say(scale=[1.0]), f"has chunks of another width than {BUNDLE}"),
        (_executor("limits", velocity=[0.5]), r"limits.velocity holds 1 values for 2 dimensions of the action"),
        (_executor("alarm", state=[None] * 5), r"alarm.state holds 5 values for 2 dimensions of the state"),
        (_say(format="tflite"), "unknown format 'tflite'; choices: onnx, openvino, torch"),
        (_say(inputs=["observation.state"]), "takes .*; the bundle says observation.state: export it again"),
        (_half_weights, r"onnxruntime .* cannot read '.*network\.onnx'"),
        (_no_chunks, "has not one chunk an observation; export again"),
        (_empty_check, f"cannot read '.*{CHECK}'"),
    ],
)
def test_a_damaged_or_newer_one_is_refused_in_one_line(
    bundle: Path, tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    shutil.copytree(bundle, tmp_path / "copy")
    harm(tmp_path / "copy")
    with pytest.raises(CheckpointError, match=message) as caught:
        foreact_runtime.load_policy(tmp_path / "copy", check=True)
    assert "\n" not in str(caught.value)


def test_what_is_no_bundle_is_told_apart(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such directory"):
        foreact_runtime.load_policy(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"is no bundle: it has no bundle.json; foreact export writes one"):
        foreact_runtime.load_policy(checkpoint)
    with pytest.raises(CheckpointError, match="is a bundle without the checkpoint's weights"):
        read_meta(bundle)


def test_pictures_of_another_size_are_the_same_to_the_original_and_the_bundle_of_a_policy_that_resizes(
    dataset: Path, tmp_path: Path
) -> None:
    """Both go by the recorded size first, even where a picture is already as small as training's."""
    save_untrained(dataset, tmp_path / "run", replace(TINY, image_size=(20, 24)))
    export_bundle(tmp_path / "run", tmp_path / "bundle", data=dataset)
    rng = np.random.default_rng(0)
    for size in ((20, 24), (50, 70)):
        pictures = {
            f"observation.images.{name}": rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            for name in ("overhead", "wrist")
        }
        seen = {**real_observations(read_meta(tmp_path / "run"), dataset, 1)[0], **pictures}
        expected = load_policy(tmp_path / "run", resize_images=True).predict_chunk(seen)
        found = load_policy(tmp_path / "bundle", resize_images=True).predict_chunk(seen)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_network_of_other_weights_is_refused_on_real_frames_and_nothing_is_left(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_another(policy: Policy, path: Path) -> None:
        with torch.no_grad():
            policy.predictor.network.action_head.bias.add_(3e-4)
        write_onnx(policy, path)

    monkeypatch.setattr("foreact.deploy.export_bundle.write_onnx", write_another)
    with pytest.raises(CheckpointError, match=r"differs from the original by 3.\de-04 .* so nothing was written"):
        export_bundle(checkpoint, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_the_policys_fault_not_the_exports(dataset: Path, tmp_path: Path) -> None:
    policy = small_policy()
    with torch.no_grad():
        policy.model.action_head.bias[0] = np.nan
    save_policy(tmp_path / "diverged", policy)
    with pytest.raises(CheckpointError, match="diverged' itself predicts what is not finite on real frames"):
        export_bundle(tmp_path / "diverged", tmp_path / "out", data=dataset)


def test_the_bundle_tells_nothing_of_the_machine_that_exported_it(bundle: Path) -> None:
    content = (bundle / "network.onnx").read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


def test_an_export_that_differs_is_refused_and_one_in_fewer_bits_is_not(bundle: Path) -> None:
    network = read_bundle(bundle)
    check_error(np.full((2, 6, 2), 0.9e-4), network)
    with pytest.raises(CheckpointError, match=r"differs from the original by 2.0e-04 of a normalised unit"):
        check_error(np.full((2, 6, 2), 2e-4), network)
    with pytest.raises(CheckpointError, match="not finite"):
        check_error(np.full((2, 6, 2), np.nan), network)


def test_what_cannot_be_exported_is_said_and_nothing_is_left(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="int8 is for --format onnx and openvino"):
        export_bundle(checkpoint, tmp_path / "b", format="torch", precision="int8")
    with pytest.raises(ConfigError, match="'prior' draws at random"):
        export_bundle(checkpoint, tmp_path / "b", overrides={"latent": "prior"})
    with pytest.raises(DataError, match="no data set at"):
        export_bundle(checkpoint, tmp_path / "b", data=tmp_path / "nothing")
    save_policy(tmp_path / "moved", small_policy(), provenance={"data": {"path": "/gone"}})
    with pytest.raises(DataError, match=r"the training data '/gone' are gone; give real frames with --data"):
        export_bundle(tmp_path / "moved", tmp_path / "b")
    with pytest.raises(CheckpointError, match="exists; choose another OUT"):
        export_bundle(checkpoint, tmp_path / "moved")
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


def test_the_command_says_how_far_the_bundle_is_from_the_original(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", str(checkpoint), str(tmp_path / "b"), "--format", "torch", "--precision", "fp16"]) == 0
    printed = capsys.readouterr().out
    assert "differs from the original by" in printed
    assert "on 16 frames of" in printed
    assert "CPUs compute in 32" in printed
    assert run(["export", str(checkpoint), str(tmp_path / "b"), "--format", "torch"]) == 1
    assert "exists; choose another OUT" in capsys.readouterr().err


def test_the_command_changes_how_the_bundle_is_executed_and_guarded(checkpoint: Path, tmp_path: Path) -> None:
    words = ["--format", "torch", "--asynchronous", "--on-alarm", "stop", "--no-limits", "--n-action-steps", "2"]
    assert run(["export", str(checkpoint), str(tmp_path / "b"), *words]) == 0
    expected = {"asynchronous": True, "on_alarm": "stop", "limit_margin": None, "n_action_steps": 2}
    settings = load_policy(checkpoint, overrides=expected).executor_settings
    assert read_bundle(tmp_path / "b").settings == load_policy(tmp_path / "b").executor_settings == settings
    assert settings.alarm.action == "stop"
    assert set(settings.limits.lower) == {None}


def test_a_bundle_that_is_loaded_is_changed_like_its_checkpoint(checkpoint: Path, bundle: Path) -> None:
    for overrides in (
        {"on_alarm": "hold"},
        {"limit_margin": 0.0},
        {"velocity_limits": [1.0, 2.0], "asynchronous": True},
    ):
        found, expected = (load_policy(path, overrides=overrides).executor_settings for path in (bundle, checkpoint))
        assert found == expected


def test_the_original_is_measured_as_the_bundle_is_executed(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(run=checkpoint, out=tmp_path / "b", task="L1", n_action_steps=2)
    original, task = _in_simulation(options, "L1", options.overrides())
    assert original.executor_settings.n_action_steps == 2
    assert task.cameras == ("overhead", "wrist")


def test_a_task_that_there_is_not_is_refused_before_anything_is_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", str(checkpoint), str(tmp_path / "b"), "--format", "torch", "--task", "L9"]) == 1
    assert "L9" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
