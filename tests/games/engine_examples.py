"""
Checks the code of ``docs/engines.md`` in the languages of the engines.

    pip install gdtoolkit; apt-get install mono-mcs g++
    python -m tests.games.engine_examples

GDScript is parsed. C# and C++ are compiled with stubs of Unity and Unreal. The Python module for
Ren'Py runs with the server and the emulator. The Python code in the script for Ren'Py is compiled.
The command fails if the parser or a compiler is missing.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import wave
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STUBS = Path(__file__).parent / "engine_stubs"
sys.path[:0] = [str(ROOT / "tests")]

from inworld_sync import Inworld  # noqa: E402
from inworld_sync.emulator import Emulator  # noqa: E402
from inworld_sync.games import SHAPE_SETS, serve  # noqa: E402

from support.spelling import SpellingSynthesizer, spelled, spoken_part  # noqa: E402

_MAX_LINES = 40
_UNREAL_HEADERS = (
    "Components/AudioComponent.h",
    "IWebSocket.h",
    "Serialization/JsonSerializer.h",
    "Sound/SoundWaveProcedural.h",
    "WebSocketsModule.h",
    "InworldVoice.generated.h",
)


def blocks(language: str) -> list[str]:
    """Return the fenced code blocks of a language."""
    page = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found, f"docs/engines.md has no {language}"
    for code in found:
        assert len(code.splitlines()) <= _MAX_LINES, f"more than {_MAX_LINES} lines of {language}"
    return found


def program(name: str) -> str:
    """Return the path of a program."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is missing, see the top of this file"
    return found


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check_godot(place: Path) -> None:
    """The GDScript can be parsed."""
    [code] = blocks("gdscript")
    file = place / "voice.gd"
    file.write_text(code)
    run(program("gdparse"), str(file))


def check_unity(place: Path) -> None:
    """The C# compiles."""
    [code] = blocks("csharp")
    file = place / "InworldVoice.cs"
    file.write_text(code)
    options = ("-langversion:latest", "-target:library", f"-out:{place / 'voice.dll'}")
    run(program("mcs"), *options, str(file), str(STUBS / "UnityEngine.cs"))


def check_unreal(place: Path) -> None:
    """The C++ compiles."""
    [code] = blocks("cpp")
    for header in _UNREAL_HEADERS:
        file = place / header
        file.parent.mkdir(exist_ok=True)
        file.write_text('#pragma once\n#include "unreal.h"\n')
    (place / "InworldVoice.h").write_text(code)
    source = place / "voice.cpp"
    source.write_text('#include "InworldVoice.h"\nUInworldVoice voice;\n')
    run(program("g++"), "-std=c++17", "-fsyntax-only", f"-I{place}", f"-I{STUBS}", str(source))


def check_renpy(_: Path) -> None:
    """
    The module for Ren'Py gets the audio of a line, and the Python code in the script compiles.
    """
    module, script = blocks("renpy")
    names: dict[str, Any] = {}
    exec(compile(module, "inworld_voice.py", "exec"), names)
    text = "Halt! Who goes there?"
    with Emulator(synthesizer=SpellingSynthesizer(240, has_phonemes=True)) as emulator:
        with Inworld(base_url=emulator.url, api_key=emulator.api_key) as iw:
            with serve(0, client=iw) as server:
                data, shapes = names["speak"](text, server.url)
    with wave.open(io.BytesIO(data)) as file:
        assert (1, 2, 24000) == file.getparams()[:3]
        assert spelled(file.readframes(file.getnframes()), 240) == spoken_part(text)
    assert {name for _, name in shapes} <= set(SHAPE_SETS["preston_blair"])
    assert len({name for _, name in shapes}) > 1
    assert names["shape_at"](text, 1e9) == "rest"
    python = script.partition("init python:\n")[2].partition("\ndefault ")[0]
    compile(textwrap.dedent(python), "script.rpy", "exec")


def main() -> None:
    """Run all checks."""
    for check in (check_godot, check_unity, check_unreal, check_renpy):
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder))
        sys.stdout.write(f"{check.__doc__}\n")


if __name__ == "__main__":
    main()
