"""LeRobot's layout without LeRobot: what comes back, what is refused. That LeRobot agrees: tests_lerobot/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deploy.lerobot_files import FEATURES, observation, write_data, write_lerobot, write_ours
from foreact import load_policy
from foreact.cli.main import run
from foreact.deploy.export_bundle import export_bundle
from foreact.deploy.import_checkpoint import import_checkpoint
from foreact.deploy.lerobot_export import export_lerobot
from foreact.deploy.unsaid import Unsaid
from foreact.errors import CheckpointError, ConfigError
from foreact.policy.checkpoint import read_meta
from foreact.records import Camera, KeyGroup

SAME = 1e-5


def test_what_is_exported_and_imported_again_acts_alike_and_takes_the_names_that_are_given(tmp_path: Path) -> None:
    ours, theirs, back = (tmp_path / name for name in ("ours", "theirs", "back"))
    write_ours(ours)
    export_lerobot(ours, theirs)
    names = ["--action-names", "a", "b", "--state-names", "a", "b", "c", "--environment-names", "x", "y"]
    assert run(["import", str(theirs), str(back), "--fps", "20", *names]) == 0
    assert read_meta(back).features == FEATURES
    expected = load_policy(ours).predict_chunk(observation())
    np.testing.assert_allclose(load_policy(back).predict_chunk(observation()), expected, rtol=0, atol=SAME)


def test_data_of_another_robot_are_refused_whatever_names_are_given(dataset: Path, tmp_path: Path) -> None:
    """The set has two joints, the policy a state of three."""
    theirs = write_lerobot(tmp_path / "theirs")
    with pytest.raises(ConfigError, match=r"2 names .* 3 dimensions"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid(data=dataset))
    with pytest.raises(ConfigError, match=r"'observation.state' has 2 dimensions in '.*' and 3 in the checkpoint"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid(data=dataset, state_names=("p", "q", "r")))
    assert not (tmp_path / "back").exists()


def test_a_checkpoint_without_cvae_encoder_becomes_one_without_vae(tmp_path: Path) -> None:
    export_lerobot(write_ours(tmp_path / "ours", drop_encoder=True), tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs/config.json").read_text())
    assert config["use_vae"] is False
    assert not any("vae" in name for name in load_file(tmp_path / "theirs/model.safetensors"))
    import_checkpoint(str(tmp_path / "theirs"), tmp_path / "back", Unsaid())
    expected = load_policy(tmp_path / "ours").predict_chunk(observation())
    np.testing.assert_allclose(load_policy(tmp_path / "back").predict_chunk(observation()), expected, atol=SAME)


CALIBRATED_STATE = (KeyGroup(key="qpos/a", dim=3),)


@pytest.mark.parametrize(
    ("changes", "features", "option"),
    [
        ({"conditioning": ("token", "strong")}, {}, "policy.conditioning strong"),
        ({"conditioning": ("film",)}, {}, "policy.conditioning film"),
        ({"camera_embedding": True}, {}, "policy.camera_embedding"),
        ({"vision_backbone": "cnn"}, {}, "policy.vision_backbone cnn"),
        ({"backbone_norm": "group"}, {}, "policy.backbone_norm group"),
        ({"shared_backbone": False}, {}, "policy.shared_backbone False"),
        ({"crop_size": (32, 32)}, {}, "policy.crop_size"),
        ({"binary_actions": ("b",)}, {}, "policy.binary_actions"),
        ({"binary_state": ("b",)}, {}, "policy.binary_state"),
        ({"latent": "prior"}, {}, "policy.latent prior"),
        ({"downsample_factor": 3}, {}, "policy.downsample_factor"),
        ({}, {"state_groups": CALIBRATED_STATE}, "policy.state_keys"),
        ({}, {"action_groups": (KeyGroup(key="arm", dim=2),)}, "policy.action_keys"),
        (
            {},
            {"cameras": (Camera(name="top", height=32, width=32, recorded_size=(64, 64)),)},
            "policy.image_size",
        ),
        ({}, {"cameras": (Camera(name="top", height=32, width=32, depth_range=(0.1, 2.0)),)}, "policy.use_depth"),
        ({"conditioning": ("auxiliary",), "auxiliary_from": "decoder"}, {"cameras": ()}, "without cameras"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_lerobots_act_cannot_do_is_refused_by_its_option(
    changes: dict[str, Any], features: dict[str, Any], option: str, tmp_path: Path
) -> None:
    write_ours(tmp_path / "ours", replace(FEATURES, **features), **changes)
    with pytest.raises(ConfigError, match=f"LeRobot's ACT has no .*{option}") as caught:
        export_lerobot(tmp_path / "ours", tmp_path / "theirs")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "theirs").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match="exists"):
        export_lerobot(tmp_path / "theirs_ours", theirs)
    with pytest.raises(CheckpointError, match="exists"):
        import_checkpoint(str(theirs), tmp_path / "theirs_ours", Unsaid())


def test_a_training_folder_means_its_last_checkpoint(tmp_path: Path) -> None:
    last = tmp_path / "run/checkpoints/000003"
    last.mkdir(parents=True)
    write_lerobot(tmp_path / "theirs").rename(last / "pretrained_model")
    (tmp_path / "run/checkpoints/last").symlink_to("000003")
    for place in (tmp_path / "run", last):
        foreign = import_checkpoint(str(place), tmp_path / f"from_{place.name}", Unsaid())
        assert foreign.policy.chunk_size == 5


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_renamed_camera_is_called_as_the_robot_calls_it(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    renamed = {"observation.images.laptop": "observation.images.top"}
    edit(theirs / "policy_preprocessor.json", lambda c: c["steps"][0]["config"].update(rename_map=renamed))
    foreign = import_checkpoint(str(theirs), tmp_path / "back", Unsaid())
    assert [camera.name for camera in foreign.features.cameras] == ["laptop", "wrist"]


def test_an_old_layout_without_its_buffers_an_unknown_step_and_another_policy_are_refused(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    preprocessor = theirs / "policy_preprocessor.json"
    edit(preprocessor, lambda c: c["steps"].append({"registry_name": "tokenizer_processor", "config": {}}))
    with pytest.raises(CheckpointError, match="step 'tokenizer_processor'"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())
    preprocessor.unlink()
    with pytest.raises(CheckpointError, match=r"neither policy_preprocessor\.json nor 'normalize_inputs"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())
    weights = load_file(theirs / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "queries" not in name}, theirs / "model.safetensors")
    edit(theirs / "config.json", lambda c: c.update(type="diffusion"))
    with pytest.raises(CheckpointError, match="of type 'diffusion'"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())


def test_missing_and_superfluous_weights_are_named(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    weights = load_file(theirs / "model.safetensors")
    save_file({**weights, "model.extra": torch.zeros(1)}, theirs / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds the weight 'extra'"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())
    del weights["model.action_head.bias"]
    save_file(weights, theirs / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks the weight 'action_head\.bias'"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for source in (str(tmp_path / "empty"), str(tmp_path / "nothing")):
        assert run(["import", source, str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert source in said


POST = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"


def test_actions_are_scaled_as_the_postprocessor_says(tmp_path: Path) -> None:
    """LeRobot's preprocessor scales actions for training only, and its file may say something else."""
    theirs = write_lerobot(tmp_path / "theirs")
    stats = load_file(theirs / POST)
    save_file({**stats, "action.std": 2 * stats["action.std"]}, theirs / POST)
    import_checkpoint(str(theirs), tmp_path / "back", Unsaid())
    expected = load_policy(tmp_path / "theirs_ours").predict_chunk(observation())
    mean = stats["action.mean"].numpy()
    found = load_policy(tmp_path / "back").predict_chunk(observation())
    np.testing.assert_allclose(found - mean, 2 * (expected - mean), rtol=0, atol=SAME)


