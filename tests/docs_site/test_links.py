"""Dead links of a site are found: files, ids, and what is loaded from elsewhere."""

from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from explain.links import dead_links, main

PAGE = '<html><body><h1 id="top">A</h1>{}</body></html>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "b c.html").write_text(PAGE.format('<a href="in/#deep">d</a>'))
    (tmp_path / "in/index.html").write_text(PAGE.format('<p id="deep"></p><a href="../a.html#top">a</a>'))
    (tmp_path / "a.html").write_text(
        PAGE.format('<a href="b%20c.html">b</a><a href="#top">t</a><a href="https://example.org/x">e</a>')
    )
    return tmp_path


def test_a_sound_site_has_none(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(dead_links(site)) == []
    assert main([str(site)]) == 0
    assert "0 dead links" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ('<a href="gone.html">', "new.html: 'gone.html': there is no such file"),
        ('<a href="in/#gone">', "new.html: 'in/#gone': nothing there has the id 'gone'"),
        ('<a href="#gone">', "new.html: '#gone': nothing there has the id 'gone'"),
        ('<img src="gone.png">', "new.html: 'gone.png': there is no such file"),
        ('<script src="https://example.org/a.js">', "new.html: loads 'https://example.org/a.js' from elsewhere"),
        (
            '<link rel="stylesheet" href="//example.org/a.css">',
            "new.html: loads '//example.org/a.css' from elsewhere",
        ),
    ],
)
def test_a_dead_link_is_named_with_its_page(site: Path, link: str, fault: str) -> None:
    (site / "new.html").write_text(PAGE.format(link))
    assert list(dead_links(site)) == [fault]
    assert main([str(site)]) == 1


@pytest.mark.parametrize(
    "style", ["a { background: url('https://example.org/b.png') }", '@import "//example.org/b.png";']
)
def test_what_a_style_loads_from_elsewhere_is_named(site: Path, style: str) -> None:
    (site / "in/a.css").write_text("b { background: url(b.png) }\n" + style)
    (fault,) = dead_links(site)
    assert fault.startswith("in/a.css: loads '")
    assert fault.endswith("//example.org/b.png' from elsewhere")


def test_a_site_without_pages_is_no_sound_one(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1


HEAD = {"/there": 200, "/gone": 404, "/no-head": 405, "/no-robots": 403, "/closed": 403}
GET = {**HEAD, "/no-head": 200, "/no-robots": 200}


class Host(BaseHTTPRequestHandler):
    """Elsewhere: pages that are there, are gone, or are there for GET alone; from any other it hangs up."""

    def do_HEAD(self) -> None:
        self._answer(HEAD)

    def do_GET(self) -> None:
        self._answer(GET)

    def _answer(self, statuses: Mapping[str, int]) -> None:
        if self.path in statuses:
            self.send_response(statuses[self.path])
            self.end_headers()

    def log_message(self, *said: object) -> None:
        """Stay silent."""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_links_to_elsewhere_are_fetched_where_asked_and_who_refuses_head_may_answer_get(
    elsewhere: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = ("there", "gone", "no-head", "no-robots", "closed", "silent")
    (tmp_path / "a.html").write_text(PAGE.format("".join(f'<a href="{elsewhere}/{page}#b">' for page in pages)))
    assert list(dead_links(tmp_path)) == []
    assert list(dead_links(tmp_path, external=True)) == [
        f"a.html: '{elsewhere}/gone#b': HTTP Error 404: Not Found",
        f"a.html: '{elsewhere}/closed#b': HTTP Error 403: Forbidden",
        f"a.html: '{elsewhere}/silent#b': Remote end closed connection without response",
    ]
    assert main([str(tmp_path), "--external"]) == 1
    assert "3 dead links" in capsys.readouterr().out
