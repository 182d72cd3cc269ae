"""
Speech for web pages, in Flask and Django: streamed audio, server-sent events, and error responses.

The module of a name is imported when the name is first used. This package does not import Flask or
Django unless the program itself has imported it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inworld_sync.web.audio_response import stream_response as stream_response
    from inworld_sync.web.event_response import sse_response as sse_response
    from inworld_sync.web.failures import error_response as error_response
    from inworld_sync.web.origin import check_origin as check_origin
    from inworld_sync.web.page_script import script as script
    from inworld_sync.web.relay import Relay as Relay
    from inworld_sync.web.relay_list import drain_relays as drain_relays
    from inworld_sync.web.relay_models import (
        RelayEnd as RelayEnd,
        RelayOptions as RelayOptions,
        RelayStart as RelayStart,
        RelaySummary as RelaySummary,
    )
    from inworld_sync.web.user_limit import UserLimit as UserLimit
    from inworld_sync.web.utterances import Utterances as Utterances

# The module of each public name. A test compares this table with the imports above.
_HOMES = {
    "web.audio_response": "stream_response",
    "web.event_response": "sse_response",
    "web.failures": "error_response",
    "web.origin": "check_origin",
    "web.relay": "Relay",
    "web.relay_list": "drain_relays",
    "web.relay_models": "RelayEnd RelayOptions RelayStart RelaySummary",
    "web.user_limit": "UserLimit",
    "web.page_script": "script",
    "web.utterances": "Utterances",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}


if not TYPE_CHECKING:
    __all__ = [*_MODULES]

    def __getattr__(name: str) -> object:
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"inworld_sync.{module}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES})
