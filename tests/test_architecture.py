"""Checks every import of the package against the ranks of the units and other rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.imports import UNIT_OF_FILE, Import, circles, imports_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "inworld_sync"

# A unit may import itself and all units of a lower rank.
RANKS = {
    "secret": -1,
    "_version": 0,
    "locks": 0,
    "errors": 0,
    "_native": 1,
    "models": 1,
    "audio": 2,
    "auth": 2,
    "wire": 2,
    "devices": 3,
    "limits": 3,
    "tools": 3,
    "transport": 3,
    "sessions": 4,
    "batch": 5,
    "emulator": 5,
    "failover": 5,
    "realtime": 5,
    "rest": 5,
    "session_link": 5,
    "webrtc": 5,
    "client": 6,
    "telephony": 6,
    "web": 6,
    "games": 7,
    "cli": 8,
}

# Only the units of a value may import the unit of the key. The ranks would allow more units.
IMPORTED_BY = {"_native": {"audio"}}

# The emulator has its own code for the wire format. If both sides used the same code, no test would
# fail when this code misreads the protocol.
FORBIDDEN_UNITS = {"emulator": {"wire", "sessions", "rest", "transport", "telephony"}}

# Only the units of a value may import the module of the key. The emulator is a server, so it uses
# sockets.
ALONE = {
    "_cffi_backend": {"_native"},
    # The library for WebRTC uses asyncio. A consumer of Django Channels is called in the event loop
    # of the server.
    "aioice": {"emulator"},
    "aiortc": {"emulator", "webrtc"},
    "asyncio": {"emulator", "transport", "webrtc"},
    "asgiref": {"transport", "web"},
    "attrs": set(RANKS) - {"_version", "errors", "_native"},
    # tools uses cattrs for the arguments of functions, because their types are defined by the user.
    "cattrs": {"models", "wire", "tools"},
    "celery": {"batch"},
    "certifi": {"transport"},
    "cffi": {"_native"},
    "click": {"cli"},
    "django": {"web"},
    "flask": {"web"},
    "fsspec": {"batch"},
    "livekit": {"audio"},
    "pygame": {"games"},
    "python_socks": {"transport"},
    "redis": {"limits"},
    "rich": {"cli"},
    "socket": {"transport", "emulator", "games", "telephony"},
    "sounddevice": {"devices"},
    "ssl": {"transport", "emulator"},
    "urllib3": {"transport"},
    "websocket": {"transport"},
    "websockets": {"emulator", "games"},
}

# These units use the module only in the type of an option, so only type checkers import it.
FOR_TYPES = {("client", "ssl"), ("models", "ssl")}

# The unit of a key may not import the modules of the value. `wire` uses no I/O, clock, thread or
# random number.
FORBIDDEN_MODULES = {
    "wire": {
        *("asyncio", "http", "io", "os", "pathlib", "select", "selectors", "socket", "ssl"),
        *("subprocess", "sys", "tempfile", "urllib.request"),
        *("datetime", "sched", "time"),
        *("_thread", "concurrent", "multiprocessing", "queue", "threading"),
        *("random", "secrets"),
    },
    "errors": {"asyncio", "socket", "ssl", "threading", "time"},
    "models": {"asyncio", "queue", "select", "socket", "subprocess", "threading", "time"},
}

# These modules are slow to import, so they are imported inside functions. The emulator needs numpy,
# but the emulator itself is imported only when it is used.
LAZY = {"numpy": set(RANKS) - {"emulator"}}


def faults_in(imports: list[Import]) -> list[str]:
    """Return each import that the tables above do not allow, with the reason."""
    return [f"{found}: {reason}" for found in imports if (reason := fault(found))]


def fault(found: Import) -> str | None:
    """Return why an import is not allowed, or None if it is allowed."""
    if found.relative:
        return "expected an absolute import"
    if found.target is not None:
        return fault_inside(found, found.target)
    module = found.module.partition(".")[0]
    if found.for_types and (found.unit, module) in FOR_TYPES:
        return None
    if found.unit and found.unit not in ALONE.get(module, RANKS):
        return f"{_only(ALONE[module])} may import {module}"
    # The full name is checked too, because urllib.parse handles text and urllib.request does I/O.
    if {module, found.module} & FORBIDDEN_MODULES.get(found.unit, set()):
        return f"{found.unit} may not import {found.module}"
    if found.unit in LAZY.get(module, ()) and found.runs_at_import:
        return f"{module} may be imported inside functions only"
    return None


def _only(units: set[str]) -> str:
    return f"only {' and '.join(sorted(units))}" if units else "no unit"


def fault_inside(found: Import, target: str) -> str | None:
    """Return why a file may not import a module of this package, or None for an allowed import."""
    if found.unit == "":
        if target == "_version" or not found.runs_at_import:
            return None
        return "the __init__.py of the package imports its names when they are used"
    if target == "" and found.unit == "cli":
        return None
    if target == "":
        return "expected an import of a module, not of the package"
    if target not in RANKS or found.unit not in RANKS:
        return "a unit without a rank"
    if target == found.unit:
        return None
    if RANKS[target] >= RANKS[found.unit]:
        return f"rank {RANKS[found.unit]} may import lower ranks only, got rank {RANKS[target]}"
    if found.unit not in IMPORTED_BY.get(target, RANKS):
        return f"only {' and '.join(sorted(IMPORTED_BY[target]))} may import {target}"
    if target in FORBIDDEN_UNITS.get(found.unit, ()):
        return f"{found.unit} may not import {target}"
    return None


def test_every_unit_has_a_rank() -> None:
    """Each file and folder of the package has a rank."""
    units = {
        UNIT_OF_FILE.get(path.stem, path.stem)
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert units == {"", *RANKS}


def test_imports() -> None:
    """Every import of the package is allowed."""
    assert faults_in(imports_of(PACKAGE)) == []


def test_no_import_circle() -> None:
    """No files import each other in a circle, even through other files or only for types."""
    assert circles(PACKAGE) == []


@pytest.mark.parametrize(
    "text",
    [
        "from inworld_sync.wire import b",
        "from inworld_sync.wire.b import B",
        "import inworld_sync.wire.b",
    ],
)
def test_planted_circle_is_found(text: str, tmp_path: Path) -> None:
    """A circle of two files is found, for each form of an import."""
    folder = tmp_path / "wire"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text(
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {text}\n"
    )
    (folder / "b.py").write_text("def f():\n    from inworld_sync.wire.a import A\n")

    assert circles(tmp_path) == [["wire.a", "wire.b"]]


def lines_over(folder: Path, most: int) -> dict[str, int]:
    """Return the files of a folder that have more than *most* lines, with their counts."""
    counts = {
        str(path.relative_to(folder)): len(path.read_text(encoding="utf-8").splitlines())
        for path in folder.rglob("*.py")
    }
    return {name: count for name, count in counts.items() if count > most}


def test_file_sizes() -> None:
    """No file has more lines than the limits allow. A longer file has more than one task."""
    assert lines_over(PACKAGE, 500) == {}
    assert lines_over(ROOT / "tests", 900) == {}


def test_number_of_files() -> None:
    """A reader of a folder can keep its files in mind."""
    assert len(list((PACKAGE / "sessions").rglob("*.py"))) <= 47
    assert len(list((PACKAGE / "sessions" / "realtime").glob("*.py"))) <= 18


# Each entry has a file, its text and a part of the reason. There is an entry for each kind of fault
# and for each place where an import can be.
PLANTED = [
    ("wire/a.py", "from inworld_sync.sessions import tts", "lower ranks only, got rank 4"),
    ("wire/a.py", "import inworld_sync.audio", "lower ranks only, got rank 2"),
    ("errors.py", "from inworld_sync import models", "lower ranks only, got rank 1"),
    ("auth.py", "from inworld_sync.transport.http import HttpClient", "got rank 3"),
    ("client.py", "import inworld_sync.cli.say", "got rank 8"),
    ("audio/a.py", "def f():\n    import inworld_sync.wire", "got rank 2"),
    ("audio/a.py", "class A:\n    from inworld_sync.wire import tts", "got rank 2"),
    (
        "audio/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import inworld_sync.wire",
        "got rank 2",
    ),
    ("audio/a.py", "import importlib\nimportlib.import_module('inworld_sync.wire')", "got rank 2"),
    ("audio/a.pyi", "import inworld_sync.wire", "got rank 2"),
    ("sessions/a.py", "import inworld_sync._native", "only audio may import _native"),
    ("sessions/a.py", "from inworld_sync import _native", "only audio may import _native"),
    ("emulator/a.py", "import inworld_sync.wire.tts", "emulator may not import wire"),
    ("emulator/a.py", "import inworld_sync.sessions.tts", "emulator may not import sessions"),
    ("sessions/a.py", "import inworld_sync", "not of the package"),
    ("sessions/a.py", "from ..wire import tts", "an absolute import"),
    ("sessions/a.py", "from . import tts", "an absolute import"),
    ("sessions/a.py", "import websocket", "only transport may import websocket"),
    ("sessions/a.py", "from websocket._core import WebSocket", "only transport may"),
    ("auth.py", "def f():\n    import urllib3.util", "only transport may import urllib3"),
    ("sessions/a.py", "import ssl", "only emulator and transport may import ssl"),
    ("models/a.py", "import ssl", "only emulator and transport may import ssl"),
    (
        "client.py",
        "import socket",
        "only emulator and games and telephony and transport may import socket",
    ),
    ("audio/a.py", "import sounddevice", "only devices may import sounddevice"),
    ("audio/a.py", "import cffi", "only _native may import cffi"),
    ("client.py", "import cattrs", "only models and tools and wire may import cattrs"),
    ("errors.py", "import attrs", "may import attrs"),
    ("sessions/a.py", "import asyncio", "may import asyncio"),
    ("client.py", "import click", "only cli may import click"),
    ("wire/a.py", "import threading", "wire may not import threading"),
    ("wire/a.py", "def f():\n    from time import monotonic", "wire may not import time"),
    ("wire/a.py", "import urllib.request", "wire may not import urllib"),
    ("models/a.py", "import time", "models may not import time"),
    ("audio/a.py", "import numpy as np", "numpy may be imported inside"),
    ("sound/a.py", "import inworld_sync.errors", "a unit without a rank"),
    ("audio/a.py", "import inworld_sync.sound", "a unit without a rank"),
    ("__init__.py", "from inworld_sync.client import Inworld", "when they are used"),
]


@pytest.mark.parametrize(("path", "text", "reason"), PLANTED)
def test_planted_fault_is_found(path: str, text: str, reason: str, tmp_path: Path) -> None:
    """A forbidden import is reported with its file, its line and the reason."""
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    found = faults_in(imports_of(tmp_path))

    assert len(found) == 1
    assert found[0].startswith(f"{path}:{len(text.splitlines())} imports ")
    assert reason in found[0]


# Each entry has a file and its text. The imports are allowed, but similar to forbidden imports.
ALLOWED = [
    ("sessions/a.py", "from inworld_sync.sessions import tts"),
    ("sessions/a.py", "from inworld_sync._version import __version__"),
    ("audio/a.py", "def f():\n    import numpy"),
    ("audio/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy"),
    ("models/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ssl"),
    ("__init__.py", "def __getattr__(name):\n    import inworld_sync.client"),
    ("cli/a.py", "import inworld_sync"),
    ("__main__.py", "from inworld_sync.cli import main"),
]


@pytest.mark.parametrize(("path", "text"), ALLOWED)
def test_allowed_import(path: str, text: str, tmp_path: Path) -> None:
    """An allowed import is not reported."""
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)

    assert faults_in(imports_of(tmp_path)) == []
