"""The examples run without a change."""

import os
import sys
from pathlib import Path

import pytest

from inworld_sync.emulator import Emulator

from support.programs import run_all

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))

# tests/games/test_panda3d_sound.py runs the example that needs Panda3D. pygame-ce has no wheels for
# builds without the GIL.
ELSEWHERE = {"game_panda3d"} | ({"game_pygame"} if sys.version_info >= (3, 14) else set())


@pytest.mark.timeout(900)
def test_all_run(tmp_path):
    """Each example ends without an error and prints a line."""
    programs = {path.stem: [str(path)] for path in EXAMPLES if path.stem not in ELSEWHERE}
    # These drivers of SDL need neither a screen nor a sound card. The sound is written to a file in
    # the folder of the example.
    drivers = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "disk"}
    # The programs share one emulator, so that the speech engines are loaded once.
    with Emulator() as server:
        service = {"INWORLD_BASE_URL": server.url, "INWORLD_API_KEY": server.api_key}
        ended = run_all(programs, tmp_path, {**os.environ, **drivers, **service})

    assert {name: done.stderr for name, done in ended.items() if done.returncode != 0} == {}
    assert [name for name, done in ended.items() if not done.stdout] == []
    assert [name for name, done in ended.items() if "INTERNAL SERVER ERROR" in done.stdout] == []


def test_page_names_each():
    """The README of the examples has a row for each example."""
    page = EXAMPLES[0].with_name("README.md").read_text(encoding="utf-8")

    assert {example.name for example in EXAMPLES} == {
        line.split("`")[1] for line in page.splitlines() if line.startswith("| `")
    }
