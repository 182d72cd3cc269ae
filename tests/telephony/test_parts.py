"""The parts of a call: order of audio pieces, sockets, prepared sessions, keys and tools."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import numpy as np
import pytest

from inworld_sync import (
    AlawFormat,
    AudioError,
    ConfigError,
    LocalProtocolError,
    MulawFormat,
    PcmFormat,
)
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.locks import Event
from inworld_sync.telephony import (
    CallFormat,
    PreparedSessions,
    current_call,
    hang_up,
    key_tones,
    transfer_tool,
)
from inworld_sync.telephony.calls import CallAudio
from inworld_sync.telephony.formats import MULAW, FromCall
from inworld_sync.telephony.output import CallOutput
from inworld_sync.telephony.reorder import Reorder
from inworld_sync.transport.framework_socket import FrameworkSocket, SocketEnded

from support.phone import answer, connected, in_call, mulaw, received, serve_call, session
from support.scripted_realtime import Service, realtime

LOGGER = logging.getLogger("test")


def pieces(*numbers: int) -> tuple[list[int], Reorder]:
    reorder = Reorder()
    found = [
        int.from_bytes(piece.audio, "big")
        for number in numbers
        for piece in reorder.add(CallAudio(number.to_bytes(4, "big"), number))
    ]
    return found, reorder


def test_pieces_are_put_in_order() -> None:
    """Pieces that arrive in the wrong order are put in order, and no piece is lost."""
    found, reorder = pieces(1, 3, 2, 5, 4, 6, 9, 8, 7, 10)

    assert list(range(1, 11)) == found
    assert (0, 0) == (reorder.lost, reorder.late)


def test_a_lost_piece_is_not_waited_for_longer_than_100_ms() -> None:
    """A piece counts as lost after five later pieces. If it arrives after that, it is dropped."""
    found, reorder = pieces(1, 3, 4, 5, 6, 7, 2, 8, 8)

    assert [1, 3, 4, 5, 6, 7, 8] == found
    assert (1, 2) == (reorder.lost, reorder.late)


def test_a_new_count() -> None:
    """If the numbers begin again, no piece is lost. A piece without a number is passed on."""
    found, reorder = pieces(900, 901, 1, 2)
    assert [900, 901, 1, 2] == found
    assert (0, 0) == (reorder.lost, reorder.late)
    assert [CallAudio(b"x")] == list(reorder.add(CallAudio(b"x")))


class Blocking:
    """A socket whose ``recv`` has no timeout."""

    def __init__(self) -> None:
        self.messages = ["a", b"b", bytearray(b"c")]
        self.released = threading.Event()

    def recv(self) -> object:
        if self.messages:
            return self.messages.pop(0)
        self.released.wait()
        return None

    def send(self, _: object) -> None: ...


def test_a_socket_without_a_timeout() -> None:
    """A socket whose read blocks without a timeout is read on a separate thread."""
    socket = Blocking()
    transport = FrameworkSocket(socket, "test")

    assert ["a", b"b", b"c"] == [transport.receive(30) for _ in range(3)]
    assert transport.receive(0.01) is None
    socket.released.set()
    with pytest.raises(SocketEnded):
        transport.receive(30)


@pytest.mark.parametrize("end", [None, "", b""])
def test_the_end_of_a_socket(end: object) -> None:
    """If ``receive`` of a socket at once returns None or an empty message, the socket has ended."""

    class Ends:
        def receive(self, timeout: float) -> object:
            return end

        def send(self, _: object) -> None: ...

    with pytest.raises(SocketEnded):
        FrameworkSocket(Ends(), "test").receive(30)


def test_a_consumer_that_gets_messages() -> None:
    """Channels itself calls ``receive`` of a consumer, so the messages are passed to ``feed``."""

    class Consumer:
        def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            raise AssertionError

        def send(self, text_data: str | None = None) -> None: ...

    transport = FrameworkSocket(Consumer(), "test")
    transport.feed("x")
    assert "x" == transport.receive(30)
    transport.feed(None)
    with pytest.raises(SocketEnded):
        transport.receive(30)
    with pytest.raises(ConfigError, match="send"):
        FrameworkSocket(object(), "test")  # type: ignore[arg-type]


def test_too_many_messages_are_fed() -> None:
    """If too many messages wait, the call ends, so that the memory is limited."""

    class Sends:
        def send(self, _: object) -> None: ...

    transport = FrameworkSocket(Sends(), "test")
    for _ in range(4000):
        transport.feed("x")
    with pytest.raises(SocketEnded):
        for _ in range(4000):
            transport.receive(30)


def test_prepared_sessions_are_closed() -> None:
    """A session whose call never comes is closed, after a time or by ``close``."""
    with realtime(serve_call()) as iw:
        opened = []

        def connect():
            opened.append(iw.realtime.connect(session()))
            return opened[-1]

        for prepared in (PreparedSessions(0.01), PreparedSessions(600)):
            prepared.open("call", connect)
            until = time.monotonic() + 30
            while not (opened and prepared._sessions.get("call") is None):
                assert time.monotonic() < until
                if prepared._max_wait == 600 and len(opened) == 2:
                    prepared.close()
                time.sleep(0.01)
        with pytest.raises(ConfigError):
            prepared.open("", connect)
        while any(each.ended is None for each in opened):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert 2 == len(opened)


def test_a_prepared_session_that_failed() -> None:
    """If the session of the webhook could not be opened, the call tries to open it again, once."""
    prepared, calls = PreparedSessions(), []

    def connect():
        calls.append(None)
        raise OSError("no network")

    prepared.open("call", connect)
    with pytest.raises(OSError, match="no network"):
        prepared.pop("call", connect)
    assert 2 == len(calls)
    prepared.close()


def test_key_tones() -> None:
    """Each key has 200 ms of audio. A wrong key raises an error."""
    assert 2 * 1600 == len(key_tones("1")) == len(key_tones("d"))
    for wrong in ("", "E", "1 2", "ß"):
        with pytest.raises(ConfigError, match="digits"):
            key_tones(wrong)


class Control:
    """The commands of a carrier. A transfer fails if *error* is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.commands: list[tuple[str, ...]] = []
        self.done = Event()

    def hang_up(self, call_id: str) -> None:
        self.commands.append(("hang_up", call_id))

    def transfer(self, call_id: str, target: str) -> None:
        self.commands.append(("transfer", call_id, target))
        self.done.set()
        if self.error is not None:
            raise self.error


