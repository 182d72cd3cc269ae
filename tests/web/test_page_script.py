"""Tests of the JavaScript for pages, which is a file of the package."""

from pathlib import Path

from inworld_sync import web

ROOT = Path(__file__).parents[2]


def test_script_is_the_file_of_the_package():
    """``script`` returns the text of the file, which exports Conversation and imports nothing."""
    text = web.script()

    assert text == (ROOT / "inworld_sync/web/static/inworld.js").read_text(encoding="utf-8")
    assert "export class Conversation" in text
    assert not [line for line in text.splitlines() if line.startswith("import ")]


def test_nothing_shows_text_of_a_server_as_html():
    """Neither the script nor the page of the example makes HTML from text."""
    page = (ROOT / "examples/web_talk.html").read_text(encoding="utf-8")

    for text in (web.script(), page):
        assert not [name for name in ("innerHTML", "outerHTML", "HTML(", "eval(") if name in text]
