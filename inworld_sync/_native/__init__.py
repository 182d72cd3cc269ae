"""
The compiled C core and its instruction sets.

Two modules of the same code: functions of :data:`hold` keep the GIL during the call, which is
right for less than about 20 microseconds of work; functions of :data:`release` let it go.
:data:`ffi` serves both. Buffers and pointers to plain types pass to either; a ``struct`` of
``iw_api.h`` belongs to :data:`hold`, whose :data:`ffi` this is.

Only :mod:`inworld_sync.audio` imports this package.

Thread safety: every function may be called from any thread at once.
"""

from __future__ import annotations

import os

from inworld_sync.errors import ConfigError

try:
    from inworld_sync._native import _hold, _release
except ImportError as error:
    raise ImportError(
        "the compiled core of inworld_sync does not load: reinstall inworld-sync for this Python "
        "(from a checkout: pip install -e .)"
    ) from error

__all__ = ["ffi", "force_level", "hold", "level", "levels", "release"]

# The IW_ABI_VERSION of csrc/include/iw_api.h that this code is written for.
ABI_VERSION = 12


def check_abi(name: str, found: int) -> None:
    """Refuse a compiled module that was built from another header."""
    if found != ABI_VERSION:
        raise ImportError(
            f"{name} has ABI {found}, this version needs {ABI_VERSION}: reinstall inworld-sync"
        )


check_abi("inworld_sync._native._hold", _hold.lib.IW_ABI_VERSION)
check_abi("inworld_sync._native._release", _release.lib.IW_ABI_VERSION)

ffi = _hold.ffi
hold = _hold.lib
release = _release.lib


def _names() -> dict[str, int]:
    """The levels that can run here, slowest first, with their numbers in C."""
    return {
        ffi.string(hold.iw_level_name(number)).decode(): number
        for number in range(hold.IW_LEVEL_COUNT)
        if hold.iw_level_supported(number)
    }


def levels() -> tuple[str, ...]:
    """Names of the instruction sets that this machine can run, slowest first."""
    return tuple(_names())


def level() -> str:
    """The name of the instruction set in use: ``scalar``, ``avx2``, ``avx512`` or ``neon``."""
    return ffi.string(hold.iw_level_name(hold.iw_level_active())).decode()


def force_level(name: str | None) -> None:
    """
    Use one instruction set from now on, in the whole process.

    Every level gives the same bits, so this serves tests and comparisons.

    Args:
        name: One of :func:`levels`; None means the best of them.

    Raises:
        ConfigError: This machine cannot run *name*, or there is no such level.
    """
    known = _names()
    if name is not None and name not in known:
        raise ConfigError(
            f"the level must be one of {', '.join(known)} on this machine, got {name!r}"
        )
    number = hold.iw_level_best() if name is None else known[name]
    for lib in (hold, release):
        lib.iw_level_force(number)


_wanted = os.environ.get("INWORLD_SYNC_LEVEL")
if _wanted:
    try:
        force_level(_wanted)
    except ConfigError as error:
        raise ConfigError(f"INWORLD_SYNC_LEVEL: {error}") from None