def calls_tool(name: str, arguments: str, then: str = "Bye."):
    """Return a script in which the model calls a function, and speaks after the output."""

    def script(service: Service) -> None:
        service.open()
        connected(service)
        service.created("r1")
        service.call("r1", "f1", "c1", name, arguments)
        service.done("r1", output=[])
        item = service.until("conversation.item.create")["item"]
        outputs.append(item["output"])
        service.acknowledge(service.commands[-1])
        request = service.until("response.create")
        answer(service, 2, mulaw(200), text=then, request=request)
        service.until_left()

    outputs: list[str] = []
    return script, outputs


@pytest.mark.parametrize("is_late", [False, True])
def test_the_model_transfers_the_call(monkeypatch, is_late) -> None:
    """
    The transfer waits until the caller has heard the model's words.

    With *is_late*, the words reach the output of the call after the end of their response.
    """
    if is_late:

        def push_late(*args: Any, **kwargs: Any) -> bool:
            control.done.wait(0.5)
            return push(*args, **kwargs)

        push = CallOutput.push
        monkeypatch.setattr(CallOutput, "push", push_late)
    tool = transfer_tool({"sales": "+4930123456"})
    control = Control()
    script, outputs = calls_tool("transfer", '{"target":"sales"}')
    settings = session()
    with SimulatedCall() as call, realtime(script) as iw:
        with iw.realtime.connect(_with_tools(settings, tool, hang_up)) as rt:
            with in_call(call, rt, control=control) as running:
                assert control.done.wait(30)
                heard = call.heard
                call.hang_up()
                summary = running.summary()

    assert mulaw(200) == heard
    assert [("transfer", call.call_id, "+4930123456")] == control.commands
    assert ("transferred", "+4930123456") == (summary.end, summary.target)
    assert "transferred when the caller has heard it" in outputs[0]


@pytest.mark.parametrize("carrier", ["twilio", "asterisk"])
def test_the_stream_ends_during_the_command(carrier) -> None:
    """If the carrier ends the stream before it answers the command, the call is transferred."""
    released = Event()

    class Slow(Control):
        def transfer(self, call_id: str, target: str) -> None:
            super().transfer(call_id, target)
            released.wait(30)

    control = Slow()
    with SimulatedCall(carrier) as call, realtime(serve_call()) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt, control=control) as running:
            running.bridge.transfer("+1", after_speech=False)
            assert control.done.wait(30)
            call.hang_up()
            summary = running.summary()
            released.set()

    assert ("transferred", "+1") == (summary.end, summary.target)


