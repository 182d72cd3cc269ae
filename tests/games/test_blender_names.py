"""
Tests of ``games.blender`` without Blender. ``tests/games/blender.py`` has the tests in Blender.
"""

from __future__ import annotations

import importlib.util

import pytest

from inworld_sync import ConfigError
from inworld_sync.games.blender import add_sound, matching_set


@pytest.mark.parametrize(
    ("names", "shapes"),
    [
        (["Basis", "jawOpen", "mouthPucker", "eyeBlinkLeft"], "arkit"),
        (["viseme_PP", "viseme_aa"], "oculus"),
        (["PP", "aa", "ou"], "openxr"),
        (["a", "i", "u", "e", "o"], "vrm0"),
        (["A", "B", "C", "X"], "rhubarb"),
    ],
)
def test_the_set_of_a_mesh(names: list[str], shapes: str) -> None:
    """The function chooses the set that shares the most names with the mesh."""
    assert shapes == matching_set(names)


def test_no_shape_of_a_mouth() -> None:
    """If no name belongs to a set, the error has the names of the mesh."""
    with pytest.raises(ConfigError, match="Basis, smile"):
        matching_set(["Basis", "smile"])


def test_without_blender() -> None:
    """Outside of Blender, the error says which package must be installed."""
    assert importlib.util.find_spec("bpy") is None
    with pytest.raises(ModuleNotFoundError, match="pip install bpy"):
        add_sound("a.wav")
