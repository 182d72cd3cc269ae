"""Calls over real sockets: WebSockets of ``websockets.sync``, and AudioSocket over TCP."""

from __future__ import annotations

import socket

from websockets.sync.server import ServerConnection

from inworld_sync import PcmFormat
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.telephony import CallSummary
from inworld_sync.telephony.asterisk import AudioSocketServer, WebSocketChannel
from inworld_sync.telephony.twilio import MediaStream

from support.phone import answer, connected, mulaw, serve_call, session, websocket_server
from support.scripted_realtime import realtime

AUDIO = mulaw(300)
SCRIPT = serve_call(connected, lambda service: answer(service, 1, AUDIO))


def test_a_websocket_of_twilio() -> None:
    """If the caller hangs up, a call over a real WebSocket ends."""
    with realtime(SCRIPT) as iw:

        def run(connection: ServerConnection) -> CallSummary:
            connect = lambda _: iw.realtime.connect(session())  # noqa: E731
            return MediaStream(connection, connect, verify=False).run()

        with websocket_server(run) as (url, summaries), SimulatedCall() as call:
            call.connect(url)
            call.wait(lambda each: len(each.heard) >= len(AUDIO))
            call.hang_up()
            call.wait(lambda _: summaries)

    assert AUDIO == call.heard
    assert "caller_hung_up" == summaries[0].end


def test_a_websocket_of_asterisk() -> None:
    """The program answers the call. When Asterisk closes the WebSocket, the call ends."""
    with realtime(SCRIPT) as iw:

        def run(connection: ServerConnection) -> CallSummary:
            connect = lambda _: iw.realtime.connect(session())  # noqa: E731
            return WebSocketChannel(connection, connect).run()

        with websocket_server(run) as (url, summaries), SimulatedCall("asterisk") as call:
            call.connect(url)
            call.wait(lambda each: len(each.heard) >= len(AUDIO))
            call.hang_up()
            call.wait(lambda _: summaries)

    assert AUDIO == call.heard
    assert "ANSWER" == call.messages[0]
    assert "caller_hung_up" == summaries[0].end


def test_audiosocket() -> None:
    """A call with an expected UUID is accepted, and a call with another UUID is refused."""
    summaries: list[CallSummary] = []
    expected: list[str] = []

    with realtime(SCRIPT) as iw:
        server = AudioSocketServer(
            lambda _: iw.realtime.connect(session(PcmFormat(8000))),
            port=0,
            on_call=lambda call_id: call_id in expected,
            on_end=summaries.append,
        )
        url = f"tcp://127.0.0.1:{server.port}"
        with server, SimulatedCall("audiosocket") as call, SimulatedCall("audiosocket") as other:
            other.connect(url)
            other.wait(lambda each: each.is_over)
            assert [] == summaries, "the call was refused"

            expected.append(call.call_id)
            call.connect(url)
            call.wait(lambda each: len(each.heard) >= len(AUDIO))
            call.press("5")
            call.hang_up()
            call.wait(lambda _: summaries)

    assert call.heard.startswith(AUDIO)
    assert ("caller_hung_up", call.call_id, "5") == (
        summaries[0].end,
        summaries[0].call_id,
        summaries[0].keys,
    )


def test_audiosocket_is_closed_during_a_call() -> None:
    """``close`` ends the calls in progress, even if another connection has sent no UUID."""
    summaries: list[CallSummary] = []
    with realtime(SCRIPT) as iw:
        server = AudioSocketServer(
            lambda _: iw.realtime.connect(session(PcmFormat(8000))), port=0, on_end=summaries.append
        )
        with SimulatedCall("audiosocket") as call:
            silent = socket.create_connection(("127.0.0.1", server.port))
            call.connect(f"tcp://127.0.0.1:{server.port}")
            call.wait(lambda each: each.heard)
            server.close()
            server.close()
            silent.close()

    assert "hung_up" == summaries[0].end
