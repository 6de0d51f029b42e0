"""docs/diagnose.md: its commands run, its keys are in what they write, and its thresholds are those of the code."""

import json
import re
from pathlib import Path

import pytest

from foreact.data import lags
from foreact.diagnose import (
    agreement,
    collapse,
    gripper_timing,
    inputs_used,
    latent_used,
    normalisation,
    open_loop,
    out_of_range,
    overfitting,
    pictures_as_trained,
    probe,
    remedies,
    response,
    sensitivity,
    smoothness,
    swap,
    training_curve,
)
from foreact.diagnose.pictures import DRAWINGS
from foreact.diagnose.report import read_report
from pages import ROOT, page_blocks, run_block, typed_in

PAGE = (ROOT / "docs" / "diagnose.md").read_text()


def test_what_the_page_says_of_episodes_and_of_suspected_coordinates_is_the_codes() -> None:
    assert f"{4 * len(sensitivity.SHARES)}\npredictions of each episode" in PAGE
    assert f"takes the first {probe.FEWER} of those examined" in PAGE
    assert f"coordinates that explain less than {100 * remedies.WEAK:.0f} %" in PAGE


def table(section: str) -> dict[str, str]:
    """What the rows of a section's table say, by question."""
    body = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", body, re.MULTILINE))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's commands leave."""
    folder = tmp_path_factory.mktemp("page")
    with typed_in(folder):
        (commands,) = [body for language, body in page_blocks("diagnose.md") if language == "sh"]
        run_block("sh", commands)
    return folder


@pytest.mark.slow
def test_the_pages_commands_write_what_it_says_and_every_question_stands_on_it(written: Path) -> None:
    for folder in (written / "runs" / "tiny" / "diagnosis", written / "diagnosis"):
        assert {"diagnosis.html", "diagnosis.json", "parts.png"} <= {path.name for path in folder.iterdir()}
    report = read_report(written / "diagnosis" / "diagnosis.json")
    asked = {finding.question for finding in report.findings}
    assert asked == set(table("What is asked"))
    drawn = {finding.question for finding in report.findings if finding.evidence}
    pictures = {path.stem for path in (written / "diagnosis").glob("*.png")}
    assert pictures == drawn | {f"{question}-dark" for question in drawn}


def test_every_question_on_the_page_has_a_drawing() -> None:
    assert set(DRAWINGS) == set(table("What is asked"))


@pytest.mark.slow
def test_the_keys_on_the_page_are_those_of_the_file(written: Path) -> None:
    content = json.loads((written / "diagnosis" / "diagnosis.json").read_text())
    assert set(re.findall(r"`(\w+)`", PAGE.split("## diagnosis.json\n")[1].split("|")[0])) == {
        *content,
        *content["findings"][0],
    }
    by_question = {finding["question"]: finding["evidence"] for finding in content["findings"]}
    for question, says in table("diagnosis.json").items():
        evidence = by_question[question]
        of_parts = (evidence.get("parts") or evidence.get("by_share_of_the_episode") or [{}])[0]
        for key in re.findall(r"`(\w+)`", says):
            # A question that four steps of training leave unanswered has no evidence.
            assert not evidence or key in evidence or key in of_parts, f"{question}: {key}"


@pytest.mark.parametrize(
    ("question", "thresholds"),
    [
        ("coordinate", [f"{100 * response.LEAST_EXPLAINED:.0f} %", f"{response.MANY} episodes"]),
        ("swap", [f"{100 * of:.0f} %" for of in (swap.IGNORED, swap.USED, swap.USED_WHERE_EMPTY)]),
        (
            "sensitivity",
            [
                f"{1000 * sensitivity.DELTA:.0f} mm",
                f"{100 * sensitivity.HARDLY:.0f} %",
                f"{sensitivity.TOO_FAR:.0f} times as far, or as far another way",
            ],
        ),
        ("collapse", [f"from {collapse.COLLAPSED:g}", f"from {collapse.NARROW:g}"]),
        ("inputs", [f"less than {inputs_used.ONE_FOR_ALL:g}", f"less than {inputs_used.IGNORED:g}"]),
        ("pictures", [f"below {pictures_as_trained.BETTER:g} ", f"below {pictures_as_trained.MUCH_BETTER:g} "]),
        (
            "normalisation",
            [
                f"{normalisation.SURELY * normalisation.FAR:.0f} deviations",
                f"{normalisation.FAR:.0f} deviations",
                "1e-4",
            ],
        ),
        (
            "out_of_range",
            [
                f"{100 * out_of_range.MANY:.0f} %",
                f"{100 * out_of_range.SOME:.0f} %",
                f"{out_of_range.DIFFERENT:.0f} deviation",
            ],
        ),
        ("shift", [f"{lags.SLOW_S:g} s", f"{lags.HARDLY:g} frames"]),
        ("open_loop", ["holding still", "repeating", "the mean chunk", "nearest recorded observation", "first three"]),
        ("gripper_timing", [f"{gripper_timing.LATE_S:g} s", f"{100 * gripper_timing.MISSED:.0f} %"]),
        (
            "smoothness",
            [f"{smoothness.SHAKING:.0f} times", f"{smoothness.ROUGH:g} times", f"{smoothness.SEAM:.0f} times"],
        ),
        ("agreement", [f"{100 * agreement.TORN:.0f} %", f"{100 * agreement.WAVERS:.0f} %"]),
        (
            "training",
            [
                f"{training_curve.RISEN:g} times",
                f"{training_curve.JUMP:.0f} times",
                f"{training_curve.NOTHING:g} times",
            ],
        ),
        (
            "overfitting",
            [f"{overfitting.MUCH_MORE:.0f} times", f"{overfitting.MORE:g} times", f"{overfitting.WORSE:g} times"],
        ),
        ("latent", [f"{latent_used.SORELY:.0f} times", f"{latent_used.NEEDED:g} times"]),
    ],
)
def test_the_thresholds_on_the_page_are_those_of_the_code(question: str, thresholds: list[str]) -> None:
    row = table("What is asked")[question]
    for words in thresholds:
        assert words in row, f"{question}: '{words}' is not on the page: {row}"
    assert sensitivity.ASTRAY == 1, "as far"
    assert len(open_loop.NAIVE) == 3
    assert normalisation.ROUNDING == 1e-4
