"""A level is a set of instructions. Levels are listed, and are selected by name or by variable."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from inworld_sync import _native
from inworld_sync.audio import levels
from inworld_sync.errors import ConfigError

CPUINFO = Path("/proc/cpuinfo")
SCRIPT = "from inworld_sync import _native; print(_native.level(), *_native.levels())"


def run(wanted: str | None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ}
    environment.pop("INWORLD_SYNC_LEVEL", None)
    if wanted is not None:
        environment["INWORLD_SYNC_LEVEL"] = wanted
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=60
    )


def test_scalar_is_always_supported() -> None:
    """The level of plain C is supported on every machine."""
    assert _native.levels()[0] == "scalar"


@pytest.mark.skipif(not CPUINFO.exists(), reason="needs Linux's list of features")
def test_levels_match_the_cpu() -> None:
    """The supported levels match the CPU features that the operating system reports."""
    words = set(CPUINFO.read_text().split())
    avx512 = {"avx512f", "avx512bw", "avx512vl", "avx512_vbmi", "avx512vbmi"}
    expected = ["scalar"]
    if {"avx2", "bmi1", "bmi2"} <= words:
        expected.append("avx2")
        if len(avx512 & words) == 4:
            expected.append("avx512")
    if platform.machine() == "aarch64":
        expected.append("neon")

    assert tuple(expected) == _native.levels()


@pytest.mark.parametrize("name", _native.levels())
def test_force_level(name: str) -> None:
    """A selected level stays in use until None selects the best level again."""
    try:
        _native.force_level(name)
        number = getattr(_native.lib, f"IW_LEVEL_{name.upper()}")

        assert name == _native.level()
        assert number == _native.lib.iw_level_active()
    finally:
        _native.force_level(None)
    assert _native.levels()[-1] == _native.level()


def test_force_an_unsupported_level() -> None:
    """A level that this machine cannot run raises an error and changes nothing."""
    missing = ({"avx2", "neon"} - set(_native.levels())).pop()
    before = _native.level()
    with pytest.raises(ConfigError, match=f"got '{missing}'"):
        _native.force_level(missing)

    assert before == _native.level()


@pytest.mark.parametrize("number", [-1, 4, 1000])
def test_numbers_that_are_no_level(number: int) -> None:
    """C refuses a number that is not a level, and returns no name for the number."""
    before = _native.lib.iw_level_active()

    assert _native.lib.iw_level_supported(number) == 0
    assert _native.lib.iw_level_force(number) == _native.lib.IW_UNSUPPORTED
    assert _native.lib.iw_level_name(number) == _native.ffi.NULL
    assert before == _native.lib.iw_level_active()


def test_best_level_without_the_variable() -> None:
    """If the environment variable is missing or empty, the best level is used."""
    best = _native.levels()[-1]

    assert [best, best] == [run(wanted).stdout.split()[0] for wanted in (None, "")]


@pytest.mark.parametrize("name", _native.levels())
def test_variable_forces_a_level(name: str) -> None:
    """INWORLD_SYNC_LEVEL selects the level at import."""
    assert name == run(name).stdout.split()[0]


def test_variable_with_an_unknown_level() -> None:
    """If the variable has an unknown level, the import raises an error that names the variable."""
    process = run("fastest")

    assert process.returncode != 0
    assert "INWORLD_SYNC_LEVEL: the level must be one of scalar" in process.stderr
    assert "got 'fastest'" in process.stderr


def test_audio_shows_the_level() -> None:
    """level() of the audio package returns the level in use."""
    assert levels.level() in levels.levels() == _native.levels()
