"""The pytest plugin works in separate pytest runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

USES_THE_FIXTURE = """
from urllib.request import Request, urlopen

def test_it(inworld_local):
    request = Request(inworld_local.url + "/tts/v1/voices")
    request.add_header("Authorization", "Basic " + inworld_local.api_key)
    with urlopen(request, timeout=30) as response:
        assert b"Ashley" in response.read()
"""

# This code makes the libraries of the extra look as if they were not installed.
WITHOUT_THE_EXTRA = """
import sys
for name in ("websockets", "hibari", "onnxruntime", "soundfile", "soxr", "numpy"):
    sys.modules[name] = None
"""


def run(folder: Path, test: str, conftest: str = "") -> tuple[int, str]:
    (folder / "test_it.py").write_text(test)
    (folder / "conftest.py").write_text(conftest)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)
    return done.returncode, done.stdout


def test_fixture(tmp_path: Path) -> None:
    """The fixture inworld_local is available without an import. It is a running server."""
    code, shown = run(tmp_path, USES_THE_FIXTURE)

    assert 0 == code, shown


def test_fixture_without_the_extra(tmp_path: Path) -> None:
    """Without the extra 'local', only tests with the fixture fail, and the error is clear."""
    test = USES_THE_FIXTURE + "\ndef test_other():\n    pass\n"
    code, shown = run(tmp_path, test, WITHOUT_THE_EXTRA)

    assert 1 == code
    assert "1 passed, 1 error" in shown or "1 failed, 1 passed" in shown
    assert "pip install 'inworld-sync[local]'" in shown


def test_plugin_is_light() -> None:
    """The import of the plugin imports neither the server nor a library of the server."""
    code = (
        "import sys, inworld_sync.emulator.pytest_plugin\n"
        "names = ('websockets', 'numpy', 'onnxruntime', 'inworld_sync.emulator.server')\n"
        "print([name for name in names if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == shown.stdout.strip()
