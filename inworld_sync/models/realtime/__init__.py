"""
Exports the values of a realtime session: its settings, the conversation, commands and events.

The values are frozen attrs classes without behavior. Settings are checked when they are made, so a
wrong setting raises :class:`~inworld_sync.errors.ConfigError` before anything is sent.

A module is loaded when one of its names is first used, so that a program that makes the settings
of a session does not load a hundred classes of events before it connects.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inworld_sync.models.realtime.base import *
    from inworld_sync.models.realtime.commands import *
    from inworld_sync.models.realtime.events import *
    from inworld_sync.models.realtime.formats import *
    from inworld_sync.models.realtime.items import *
    from inworld_sync.models.realtime.provider_data import *
    from inworld_sync.models.realtime.response_events import *
    from inworld_sync.models.realtime.responses import *
    from inworld_sync.models.realtime.session import *
    from inworld_sync.models.realtime.tools import *
    from inworld_sync.models.realtime.turns import *

# A module imports only earlier modules of this list. So the search for a name loads as few modules
# as possible.
_PARTS = (
    "base",
    "formats",
    "turns",
    "tools",
    "provider_data",
    "session",
    "items",
    "responses",
    "commands",
    "events",
    "response_events",
)


def _names() -> list[str]:
    return [name for part in _PARTS for name in import_module(f"{__name__}.{part}").__all__]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "__all__":
            return _names()
        for part in () if name.startswith("_") else _PARTS:
            module = import_module(f"{__name__}.{part}")
            if name in module.__all__:
                globals()[name] = value = getattr(module, name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_names()})
