"""
Connects phone calls with realtime sessions: Twilio, Telnyx and Asterisk.

::

    from inworld_sync.telephony import twilio

    summary = twilio.MediaStream(socket, session, ...).run()

The classes of the carriers are in :mod:`inworld_sync.telephony.twilio`,
:mod:`inworld_sync.telephony.telnyx` and :mod:`inworld_sync.telephony.asterisk`. A socket is any
object with ``send``, and with ``receive`` or ``recv``, such as a socket of flask-sock or
``websockets.sync``. If the server calls a function with each message instead, the function passes
the message to ``feed``.
"""

from __future__ import annotations

from inworld_sync.telephony.active import active_calls, current_call, drain, find_call
from inworld_sync.telephony.bridge import Bridge
from inworld_sync.telephony.calls import (
    Call,
    CallControl,
    CallEnd,
    CallStart,
    CallSummary,
    KeyControl,
)
from inworld_sync.telephony.formats import CallFormat
from inworld_sync.telephony.options import CallOptions
from inworld_sync.telephony.prepared import PreparedSessions
from inworld_sync.telephony.tones import key_tones
from inworld_sync.telephony.tools import hang_up, press_keys, transfer_tool

__all__ = [
    "Bridge",
    "Call",
    "CallControl",
    "CallEnd",
    "CallFormat",
    "CallOptions",
    "CallStart",
    "CallSummary",
    "KeyControl",
    "PreparedSessions",
    "active_calls",
    "current_call",
    "drain",
    "find_call",
    "hang_up",
    "key_tones",
    "press_keys",
    "transfer_tool",
]
