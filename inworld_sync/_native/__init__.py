"""
Loads the compiled C core, and selects its instruction set.

:data:`lib` has the functions and constants of ``csrc/include``; :data:`ffi` creates their
arguments. A call keeps the GIL (if there is one), because calls are short: a call for a message of
the service takes a few microseconds, and a call for 12 MB of base64 takes about 2 ms.

Only :mod:`inworld_sync.audio` imports this package.

Thread safety: any thread may call every function at any time. For the objects of the core, the
headers name the calls that need a lock; the classes of :mod:`inworld_sync.audio` have these locks.
"""

from __future__ import annotations

import os

from inworld_sync.errors import ConfigError

try:
    from inworld_sync._native import _core
except ImportError as error:
    if "subinterpreter" in str(error):
        raise ImportError(
            "inworld_sync cannot be used in an isolated sub-interpreter: use the main interpreter, "
            "for example with threads, or another process"
        ) from error
    raise ImportError(
        "the compiled core of inworld_sync cannot be loaded: reinstall inworld-sync for this "
        "Python (from a checkout: pip install -e .)"
    ) from error

__all__ = ["ffi", "force_level", "level", "levels", "lib"]

# The IW_ABI_VERSION of csrc/include/iw_api.h that this code is written for.
ABI_VERSION = 17


def check_abi(name: str, found: int) -> None:
    """Raise `ImportError` if the compiled module was built with another ABI version."""
    if found != ABI_VERSION:
        raise ImportError(
            f"{name} has ABI {found}, but inworld_sync needs {ABI_VERSION}: reinstall inworld-sync"
        )


check_abi("inworld_sync._native._core", _core.lib.IW_ABI_VERSION)

ffi = _core.ffi
lib = _core.lib


def _names() -> dict[str, int]:
    """Return the names of :func:`levels`, each with its number in C."""
    return {
        ffi.string(lib.iw_level_name(number)).decode(): number
        for number in range(lib.IW_LEVEL_COUNT)
        if lib.iw_level_supported(number)
    }


def levels() -> tuple[str, ...]:
    """Return the names of the instruction sets that this machine can run, slowest first."""
    return tuple(_names())


def level() -> str:
    """Return the instruction set in use: ``scalar``, ``avx2``, ``avx512`` or ``neon``."""
    return ffi.string(lib.iw_level_name(lib.iw_level_active())).decode()


def force_level(name: str | None) -> None:
    """
    Select the instruction set for the whole process.

    All instruction sets give the same results, bit for bit, so this call is only useful for tests
    and comparisons.

    Args:
        name: One of :func:`levels`; None means the best instruction set.

    Raises:
        ConfigError: This machine cannot run *name*, or there is no such instruction set.
    """
    known = _names()
    if name is not None and (not isinstance(name, str) or name not in known):
        raise ConfigError(
            f"the level must be one of {', '.join(known)} on this machine, got {name!r}"
        )
    lib.iw_level_force(lib.iw_level_best() if name is None else known[name])


_wanted = os.environ.get("INWORLD_SYNC_LEVEL")
if _wanted:
    try:
        force_level(_wanted)
    except ConfigError as error:
        raise ConfigError(f"INWORLD_SYNC_LEVEL: {error}") from None
