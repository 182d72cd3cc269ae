"""Each name of inworld_sync.realtime can be imported. This loads only the module of the name."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from inworld_sync.models import realtime

NAMES = [
    (part, name)
    for part in realtime._PARTS
    for name in import_module(f"{realtime.__name__}.{part}").__all__
]


def test_imports_for_type_checkers() -> None:
    """The imports for type checkers name all modules of the package."""
    source = Path(str(realtime.__file__)).read_text(encoding="utf-8")
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    imported = [
        (statement.module, [alias.name for alias in statement.names])
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
    ]

    assert imported == [(f"{realtime.__name__}.{part}", ["*"]) for part in sorted(realtime._PARTS)]


@pytest.mark.parametrize(("part", "name"), NAMES)
def test_every_name_imports(part: str, name: str) -> None:
    """Each name is the object of the module that defines it, and dir() lists the name."""
    assert getattr(realtime, name) is getattr(import_module(f"{realtime.__name__}.{part}"), name)
    assert name in dir(realtime)
    assert name in realtime.__all__


def test_no_name_twice() -> None:
    """A name is defined in only one module."""
    assert sorted(set(realtime.__all__)) == sorted(realtime.__all__)


def test_unknown_name() -> None:
    """An unknown name raises AttributeError."""
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = realtime.Nothing


def test_settings_load_no_events() -> None:
    """A program that makes settings does not load the event classes."""
    code = (
        "import sys\n"
        "from inworld_sync import Inworld, SemanticVad, Session, tool\n"
        "Session(turn_detection=SemanticVad())\n"
        "print(*(name for name in sys.modules if name.endswith('events')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "models.realtime" not in done.stdout
