"""
Implements an emulator of Inworld's service: the same protocols, with real speech.

A name is imported when it is first used. The speech engines are loaded at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inworld_sync.emulator.faults import Fault as Fault, FaultKind as FaultKind
    from inworld_sync.emulator.phone.call import SimulatedCall as SimulatedCall
    from inworld_sync.emulator.realtime.chat import ChatReplies as ChatReplies
    from inworld_sync.emulator.realtime.replies import (
        ReplyMaker as ReplyMaker,
        ReplyRequest as ReplyRequest,
        ToolCall as ToolCall,
    )
    from inworld_sync.emulator.realtime.settings import RealtimeSettings as RealtimeSettings
    from inworld_sync.emulator.server import Emulator as Emulator
    from inworld_sync.emulator.settings import Settings as Settings
    from inworld_sync.emulator.synthesis import Synthesizer as Synthesizer
    from inworld_sync.emulator.voices import EmulatedVoice as EmulatedVoice

# The module of each public name. A test compares this with the imports above.
_HOMES = {
    "emulator.faults": "Fault FaultKind",
    "emulator.phone.call": "SimulatedCall",
    "emulator.realtime.chat": "ChatReplies",
    "emulator.realtime.replies": "ReplyMaker ReplyRequest ToolCall",
    "emulator.realtime.settings": "RealtimeSettings",
    "emulator.server": "Emulator",
    "emulator.settings": "Settings",
    "emulator.synthesis": "Synthesizer",
    "emulator.voices": "EmulatedVoice",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:
    __all__ = [*_MODULES]

    def __getattr__(name: str) -> object:
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f"inworld_sync.{module}"), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "a module").partition(".")[0]
            if missing == "inworld_sync":
                raise
            raise ModuleNotFoundError(
                f"the emulator needs the extra 'local' ({missing} is missing): "
                "pip install 'inworld-sync[local]'",
                name=error.name,
            ) from error

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES})
