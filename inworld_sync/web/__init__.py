"""
Provides speech for web pages of Flask and Django: audio, server-sent events, and conversations.

This package imports Flask or Django only if the program has imported the same framework.
"""

from __future__ import annotations

from inworld_sync.web.audio_response import stream_response
from inworld_sync.web.event_response import sse_response
from inworld_sync.web.failures import error_response
from inworld_sync.web.origin import check_origin
from inworld_sync.web.page_script import script
from inworld_sync.web.relay import Relay
from inworld_sync.web.relay_list import drain_relays
from inworld_sync.web.relay_models import RelayEnd, RelayOptions, RelayStart, RelaySummary
from inworld_sync.web.user_limit import UserLimit
from inworld_sync.web.utterances import Utterances

__all__ = [
    "Relay",
    "RelayEnd",
    "RelayOptions",
    "RelayStart",
    "RelaySummary",
    "UserLimit",
    "Utterances",
    "check_origin",
    "drain_relays",
    "error_response",
    "script",
    "sse_response",
    "stream_response",
]
