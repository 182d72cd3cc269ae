"""
An emulator that speaks the wire of the three services, with real speech.

Nothing heavy is imported before a name is used; the engines load when they first speak or listen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inworld_sync.emulator.faults import Fault, FaultKind
    from inworld_sync.emulator.realtime.chat import ChatReplies
    from inworld_sync.emulator.realtime.replies import ReplyMaker, ReplyRequest, ToolCall
    from inworld_sync.emulator.realtime.settings import RealtimeSettings
    from inworld_sync.emulator.server import Emulator
    from inworld_sync.emulator.settings import Settings
    from inworld_sync.emulator.synthesis import Synthesizer
    from inworld_sync.emulator.voices import EmulatedVoice

__all__ = [
    "ChatReplies",
    "EmulatedVoice",
    "Emulator",
    "Fault",
    "FaultKind",
    "RealtimeSettings",
    "ReplyMaker",
    "ReplyRequest",
    "Settings",
    "Synthesizer",
    "ToolCall",
]

_HOMES = {
    "ChatReplies": "realtime.chat",
    "Emulator": "server",
    "Fault": "faults",
    "FaultKind": "faults",
    "RealtimeSettings": "realtime.settings",
    "ReplyMaker": "realtime.replies",
    "ReplyRequest": "realtime.replies",
    "Settings": "settings",
    "Synthesizer": "synthesis",
    "ToolCall": "realtime.replies",
    "EmulatedVoice": "voices",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        missing = (error.name or "a module").partition(".")[0]
        if missing == __name__.partition(".")[0]:
            raise
        raise ModuleNotFoundError(
            f"the emulator needs the extra 'local' ({missing} is missing): "
            "pip install 'inworld-sync[local]'",
            name=error.name,
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
