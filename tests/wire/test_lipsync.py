"""Visemes are read in several forms. A form that is not known is kept unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inworld_sync.models.tts import Viseme
from inworld_sync.wire import tts

SHAPES = (Viseme("sil", 0, 100), Viseme("PP", 100, 250))

FORMS: list[Any] = [
    {
        "visemes": ["sil", "PP"],
        "visemeStartTimeSeconds": [0, 0.1],
        "visemeEndTimeSeconds": [0.1, 0.25],
    },
    {
        "viseme_symbols": ["sil", "PP"],
        "start_time_seconds": [0, 0.1],
        "duration_seconds": [0.1, 0.15],
    },
    {"visemes": [
        {"viseme": "sil", "startTimeSeconds": 0, "durationSeconds": 0.1},
        {"viseme": "PP", "startTimeSeconds": 0.1, "durationSeconds": 0.15},
    ]},
    {"keyframes": [
        {"shape": "sil", "time_seconds": 0},
        {"shape": "PP", "time_seconds": 0.1, "end_time_seconds": 0.25},
    ]},
    [
        {"visemeSymbol": "sil", "start": 0, "end": 0.1},
        {"visemeSymbol": "PP", "start": 0.1, "end": 0.25},
    ],
]  # fmt: skip


def read(alignment: object, name: str = "lipsyncAlignment") -> tuple[tts.AudioReceived, list[str]]:
    chunk = {"audioContent": "AAA=", "timestampInfo": {name: alignment}}
    warnings: list[str] = []
    message = {"result": {"contextId": "c1", "audioChunk": chunk}}
    event = tts.read(json.dumps(message), None, warnings)
    assert isinstance(event, tts.AudioReceived)
    return event, warnings


@pytest.mark.parametrize("name", ["lipsyncAlignment", "lipsync_alignment"])
@pytest.mark.parametrize("form", FORMS)
def test_forms(form: object, name: str) -> None:
    """Lists of columns and lists of objects, in several spellings, are read as the same visemes."""
    event, warnings = read(form, name)

    assert (SHAPES, {}, []) == (event.visemes, event.extra, warnings)


def test_weights_and_new_names() -> None:
    """The weight of a viseme is read. An unknown name of a viseme is kept."""
    event, _ = read([{"viseme": "new", "start": 1, "end": 2, "weight": 0.5}])

    assert (Viseme("new", 1000, 2000, 0.5),) == event.visemes


@pytest.mark.parametrize("form", [None, {}, [], {"visemes": []}])
def test_none(form: object) -> None:
    """Audio without visemes is read without an error."""
    event, warnings = read(form)

    assert ((), {}, []) == (event.visemes, event.extra, warnings)


UNKNOWN: list[Any] = [
    5,
    "sil",
    [5],
    {"visemes": ["sil"], "visemeStartTimeSeconds": []},
    {"weights": [[0.5] * 15]},
    [{"viseme": 3, "start": 0}],
    [{"viseme": "PP", "start": "0"}],
    [{"viseme": "PP", "start": 1e99}],
]


@pytest.mark.parametrize("form", UNKNOWN)
def test_unknown_forms(form: object) -> None:
    """An unknown form is kept unchanged, a warning is added, and the audio is returned."""
    event, warnings = read(form)

    assert ("AAA=", (), {"lipsyncAlignment": form}) == (event.audio, event.visemes, event.extra)
    assert ["lipsyncAlignment"] == warnings
