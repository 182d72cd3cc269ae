"""Calls of all carriers with a scripted model: what is heard, interruptions, keys and ends."""

from __future__ import annotations

import threading

import pytest

from inworld_sync.emulator.phone import SimulatedCall

from support.phone import answer, connected, in_call, mulaw, serve_call, session
from support.scripted_realtime import Service, realtime


def test_the_bytes_are_those_of_the_service() -> None:
    """With equal formats, the caller hears the bytes of the service, without a change."""
    audio = bytes(range(256)) * 31 + b"\x7f\x80" * 16  # with both zeros of mu-law

    script = serve_call(connected, lambda service: answer(service, 1, audio))
    with realtime(script) as iw, iw.realtime.connect(session()) as rt:
        with SimulatedCall("twilio") as call, in_call(call, rt) as running:
            call.wait(lambda each: len(each.heard) >= len(audio))
            call.hang_up()
            summary = running.summary()

        assert audio == call.heard
        assert "caller_hung_up" == summary.end
        assert call.call_id == summary.call_id
