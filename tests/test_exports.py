"""The public names can be imported, and all lists of public names are equal."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import inworld_sync
import inworld_sync.emulator
import inworld_sync.games
import inworld_sync.realtime

FACADES = (inworld_sync, inworld_sync.realtime, inworld_sync.emulator)
NAMES = [(facade, name) for facade in FACADES for name in facade._MODULES]


def for_type_checkers(facade: ModuleType) -> dict[str, list[str]]:
    """Return the names that are imported under ``if TYPE_CHECKING``, for each module."""
    tree = ast.parse(Path(str(facade.__file__)).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    found: dict[str, list[str]] = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        assert statement.module is not None
        names = found.setdefault(statement.module.removeprefix("inworld_sync."), [])
        for alias in statement.names:
            if alias.name == "*":
                names.extend(import_module(statement.module).__all__)
            else:
                assert alias.asname == alias.name, "only this form makes a name public"
                names.append(alias.name)
    return found


@pytest.mark.parametrize("facade", FACADES)
def test_type_checkers_see_every_name(facade: ModuleType) -> None:
    """Type checkers and programs see the same names, from the same modules."""
    homes = {module: sorted(names.split()) for module, names in facade._HOMES.items()}
    if facade is inworld_sync.realtime:
        homes["models.realtime"] = sorted(import_module("inworld_sync.models.realtime").__all__)
    found = {module: sorted(names) for module, names in for_type_checkers(facade).items()}

    assert found == homes


def test_realtime_has_all_models() -> None:
    """inworld_sync.realtime has the names of all realtime models."""
    names = import_module("inworld_sync.models.realtime").__all__

    assert set(names) <= set(inworld_sync.realtime.__all__)
    assert all(getattr(inworld_sync.realtime, name) is not None for name in names)


@pytest.mark.parametrize(("facade", "name"), NAMES)
def test_every_name_imports(facade: ModuleType, name: str) -> None:
    """Every public name can be imported, is in dir(), and is the object of its own module."""
    home = import_module(f"inworld_sync.{facade._MODULES[name]}")

    assert getattr(facade, name) is getattr(home, name)
    assert name in dir(facade)
    assert name in home.__all__


def test_games_has_its_names() -> None:
    """Each public name of inworld_sync.games is also public in the module that defines it."""
    games = inworld_sync.games

    assert len(set(games.__all__)) == len(games.__all__)
    for name in games.__all__:
        found = getattr(games, name)
        if home := getattr(found, "__module__", ""):
            assert name in import_module(home).__all__


@pytest.mark.parametrize("facade", FACADES)
def test_no_name_twice(facade: ModuleType) -> None:
    """Each public name comes from only one module."""
    assert sorted(set(facade.__all__)) == sorted(facade.__all__)


def test_no_two_public_classes_share_a_name() -> None:
    """No two public classes have the same name, because a handler could get the wrong class."""
    homes: dict[str, set[type]] = {}
    for facade in (*FACADES, inworld_sync.games):
        for name in facade.__all__:
            if inspect.isclass(found := getattr(facade, name)):
                homes.setdefault(name, set()).add(found)

    assert {} == {name: found for name, found in homes.items() if len(found) > 1}


@pytest.mark.parametrize("facade", FACADES)
def test_unknown_name(facade: ModuleType) -> None:
    """An unknown name raises AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = facade.Nothing