def test_a_step_behind_the_network_that_is_not_known_and_a_missing_pipeline_are_refused(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    post = theirs / "policy_postprocessor.json"
    edit(post, lambda c: c["steps"].append({"registry_name": "absolute_actions_processor", "config": {}}))
    with pytest.raises(CheckpointError, match="step 'absolute_actions_processor'"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())
    post.unlink()
    with pytest.raises(CheckpointError, match=r"policy_postprocessor\.json': No such file"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())


def test_the_preprocessors_own_eps_and_list_of_keys_count(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    changed = {"eps": 0.5, "normalize_observation_keys": ["observation.state"]}
    edit(theirs / "policy_preprocessor.json", lambda c: c["steps"][3]["config"].update(changed))
    foreign = import_checkpoint(str(theirs), tmp_path / "back", Unsaid())
    plain = import_checkpoint(str(write_lerobot(tmp_path / "plain")), tmp_path / "plain_back", Unsaid())
    known, of = plain.statistics["observation.state"], foreign.statistics["observation.state"]
    np.testing.assert_allclose(of.std, known.std + 0.5, atol=1e-6)
    assert foreign.policy.environment_normalization == "identity"
    assert plain.policy.environment_normalization == "mean_std"


def as_old(theirs: Path) -> Path:
    """The same in the layout up to 0.3: buffers among the weights, no processor files."""
    config = json.loads((theirs / "config.json").read_text())
    stats, weights = load_file(theirs / POST), load_file(theirs / "model.safetensors")
    for part, named in (("normalize_inputs", "input_features"), ("unnormalize_outputs", "output_features")):
        for key in config[named]:
            for name in ("mean", "std"):
                weights[f"{part}.buffer_{key.replace('.', '_')}.{name}"] = stats[f"{key}.{name}"]
    save_file(weights, theirs / "model.safetensors")
    for path in theirs.glob("policy_*"):
        path.unlink()
    return theirs


def test_an_old_policy_keeps_the_loss_that_it_was_trained_with(tmp_path: Path) -> None:
    foreign = import_checkpoint(str(as_old(write_lerobot(tmp_path / "theirs"))), tmp_path / "back", Unsaid())
    assert foreign.policy.reduction == "padded_mean"
    expected = load_policy(tmp_path / "theirs_ours").predict_chunk(observation())
    np.testing.assert_allclose(load_policy(tmp_path / "back").predict_chunk(observation()), expected, atol=SAME)


def test_buffers_that_were_never_filled_are_refused(tmp_path: Path) -> None:
    """LeRobot up to 0.3 makes them infinite until it is given statistics."""
    theirs = as_old(write_lerobot(tmp_path / "theirs"))
    weights = load_file(theirs / "model.safetensors")
    name = "unnormalize_outputs.buffer_action.mean"
    save_file({**weights, name: torch.full((2,), torch.inf)}, theirs / "model.safetensors")
    with pytest.raises(CheckpointError, match="'mean' of 'action' is not finite"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())


def test_weights_of_16_bits_become_32(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    weights = {name: value.bfloat16() for name, value in load_file(theirs / "model.safetensors").items()}
    save_file(weights, theirs / "model.safetensors")
    import_checkpoint(str(theirs), tmp_path / "back", Unsaid())
    assert load_policy(tmp_path / "back").predict_chunk(observation()).shape == (5, 2)
    found = load_file(tmp_path / "back/model.safetensors")["queries"]
    torch.testing.assert_close(found, weights["model.decoder_pos_embed.weight"].float(), rtol=0, atol=0)


def lose(key: str) -> Callable[[Any], None]:
    return lambda content: content.pop(key)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", lambda c: c["input_features"]["observation.state"].pop("type")),
        ("config.json", lambda c: c["output_features"]["action"].update(shape=[])),
        ("config.json", lambda c: c.update(chunk_size="five")),
        ("config.json", lambda c: c.update(chunk_size=10**10)),
        ("config.json", lambda c: c.update(input_features=["observation.state"])),
        ("config.json", lambda c: c.update(use_peft=True)),
        ("policy_preprocessor.json", lose("steps")),
        ("policy_preprocessor.json", lambda c: c["steps"][3]["config"].pop("norm_map")),
        ("policy_preprocessor.json", lambda c: c["steps"][3].update(state_file="../theirs/model.safetensors")),
        ("policy_postprocessor.json", lambda c: c["steps"][0].update(state_file=7)),
        ("policy_postprocessor.json", lambda c: c["steps"][0].update(state_file="elsewhere.safetensors")),
    ],
)
def test_a_damaged_directory_is_refused_in_one_line_that_names_it(
    file: str, change: Callable[[Any], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    edit(theirs / file, change)
    assert run(["import", str(theirs), str(tmp_path / "back")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "bug" not in said
    assert str(theirs) in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs", "theirs_ours"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_configuration_that_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    (theirs / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n-heads", "4"], "--n-heads is not for LeRobot's checkpoints"),
        (["--temporal-ensemble-coeff", "0.01"], "--temporal-ensemble-coeff is not for"),
        (["--cameras", "a", "b"], "--cameras is not for"),
        (["--revision", "main"], "--revision is for the hub"),
        (["--fps", "0"], "--fps is 0"),
        (["--fps", "nan"], "--fps is nan"),
        (["--action-names", "a", "a"], "twice in --action-names: a, a"),
    ],
)
def test_an_option_that_would_change_nothing_or_makes_no_sense_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    assert run(["import", str(theirs), str(tmp_path / "back"), *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("option", ["--n-action-steps", "--data", "--temporal-ensemble-coeff", "--task"])
def test_options_of_bundles_are_refused_for_lerobot(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(tmp_path / "ours"), str(tmp_path / "theirs"), "--format", "lerobot", option, "1"]
    assert run(arguments) == 1
    assert f"{option} is for bundles" in capsys.readouterr().err


def test_two_cameras_that_the_robot_calls_alike_are_refused(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    renamed = {"observation.images.wrist": "observation.images.top"}
    edit(theirs / "policy_preprocessor.json", lambda c: c["steps"][0]["config"].update(rename_map=renamed))
    with pytest.raises(ConfigError, match="twice in the cameras: wrist, wrist"):
        import_checkpoint(str(theirs), tmp_path / "back", Unsaid())


def test_a_path_with_one_slash_that_cannot_be_the_hubs_is_no_repository(tmp_path: Path) -> None:
    for source in ("../nothing", "./nothing", "a/.."):
        with pytest.raises(CheckpointError, match=f"there is no file or directory '{source}'"):
            import_checkpoint(source, tmp_path / "back", Unsaid())


def test_a_policy_may_be_imported_into_its_own_folder(tmp_path: Path) -> None:
    theirs = write_lerobot(tmp_path / "theirs")
    import_checkpoint(str(theirs), theirs / "foreact", Unsaid())
    assert load_policy(theirs / "foreact").predict_chunk(observation()).shape == (5, 2)


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as a download asks for."""

    commit = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self, folder: Path, *args: Any) -> None:
        self.folder = folder
        super().__init__(*args)

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        headers = {"X-Repo-Commit": self.commit}
        if self.path.startswith("/api/models/user/act/revision/"):
            files = [{"rfilename": path.name} for path in sorted(self.folder.iterdir())]
            body = json.dumps({"id": "user/act", "sha": self.commit, "siblings": files}).encode()
            headers["Content-Type"] = "application/json"
        elif self.path.startswith(f"/api/models/user/act/tree/{self.commit}"):
            listed = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": path.name}
                for path in sorted(self.folder.iterdir())
            ]
            body = json.dumps(listed).encode()
            headers["Content-Type"] = "application/json"
        elif self.path.startswith(f"/user/act/resolve/{self.commit}/"):
            body = (self.folder / self.path.rpartition("/")[2]).read_bytes()
            headers["ETag"] = f'"{sha256(body).hexdigest()}"'
        else:
            headers["X-Error-Code"] = "RepoNotFound"
            self.send_error(404, "Repository not found")
            return
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@contextmanager
def hub(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def python(code: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own: huggingface_hub looks at its surroundings once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=True)


def import_from(sources: dict[str, Path], endpoint: str, home: Path) -> tuple[list[int], list[str]]:
    """Exit codes and messages."""
    calls = [["import", source, str(out)] for source, out in sources.items()]
    done = python(f"from foreact.cli.main import run; print([run(call) for call in {calls!r}])", endpoint, home)
    said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return json.loads(done.stdout.splitlines()[-1]), said


@pytest.mark.slow
def test_a_policy_of_the_hub_is_downloaded_and_found_again_without_a_network(tmp_path: Path) -> None:
    theirs, home = write_lerobot(tmp_path / "theirs"), tmp_path / "hub"
    with hub(theirs) as endpoint:
        codes, said = import_from({"user/act": tmp_path / "out", "user/no": tmp_path / "a"}, endpoint, home)
    assert codes == [0, 1]
    expected = load_policy(tmp_path / "theirs_ours").predict_chunk(observation())
    np.testing.assert_allclose(load_policy(tmp_path / "out").predict_chunk(observation()), expected, atol=SAME)
    codes, offline = import_from({"user/act": tmp_path / "again", "user/no": tmp_path / "b"}, endpoint, home)
    assert codes == [0, 1]
    for (line,) in (said, offline):
        assert "there is no path 'user/no'" in line
        assert "check name and network" in line


def test_without_huggingface_hub_a_name_of_the_hub_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    for ask in (load_policy, lambda source: import_checkpoint(source, tmp_path / "out", Unsaid())):
        with pytest.raises(CheckpointError, match=r"pip install 'foreact\[hub\]'") as caught:
            ask("user/act")
        assert "\n" not in str(caught.value)


LOAD = """
import numpy as np
from foreact import load_policy
from foreact.errors import CheckpointError

policy = load_policy("user/act", overrides={{"n_action_steps": 2}})
assert policy.executor_settings.n_action_steps == 2
with np.load("seen.npz") as seen:
    np.save({out!r}, policy.predict_chunk(dict(seen)))
try:
    load_policy("user/no")
except CheckpointError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["LeRobot's", "a checkpoint of ours", "a bundle"])
def test_a_policy_of_the_hub_is_loaded_by_its_name_with_a_network_and_again_without(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no folder is called `user`
    repository = write_lerobot(tmp_path / "theirs")
    if whose != "LeRobot's":
        repository = tmp_path / "theirs_ours"
    if whose == "a bundle":
        repository = tmp_path / "bundle"
        export_bundle(tmp_path / "theirs_ours", repository, format="torch", data=write_data(tmp_path / "data"))
    np.savez("seen.npz", allow_pickle=False, **observation())
    expected = load_policy(tmp_path / "theirs_ours").predict_chunk(observation())
    with hub(repository) as endpoint:
        online = python(LOAD.format(out="online.npy"), endpoint, tmp_path / "hub")
    offline = python(LOAD.format(out="offline.npy"), endpoint, tmp_path / "hub")
    for name, done in (("online", online), ("offline", offline)):
        np.testing.assert_allclose(np.load(f"{name}.npy"), expected, rtol=0, atol=SAME)
        assert done.stdout.count("\n") == 1
        assert "there is no path 'user/no'" in done.stdout
        assert "check name and network" in done.stdout
