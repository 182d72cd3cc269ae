"""
Exports all public classes of realtime sessions: settings, items, commands, events and results.

The classes that most programs use can also be imported from ``inworld_sync``. A module is loaded
when one of its names is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from inworld_sync.locks import imports

if TYPE_CHECKING:
    from inworld_sync.models.events import *
    from inworld_sync.models.realtime import *
    from inworld_sync.sessions.realtime.events import (
        ApprovalRequested as ApprovalRequested,
        Interrupted as Interrupted,
        ResponseStarted as ResponseStarted,
        SessionReconnected as SessionReconnected,
        ToolCalled as ToolCalled,
        ToolOutputSent as ToolOutputSent,
    )
    from inworld_sync.sessions.realtime.player import Player as Player
    from inworld_sync.sessions.realtime.response import Response as Response
    from inworld_sync.sessions.realtime.session import RealtimeSession as RealtimeSession
    from inworld_sync.tools.function import tool as tool
    from inworld_sync.wire.realtime.endpoint import RealtimeEndpoint as RealtimeEndpoint
    from inworld_sync.wire.realtime.session_config import (
        McpServer as McpServer,
        SessionConfig as SessionConfig,
        TurnDetectionConfig as TurnDetectionConfig,
    )

# The modules of the names that are not in models.realtime. A test compares this table with the
# imports.
_HOMES = {
    "models.events": "InvalidMessage StreamEnded UnknownEvent",
    "wire.realtime.endpoint": "RealtimeEndpoint",
    "wire.realtime.session_config": "McpServer SessionConfig TurnDetectionConfig",
    "sessions.realtime.events": (
        "ApprovalRequested Interrupted ResponseStarted SessionReconnected ToolCalled ToolOutputSent"
    ),
    "sessions.realtime.player": "Player",
    "sessions.realtime.response": "Response",
    "sessions.realtime.session": "RealtimeSession",
    "tools.function": "tool",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}


def _names() -> list[str]:
    models: list[str] = import_module("inworld_sync.models.realtime").__all__
    return [*_MODULES, *models]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "__all__":
            return _names()
        try:
            with imports:
                module = import_module(f"inworld_sync.{_MODULES.get(name, 'models.realtime')}")
            globals()[name] = value = getattr(module, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_names()})
