"""The public names: every one imports, and all places that list them agree."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import inworld_sync

SOURCE = Path(inworld_sync.__file__).read_text(encoding="utf-8")


def for_type_checkers() -> dict[str, list[str]]:
    """Read the imports under ``if TYPE_CHECKING``: for each module the names it gives."""
    (block,) = (node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    found: dict[str, list[str]] = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        assert statement.module is not None
        for alias in statement.names:
            assert alias.asname == alias.name, "only this form makes a name public"
        module = statement.module.removeprefix("inworld_sync.")
        found.setdefault(module, []).extend(alias.name for alias in statement.names)
    return found


def test_type_checkers_see_what_there_is() -> None:
    """What a type checker imports is what a program gets, from the same places."""
    assert for_type_checkers() == inworld_sync._HOMES


@pytest.mark.parametrize("name", inworld_sync.__all__)
def test_every_name_imports(name: str) -> None:
    """Every public name can be imported, and is shown by dir()."""
    assert getattr(inworld_sync, name) is not None
    assert name in dir(inworld_sync)


@pytest.mark.parametrize("name", inworld_sync._MODULES)
def test_homes_export_their_names(name: str) -> None:
    """A public name is public where it lives, too, and is the same thing."""
    home = import_module(f"inworld_sync.{inworld_sync._MODULES[name]}")

    assert name in home.__all__
    assert getattr(home, name) is getattr(inworld_sync, name)


def test_no_name_twice() -> None:
    """A name has one home."""
    assert sorted(set(inworld_sync.__all__)) == sorted(inworld_sync.__all__)


def test_unknown_name() -> None:
    """A name that does not exist is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = inworld_sync.Nothing
