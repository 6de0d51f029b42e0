"""All questions to a policy on disk: the report, its files, and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from foreact.config import RunConfig
from foreact.data.selection import select_features
from foreact.data.sidecar import Sidecar, write_sidecar
from foreact.data.source import open_source
from foreact.data.statistics import compute_statistics
from foreact.diagnose.page import write_report
from foreact.diagnose.report import Report, diagnose, read_report, to_json
from foreact.errors import ConfigError, DataError
from foreact.policy.checkpoint import save_policy
from foreact.policy.policy import Policy
from spots import write_dataset


def save(path: Path, run: RunConfig, data: Path, *, ignore: bool = False, held_out: int = 8) -> Path:
    """Write an untrained policy that says it was trained on all episodes but the first few."""
    source = open_source(data)
    torch.manual_seed(0)
    features = select_features(source.features, run.policy)
    statistics = compute_statistics([source.episode(index) for index in source.episode_indices])
    policy = Policy(config=run.policy, features=features, statistics=statistics)
    if ignore:
        assert policy.model.environment_proj is not None
        nn.init.zeros_(policy.model.environment_proj.weight)
    trained_on = {
        "path": str(data),
        "fingerprint": source.fingerprint(),
        "training": source.episode_indices[held_out:],
        "validation": source.episode_indices[:held_out],
    }
    save_policy(path, policy, step=7, provenance={"data": trained_on})
    return path


@pytest.fixture(scope="module")
def ignoring(episodes: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    run = RunConfig()
    small = replace(
        run.policy,
        chunk_size=6,
        n_action_steps=3,
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        backbone_norm="group",
        dim_model=16,
        n_heads=2,
        dim_feedforward=32,
        n_encoder_layers=1,
    )
    path = save(tmp_path_factory.mktemp("run") / "policy", replace(run, policy=small), episodes, ignore=True)
    return diagnose(path, episodes=12, cache_dir=cache_dir)


def test_a_network_without_weights_at_its_coordinate_ignores_it_exactly(ignoring: Report) -> None:
    swap = ignoring.finding("swap")
    assert swap is not None
    assert swap.verdict.startswith("uses the coordinate: no: swap test 0 of 12")
    assert set(swap.evidence["share_of_the_way"]) == {0.0}
    assert "the preset so101-grounded, compact-grounded for small pictures" in swap.remedy
    sensitivity = ignoring.finding("sensitivity")
    assert sensitivity is not None
    assert sensitivity.evidence["gain_at_the_start"] == 0
    collapse = ignoring.finding("collapse")
    assert collapse is not None
    assert collapse.evidence["index"] > 0.75
    inputs = ignoring.finding("inputs")
    assert inputs is not None
    assert inputs.evidence["changes"]["coordinate exchanged"] == 0
    assert "coordinate: no (0.00)" in inputs.verdict


def test_the_worst_comes_first_and_attention_after_the_interventions(ignoring: Report) -> None:
    names = [finding.question for finding in ignoring.findings]
    assert names[:2] == ["swap", "collapse"]
    assert names[-2:] == ["gradient", "attention"]
    assert (ignoring.step, ignoring.episodes, ignoring.held_out) == (7, 12, 8)


def test_a_report_comes_back_from_its_json_as_it_was(ignoring: Report, tmp_path: Path) -> None:
    page = write_report(ignoring, tmp_path / "out")
    assert read_report(tmp_path / "out" / "diagnosis.json") == ignoring
    pictures = {path.stem for path in (tmp_path / "out").glob("*.png") if not path.stem.endswith("-dark")}
    assert pictures == {finding.question for finding in ignoring.findings if finding.evidence}
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 2 * len(pictures), "each for a light and for a dark page"
    assert "http" not in text, "the page needs no network"
    assert "uses the coordinate: no: swap test 0 of 12" in text


def test_numbers_of_a_finding_are_a_table_on_the_page(ignoring: Report, tmp_path: Path) -> None:
    text = write_report(ignoring, tmp_path / "out").read_text()
    assert "<th>intervention</th><th>change of the chunk</th>" in text
    assert "<td>encoder, layer 1</td>" in text


def test_every_question_is_answered_on_the_page(ignoring: Report) -> None:
    asked = {finding.question for finding in ignoring.findings}
    assert asked >= {
        "swap", "sensitivity", "collapse", "inputs", "pictures", "normalisation", "training", "overfitting", "latent",
        "parts", "gradient", "attention",
    }  # fmt: skip


def test_a_file_that_is_no_report_is_refused(ignoring: Report, tmp_path: Path) -> None:
    path = tmp_path / "diagnosis.json"
    path.write_text(to_json(ignoring).replace('"schema_version": 1', '"schema_version": 0'))
    with pytest.raises(DataError, match="is not a report of foreact diagnose: another schema version"):
        read_report(path)


@pytest.mark.parametrize("changes", [{"use_environment_state": False}, {"cameras": ()}], ids=["uncued", "blind"])
def test_controls_get_a_verdict_of_their_own(
    changes: dict[str, object], tiny_run: RunConfig, episodes: Path, cache_dir: Path, tmp_path: Path
) -> None:
    run = replace(tiny_run, policy=replace(tiny_run.policy, **changes))  # type: ignore[arg-type]
    report = diagnose(save(tmp_path / "policy", run, episodes), episodes=6, cache_dir=cache_dir)
    coordinate, inputs = report.finding("coordinate"), report.finding("inputs")
    assert inputs is not None
    assert coordinate is not None
    if "cameras" in changes:
        assert coordinate.verdict.startswith("cannot tell from fewer than 20 episodes: the coordinates explain")
        assert "pictures: none" in inputs.verdict
    else:
        assert "there is no coordinate" in coordinate.verdict
        assert report.finding("swap") is None
        assert "coordinate: none" in inputs.verdict


def test_too_few_episodes_give_no_verdict(tiny_run: RunConfig, episodes: Path, cache_dir: Path, tmp_path: Path) -> None:
    report = diagnose(save(tmp_path / "policy", tiny_run, episodes), episodes=3, cache_dir=cache_dir)
    swap = report.finding("swap")
    assert swap is not None
    assert swap.verdict.startswith("uses the coordinate: cannot tell")
    assert swap.severity == "note"


def test_coordinates_that_no_demonstration_follows_are_a_warning_of_their_own(
    tiny_run: RunConfig, cache_dir: Path, tmp_path: Path
) -> None:
    """As in seed 000: no policy can learn what its data do not show, so the data are to be looked at first."""
    untold = write_dataset(tmp_path / "untold", lengths=(12,) * 24, told=range(23, -1, -1))
    report = diagnose(save(tmp_path / "policy", tiny_run, untold), cache_dir=cache_dir)
    coordinate, swap = report.finding("coordinate"), report.finding("swap")
    assert coordinate is not None
    assert swap is not None
    assert coordinate.severity == "warning"
    assert coordinate.verdict.startswith("the coordinates in these data do not explain the demonstrations: they tell ")
    assert coordinate.evidence["explained"] < coordinate.evidence["needed"]
    change = report.finding("inputs").evidence["changes"]["coordinate exchanged"]  # type: ignore[union-attr]
    assert 0.02 < change < 0.15  # untrained weights hear of it a little
    assert swap.verdict.startswith(f"uses the coordinate: hardly: another one changes the chunk by {change:.2f}")
    assert swap.severity == "warning"
    write_report(report, tmp_path / "out")
    assert (tmp_path / "out" / "coordinate.png").exists()


def test_on_other_data_every_episode_counts_as_held_out(
    tiny_run: RunConfig, episodes: Path, cache_dir: Path, tmp_path: Path
) -> None:
    other = write_dataset(tmp_path / "other", lengths=(12,) * 6, seed=1)
    policy = save(tmp_path / "policy", tiny_run, episodes)
    report = diagnose(policy, data=other, cache_dir=cache_dir)
    assert (report.episodes, report.held_out) == (6, 6)


def test_a_data_set_that_has_changed_since_is_not_taken_for_unseen(
    tiny_run: RunConfig, episodes: Path, cache_dir: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(episodes, tmp_path / "data")
    policy = save(tmp_path / "policy", tiny_run, data, held_out=3)
    before = diagnose(policy, episodes=8, cache_dir=cache_dir)
    write_sidecar(data, Sidecar(environment_height=0.01))  # another fingerprint, the same episodes
    after = diagnose(policy, episodes=8, cache_dir=cache_dir)
    assert before.held_out == after.held_out == 3


def test_a_policy_that_does_not_say_its_data_needs_them_and_calls_none_held_out(
    tiny_run: RunConfig, episodes: Path, cache_dir: Path, tmp_path: Path
) -> None:
    source = open_source(episodes)
    statistics = compute_statistics([source.episode(index) for index in source.episode_indices])
    policy = Policy(config=tiny_run.policy, features=source.features, statistics=statistics)
    save_policy(tmp_path / "policy", policy)
    with pytest.raises(ConfigError, match="does not say what it was trained on; give a data set with --data"):
        diagnose(tmp_path / "policy")
    report = diagnose(tmp_path / "policy", data=episodes, episodes=2, cache_dir=cache_dir)
    assert report.held_out is None
    assert not [finding for finding in report.findings if "2 held-out episodes" in finding.verdict]
    page = write_report(report, tmp_path / "out").read_text()
    assert "2, of which the checkpoint does not say whether it was trained on them" in page
    assert read_report(tmp_path / "out" / "diagnosis.json") == report