def test_a_transfer_that_fails() -> None:
    """If the carrier refuses a transfer, the model gets a message, and the call continues."""
    control = Control(OSError("refused"))
    added = []

    def script(service: Service) -> None:
        service.open()
        added.append(service.until("conversation.item.create")["item"])
        service.until("response.create")
        service.until_left()

    with SimulatedCall() as call, realtime(script) as iw, iw.realtime.connect(session()) as rt:
        with in_call(call, rt, control=control) as running:
            running.bridge.transfer("+1", after_speech=False)
            call.wait(lambda _: added)
            running.bridge.hang_up(after_speech=False)
            summary = running.summary()

    assert "hung_up" == summary.end
    assert summary.target is None
    assert "The transfer failed." == added[0]["content"][0]["text"]
    assert ("hang_up", call.call_id) in control.commands


def test_the_model_hangs_up() -> None:
    """The tool ``hang_up`` ends the call when the caller has heard the model's next words."""
    script, outputs = calls_tool("hang_up", "{}")
    with SimulatedCall() as call, realtime(script) as iw:
        with iw.realtime.connect(_with_tools(session(), hang_up)) as rt:
            with in_call(call, rt) as running:
                summary = running.summary()

    assert "hung_up" == summary.end
    assert mulaw(200) == call.heard
    assert "Say goodbye" in outputs[0]


def test_unknown_targets() -> None:
    """The model cannot transfer a call to a number that is not in the list of targets."""
    tool = transfer_tool({"sales": "+4930123456"})

    assert "The targets are: sales." in tool("+900 123")
    assert "+4930123456" not in str(tool.definition)
    for wrong in ({}, {"a\nb": "+1"}):
        with pytest.raises(ConfigError, match="transfer_tool"):
            transfer_tool(wrong)


def test_tools_outside_a_call() -> None:
    """``current_call`` outside a tool, and a transfer without a control, raise clear errors."""
    with pytest.raises(LocalProtocolError, match="outside a tool"):
        current_call()
    with SimulatedCall() as call, realtime(serve_call()) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt) as running:
            with pytest.raises(ConfigError, match="control="):
                running.bridge.transfer("+1")
            with pytest.raises(ConfigError, match="digits"):
                running.bridge.send_keys("x")


def _with_tools(settings, *tools):
    import attrs

    return attrs.evolve(settings, tools=tools)


def test_encoded_audio_is_sent_unchanged() -> None:
    """Bytes in the input format of the session are sent unchanged, in messages of 100 ms."""
    got: list[bytes] = []
    audio = bytes(range(256)) * 10
    script = serve_call(lambda service: got.append(received(service, 2400)))
    with realtime(script) as iw, iw.realtime.connect(session()) as rt:
        for start in range(0, len(audio), 160):
            rt.send_audio(audio[start : start + 160], is_encoded=True)
        with pytest.raises(AudioError, match="must be bytes"):
            rt.send_audio(np.zeros(10, np.int16), is_encoded=True)
        rt.commit()
        until = time.monotonic() + 30
        while not got and time.monotonic() < until:
            time.sleep(0.01)

    assert audio[:2400] == got[0]


def test_a_reply_is_in_progress() -> None:
    """``is_responding`` is true from the request of a reply until the end of the reply."""
    ended = threading.Event()

    def speak(service: Service) -> None:
        request = service.until("response.create")
        ended.wait(30)
        answer(service, 1, mulaw(20), request=request)

    with realtime(serve_call(speak)) as iw, iw.realtime.connect(session()) as rt:
        assert not rt.is_responding
        response = rt.respond()
        assert rt.is_responding
        ended.set()
        response.wait()
        assert not rt.is_responding


def test_the_fixture(phone_call) -> None:
    """The pytest fixture makes calls, with the arguments of ``SimulatedCall``."""
    with realtime(serve_call()) as iw, iw.realtime.connect(session()) as rt:
        call = phone_call("telnyx", encoding="mulaw", call_id="c1")
        with in_call(call, rt) as running:
            call.wait(lambda _: running.bridge.session)
            call.hang_up()
            assert "c1" == running.summary().call_id


def test_the_format_of_the_caller() -> None:
    """Audio is decoded only if the formats differ. Otherwise, its bytes are unchanged."""
    both_zeros = b"\x7f\xff"

    assert (both_zeros, True) == FromCall(MULAW).convert(both_zeros, MulawFormat())
    assert (bytes(4), False) == FromCall(MULAW).convert(both_zeros, AlawFormat())
    assert (bytes(4), False) == FromCall(MULAW).convert(both_zeros, None)
    pcm = CallFormat("pcm", 16000)
    assert (b"\1\2", True) == FromCall(pcm).convert(b"\1\2", PcmFormat(16000))
    assert (b"\1\2", False) == FromCall(pcm).convert(b"\1\2", PcmFormat(8000))
