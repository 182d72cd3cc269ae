"""The stub file, the ABI number and the texts of statuses match the compiled module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from inworld_sync import _native
from inworld_sync._native import _core

STUB = Path(_native.__file__).with_name("_core.pyi")


def members_of(class_name: str) -> set[str]:
    """Return the names that a class of the stub file declares."""
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return {
                member.target.id if isinstance(member, ast.AnnAssign) else member.name
                for member in node.body
                if isinstance(member, (ast.AnnAssign, ast.FunctionDef))
            }
    raise AssertionError(f"{STUB.name} has no class {class_name}")


def test_stub_names_every_function() -> None:
    """The stub file declares exactly the names of the compiled module."""
    assert set(dir(_core.lib)) == members_of("Lib")


def test_stub_names_of_ffi_exist() -> None:
    """ffi has every name that the stub file declares in the class FFI."""
    assert members_of("FFI") <= set(dir(_native.ffi))


@pytest.mark.parametrize("found", [_native.ABI_VERSION - 1, _native.ABI_VERSION + 1])
def test_abi_mismatch(found: int) -> None:
    """A compiled module with another ABI number raises an error that says what to do."""
    with pytest.raises(ImportError, match=f"has ABI {found}, .* reinstall inworld-sync"):
        _native.check_abi("a module", found)


def test_every_status_has_a_text() -> None:
    """Each status of the header has its own text."""
    statuses = [name for name in dir(_native.lib) if name.startswith("IW_") and is_status(name)]
    words = {
        _native.ffi.string(_native.lib.iw_status_text(getattr(_native.lib, name)))
        for name in statuses
    }

    assert len(statuses) == len(words)
    assert b"an unknown status" not in words


def is_status(name: str) -> bool:
    return name in _native.ffi.typeof("enum iw_status").relements


@pytest.mark.parametrize("number", [1, -999, 2**31 - 1, -(2**31)])
def test_unknown_status_has_a_text(number: int) -> None:
    """A number that is not a status also has a text."""
    text = _native.ffi.string(_native.lib.iw_status_text(number))

    assert text == b"an unknown status"
