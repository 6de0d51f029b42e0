"""The command line: one clear line and an exit code; the help without torch; the whole quickstart, small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foreact.cli.main import COMMANDS, run
from hidden import hiding


def foreact(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "foreact.cli.main", *arguments]
    return subprocess.run(call, capture_output=True, text=True, timeout=300)


def in_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from foreact.cli.main import run; run(['--help']);"
        "loaded = {name.split('.')[0] for name in sys.modules};"
        "print(sorted(loaded & {'torch', 'lightning', 'numpy', 'mujoco', 'tyro'}))"
    )
    done = in_python(code)
    assert done.stdout.strip().endswith("[]")
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_what_the_package_logs_as_a_warning_looks_like_one() -> None:
    code = (
        "import logging, sys; from foreact.cli.main import main; sys.argv = ['foreact', '--version']\n"
        "try: main()\n"
        "except SystemExit: logging.getLogger('foreact.policy').warning('%s: not calibrated', 'camera wrist')"
    )
    done = in_python(code)
    assert done.stderr == "warning: camera wrist: not calibrated\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_needs_no_torch(name: str) -> None:
    code = (
        "import sys; from foreact.cli.main import run\n"
        f"try: run([{name!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    done = in_python(code)
    assert done.stdout.strip().endswith("False"), done.stderr
    assert f"foreact {name}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "error: unknown command 'trian'; did you mean 'train'?"),
        (["train", "so10", "--data", "x", "--out", "y"], "error: unknown preset 'so10'; did you mean 'so101'?"),
        (["train", "--data", "x"], "error: no preset: type foreact train PRESET"),
        (
            ["train", "compact", "--data", "x", "--out", "y", "--policy.chunksize", "3"],
            "error: unknown option '--policy.chunksize'; did you mean '--policy.chunk-size'?",
        ),
        (
            ["train", "compact", "--data", "nowhere", "--out", "{tmp}/run"],
            "error: no data set at 'nowhere': there is no such folder",
        ),
        (["record", "{tmp}/x", "--level", "L9"], "error: unknown level 'L9'; choices: L0, L1, L2, L3"),
        (["record", "{tmp}/x", "--cameras", "96"], "error: --cameras '96' is not HEIGHTxWIDTH"),
        (["eval", "{tmp}/nowhere"], "error: no run or checkpoint at"),
    ],
)
def test_an_error_is_one_clear_line_and_exits_with_1(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([argument.replace("{tmp}", str(tmp_path)) for argument in arguments]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) == 1


def test_the_traceback_is_shown_only_with_debug(capsys: pytest.CaptureFixture[str]) -> None:
    plain, debug = ((run(["eval", "/nowhere", *options]), capsys.readouterr().err) for options in ([], ["--debug"]))
    assert (plain[0], debug[0]) == (1, 1)
    assert "Traceback" not in plain[1]
    assert "Traceback" in debug[1]
    assert plain[1].strip() == debug[1].strip().splitlines()[-1]


def test_a_missing_extra_is_named_with_the_command_to_type(tmp_path: Path) -> None:
    """A real interpreter in which mujoco cannot be found."""
    code = (
        f"{hiding('mujoco')}from foreact.cli.main import run\n"
        f"sys.exit(run(['record', {str(tmp_path / 'x')!r}, '--episodes', '1']))"
    )
    done = in_python(code)
    assert done.returncode == 1
    assert done.stderr == "error: package 'mujoco' is not installed; type: pip install 'foreact[sim]'\n"


def test_version() -> None:
    from foreact import __version__

    assert foreact("--version").stdout.strip() == __version__


@pytest.mark.slow
def test_the_quickstart_does_every_step_and_writes_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smoke plan, smaller still; success is not expected of thirty steps."""
    from dataclasses import replace

    from foreact.studio.quickstart import plan, quickstart

    monkeypatch.setenv("FOREACT_CACHE", str(tmp_path / "cache"))
    smoke = plan(smoke=True)
    recipe = replace(smoke.run, train=replace(smoke.run.train, steps=6, val_every=3, save_every=3, batch_size=4))
    small = replace(smoke, run=recipe, demonstrations=4, episodes=2, video_episodes=1)
    result = quickstart(small, tmp_path / "out", controls=True)
    assert result.finished
    assert result.report is not None
    page = result.report.read_text()
    assert "data:video/mp4;base64," in page
    assert page.count("data:image/png;base64,") == 1
    assert "://" not in page, "the page needs no network"
    written = json.loads((tmp_path / "out" / "eval.json").read_text())
    of_l1, of_l2 = written[:5], written[5:]
    for level, of in (("L1", of_l1), ("L2", of_l2)):
        assert [evaluation["name"] for evaluation in of] == ["policy", "blind", "uncued", "baseline", "expert"]
        assert {evaluation["settings"]["level"] for evaluation in of} == {level}
        assert of[-1]["successes"] == 2
        targets = [[episode["target"] for episode in evaluation["per_episode"]] for evaluation in of]
        assert all(one == targets[0] for one in targets), "all are asked for the same blocks"
    again = quickstart(small, tmp_path / "out", controls=True)
    before, after = (of.evaluations["L1"][0].outcomes for of in (result, again))
    assert after == before, "nothing is trained twice"
