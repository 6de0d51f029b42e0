"""The commands of docs/studio.md are run."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from pages import page_blocks
from studio.running import RunningStudio

pytestmark = pytest.mark.slow


def commands() -> list[list[str]]:
    lines = [line for language, body in page_blocks("studio.md") if language == "sh" for line in body.splitlines()]
    return [line.split()[2:] for line in lines if line.startswith("foreact studio")]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_the_pages_commands_serve_a_page(
    arguments: list[str], untrained_run: Path, sim_recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = Path("runs/quickstart")
    made.mkdir(parents=True)
    for name in ("policy", "blind"):
        shutil.copytree(untrained_run, made / name)
    (made / "data").symlink_to(sim_recording)
    Path("key.txt").write_text("a key of many letters\n")
    running = RunningStudio(*arguments)
    asked = urllib.request.Request(
        f"http://127.0.0.1:{running.port}/", headers={"Authorization": "Api-Key a key of many letters"}
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert answer.status == 200
    if "--api-key-file" in arguments:
        for behind in ("/", "/data", "/studio/mesh/0.stl", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"http://127.0.0.1:{running.port}{behind}", timeout=20)
    running.stop()
