"""If a peer or a program breaks the rules, each call still ends in time, with a reason."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
import uuid

import attrs
import pytest

from inworld_sync import (
    AuthError,
    ConfigError,
    DeadlineExceeded,
    LocalProtocolError,
    PcmFormat,
)
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.telephony import (
    CallOptions,
    CallSummary,
    PreparedSessions,
    active_calls,
    audiosocket,
    control as control_module,
    drain,
    find_call,
    key_tones,
    twilio,
)
from inworld_sync.telephony.asterisk import AudioSocketServer, WebSocketCodec
from inworld_sync.telephony.calls import CallAudio, CallStart, CarrierFault, WrongFormat
from inworld_sync.telephony.heard import HeardClock
from inworld_sync.telephony.reorder import Reorder
from inworld_sync.telephony.telnyx import TelnyxCodec
from inworld_sync.telephony.telnyx_signature import TelnyxSignature
from inworld_sync.telephony.twilio import TwilioCodec, stream_twiml
from inworld_sync.telephony.twilio_signature import TwilioSignature
from inworld_sync.transport.framework_socket import FrameworkSocket

from support.phone import (
    Running,
    answer,
    connected,
    in_call,
    mulaw,
    received,
    serve_call,
    session,
    speech_started,
)
from support.scripted_realtime import Service, realtime

TOKEN = "12345678901234567890123456789012"
DIGITS = "9" * 5000


def test_numbers_of_any_length() -> None:
    """A number with too many digits for an int is ignored, or the error names its field."""
    media = {"payload": "/w==", "chunk": DIGITS, "timestamp": "9" * 400}
    found = TwilioCodec().read(json.dumps({"event": "media", "media": media}))
    assert CallAudio(b"\xff", None, None) == found

    clock = HeardClock(8000, 0.0, "marks")
    for name in (f"iw:0:{DIGITS}", f"iw:{DIGITS}:0"):
        assert not clock.handle_mark(name, 1.0)

    start = {"media_format": {"encoding": "PCMU", "sample_rate": DIGITS}}
    found = TelnyxCodec().read(json.dumps({"event": "start", "start": start}))
    assert isinstance(found, WrongFormat)

    for length in (DIGITS, "9" * 400):
        with pytest.raises(Exception, match="queue_length"):
            WebSocketCodec().read(f"STATUS queue_length:{length}")


def test_a_second_start_changes_nothing() -> None:
    """A second start message does not change the ids and the format of the call."""

    def start(stream_id: str, encoding: str) -> str:
        media = {"encoding": encoding, "sampleRate": 8000}
        body = {"callSid": "CA1", "streamSid": stream_id, "mediaFormat": media}
        return json.dumps({"event": "start", "streamSid": stream_id, "start": body})

    codec = TwilioCodec()
    assert isinstance(codec.read(start("MZ1", "audio/x-mulaw")), CallStart)
    for encoding in ("audio/x-mulaw", "audio/opus"):
        assert isinstance(codec.read(start("MZ2", encoding)), CarrierFault)
    assert "MZ1" in str(codec.media(b"\xff"))

    channel = WebSocketCodec()
    channel.read("MEDIA_START connection_id:c channel:x format:slin16")
    assert isinstance(channel.read("MEDIA_START format:opus"), CarrierFault)


def test_text_that_is_not_unicode() -> None:
    """If an error of the carrier has text that is not Unicode, the reason can still be encoded."""
    found = TelnyxCodec().read('{"event":"error","payload":{"title":"\\ud800"}}')

    assert isinstance(found, CarrierFault)
    found.reason.encode()


@pytest.mark.parametrize("size_bytes", [1, 321])
def test_half_a_sample(size_bytes: int) -> None:
    """Half a sample of 16-bit audio is dropped, so that the following audio is not noise."""
    codec = WebSocketCodec()
    codec.read("MEDIA_START connection_id:c channel:x format:slin16")
    found = codec.read(bytes(size_bytes))
    assert CallAudio(bytes(size_bytes - 1)) == found

    telnyx = TelnyxCodec("L16", 16000)
    start = {"media_format": {"encoding": "L16", "sample_rate": 16000}}
    telnyx.read(json.dumps({"event": "start", "start": start}))
    found = telnyx.read(json.dumps({"event": "media", "media": {"payload": "AAAA"}}))
    assert CallAudio(bytes(2)) == found


def test_a_count_that_begins_again_early() -> None:
    """If the numbers of messages begin again after a few seconds, the audio continues."""
    reorder, found = Reorder(), 0
    for number in (*range(1, 301), *range(1, 301)):
        found += len(list(reorder.add(CallAudio(b"", number))))

    assert found >= 585
    assert 0 == reorder.lost


@pytest.mark.parametrize("path", ["//[x", "/a#b", "//other/voice", "/\ud800"])
def test_odd_paths_are_not_signed(path: str) -> None:
    """A path that no carrier requests raises AuthError, and no other error."""
    signature = TwilioSignature("https://voice.example.com", auth_token=TOKEN)
    with pytest.raises(AuthError):
        signature.check_webhook(path, {"X-Twilio-Signature": "x"}, {})


@pytest.mark.parametrize("url", ["https://x:99999", "https://[", "https://user:pass-word@x"])
def test_odd_public_urls(url: str) -> None:
    """A wrong address is refused when the object is made. The error shows no password."""
    with pytest.raises(ConfigError, match="public_url") as caught:
        TwilioSignature(url, auth_token=TOKEN)
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("stamp", [DIGITS, "9" * 400, "", "-1", "1e9"])
def test_odd_times_of_a_webhook(stamp: str) -> None:
    """A webhook whose time cannot be read raises AuthError."""
    signature = TelnyxSignature("A" * 43 + "=")
    headers = {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": "AA=="}
    with pytest.raises(AuthError):
        signature.check_webhook(headers, b"{}")


@pytest.mark.parametrize("url", ["wss:///media", "wss://"])
def test_an_address_without_a_host(url: str) -> None:
    with pytest.raises(ConfigError):
        stream_twiml(url)


def test_an_asynchronous_socket() -> None:
    """A socket of an asynchronous framework is refused, since nothing would be sent."""

    class Asynchronous:
        async def send(self, data: object) -> None: ...

    with pytest.raises(ConfigError, match="async"):
        FrameworkSocket(Asynchronous(), "test")


def test_a_consumer_gets_binary_messages() -> None:
    """``send`` of a Channels consumer gets text and bytes in two different arguments."""
    sent: list[object] = []

    class Consumer:
        def send(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            sent.append((text_data, bytes_data))

    transport = FrameworkSocket(Consumer(), "test")
    transport.send("text")
    transport.send(b"bytes")
    assert [("text", None), (None, b"bytes")] == sent


class Babbling:
    """A socket that receives the same useless message again and again."""

    def receive(self, timeout: float) -> str:
        time.sleep(0.01)
        return '{"event":"connected"}'

    def send(self, _: object) -> None: ...


def test_a_call_that_never_starts() -> None:
    """If a peer sends messages but no start message, the call ends after ``stall_timeout``."""
    options = CallOptions(stall_timeout=0.3)
    with realtime(serve_call()) as iw, iw.realtime.connect(session()) as rt:
        running = Running(twilio.MediaStream(Babbling(), rt, verify=False, options=options))
        summary = running.summary()

    assert "stalled" == summary.end
    assert isinstance(summary.error, DeadlineExceeded)


def test_a_call_runs_once() -> None:
    """A second call of ``run`` raises an error, and sends no command to the carrier."""

    class Control:
        ended = 0

        def hang_up(self, _: str) -> None:
            self.ended += 1

        def transfer(self, call_id: str, target: str) -> None: ...

    control = Control()
    with SimulatedCall() as call, realtime(serve_call()) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt, control=control) as running:
            call.wait(lambda _: running.bridge.session)
            running.bridge.hang_up(after_speech=False)
            running.summary()
            with pytest.raises(LocalProtocolError, match="once"):
                running.bridge.run()

    assert 1 == control.ended


def test_a_control_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """``run`` does not wait for ever for the command that ends the call."""
    monkeypatch.setattr(control_module, "_HANG_UP_SECONDS", 0.1)
    released = threading.Event()

    class Control:
        def hang_up(self, _: str) -> None:
            released.wait(60)

        def transfer(self, call_id: str, target: str) -> None: ...

    with SimulatedCall() as call, realtime(serve_call()) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt, control=Control()) as running:
            call.wait(lambda _: running.bridge.session)
            running.bridge.hang_up(after_speech=False)
            summary = running.summary()
            released.set()

    assert "hung_up" == summary.end


def test_drain_waits_for_the_recording(tmp_path) -> None:
    """drain() counts a call until the recording is complete and the last command has returned."""
    commanded, released = threading.Event(), threading.Event()

    class Control:
        def hang_up(self, _: str) -> None:
            commanded.set()
            released.wait(30)

        def transfer(self, call_id: str, target: str) -> None: ...

    path = tmp_path / "call.wav"
    options = CallOptions(recording=path)
    with SimulatedCall() as call, realtime(serve_call()) as iw:
        with iw.realtime.connect(session()) as rt:
            with in_call(call, rt, options, control=Control()) as running:
                call.wait(lambda _: running.bridge.session)
                running.bridge.hang_up(after_speech=False)
                assert commanded.wait(30)
                assert 1 == drain(0)
                released.set()
                assert 0 == drain(30)
                assert path.exists()


def nothing() -> None: ...


def leave() -> None:
    raise SystemExit


@pytest.mark.parametrize("connect", [nothing, leave])
def test_a_webhook_that_opens_nothing(connect) -> None:
    """If the function of the webhook opens no session, the call does not wait for a session."""
    prepared = PreparedSessions()
    prepared.open("call", connect)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(prepared.pop("call", lambda: 5)))
    thread.daemon = True
    thread.start()
    thread.join(10)

    assert [5] == found
    prepared.close()


def test_the_caller_speaks_before_the_goodbye() -> None:
    """If the caller begins to speak before the model has said goodbye, the call continues."""
    found: list[Service] = []

    def script(service: Service) -> None:
        service.open()
        connected(service)
        service.created("resp_1")
        call.wait(lambda _: rt.is_responding)
        running.bridge.hang_up()
        call.wait(lambda _: running.bridge._closing is not None)
        found.append(service)
        speech_started(service)
        service.until("response.cancel")
        service.done("resp_1", "cancelled")
        received(service, 1600)  # the caller still speaks
        answer(service, 2, mulaw(300), text="Sure.")
        service.until_left()

    with SimulatedCall() as call, realtime(script) as iw, iw.realtime.connect(session()) as rt:
        with in_call(call, rt) as running:
            call.wait(lambda each: each.heard_ms >= 300 or each.is_over)
            assert mulaw(300) == call.heard
            assert not call.is_over


def test_speech_that_never_stops() -> None:
    """If the session is lost while the caller speaks, ``silence_timeout`` still ends the call."""
    lost = threading.Event()

    def first(service: Service) -> None:
        service.open()
        connected(service)
        speech_started(service)
        call.wait(lambda _: running.bridge._is_speaking)
        lost.set()
        service.hang_up()

    options = CallOptions(silence_timeout=0.5)
    with SimulatedCall() as call, realtime(first, serve_call()) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt, options) as running:
            assert lost.wait(30)
            running._thread.join(20)
            assert running._summary, "the call did not end"

    assert "silence" == running.summary().end


def slin(kind: int, payload: bytes) -> bytes:
    return struct.pack("!BH", kind, len(payload)) + payload


def test_a_slow_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sends its UUID byte by byte gets no more time than other peers."""
    monkeypatch.setattr(audiosocket, "_FIRST_SECONDS", 0.3)
    with AudioSocketServer(lambda _: None, port=0) as server:  # type: ignore[arg-type,return-value]
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.settimeout(0.05)
            began = time.monotonic()
            try:
                while time.monotonic() < began + 20:
                    peer.sendall(b"\x01")
                    try:
                        if not peer.recv(1):
                            break
                    except TimeoutError:
                        continue
            except OSError:
                pass
            assert time.monotonic() < began + 5


def test_a_slow_frame_does_not_stop_the_rules() -> None:
    """``max_duration`` ends a call even while a frame arrives byte by byte."""
    ends: list[object] = []
    with realtime(serve_call()) as iw:
        server = AudioSocketServer(
            lambda _: iw.realtime.connect(session(PcmFormat(8000))),
            port=0,
            on_end=ends.append,
            options=CallOptions(max_duration=0.3, stall_timeout=None),
        )
        with server, socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(slin(0x01, uuid.uuid4().bytes) + slin(0x10, bytes(320)))
            peer.sendall(b"\x10\xff\xfe")
            began = time.monotonic()
            try:
                while not ends and time.monotonic() < began + 20:
                    peer.sendall(b"\0")
                    time.sleep(0.02)
            except OSError:
                pass
            until = time.monotonic() + 20
            while not ends and time.monotonic() < until:
                time.sleep(0.01)
            assert ends
            assert time.monotonic() < began + 15


def test_the_server_survives_a_connection_without_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If a connection gets no thread, the server still accepts later connections."""
    real, failures = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        if self.name == "inworld-audiosocket-call" and not failures:
            failures.append(self)
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    asked: list[str] = []
    with AudioSocketServer(
        lambda _: None,  # type: ignore[arg-type,return-value]
        port=0,
        on_call=lambda each: bool(asked.append(each)),
    ) as server:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
                peer.sendall(slin(0x01, uuid.uuid4().bytes))
                with contextlib.suppress(ConnectionResetError):
                    assert b"" == peer.recv(1)

    assert 1 == len(asked)


def test_find_call_without_an_id() -> None:
    """``find_call`` with an empty id finds no call, even if the id of a call is empty."""
    with SimulatedCall("twilio", call_id=" ") as call, realtime(serve_call()) as iw:
        call._messages._facts = attrs.evolve(call._messages._facts, call_id="")
        with iw.realtime.connect(session()) as rt, in_call(call, rt) as running:
            call.wait(lambda _: running.bridge.start)
            assert active_calls()
            assert find_call("") is None


def test_a_key_when_the_session_has_ended() -> None:
    """A key that is pressed after the end of the session causes no error."""

    def script(service: Service) -> None:
        service.open()
        connected(service)
        answer(service, 1, mulaw(1500))
        call.wait(lambda each: each.heard)
        service.hang_up()

    with SimulatedCall() as call, realtime(script) as iw:
        with iw.realtime.connect(session(), reconnect_timeout=0) as rt:
            with in_call(call, rt) as running:
                call.wait(lambda _: rt.ended)
                call.press("5")
                summary = running.summary()

    assert "model_lost" == summary.end
    assert "5" == summary.keys


def test_the_server_is_closed_by_a_handler() -> None:
    """A handler of a call may close the server."""
    errors: list[Exception] = []

    def refuse(_: str) -> bool:
        try:
            server.close()
        except Exception as error:
            errors.append(error)
        return False

    server = AudioSocketServer(lambda _: None, port=0, on_call=refuse)  # type: ignore[arg-type,return-value]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
        peer.sendall(slin(0x01, uuid.uuid4().bytes))
        assert b"" == peer.recv(1)
    server.close()

    assert [] == errors


def test_keys_are_not_shown() -> None:
    """The repr of a summary hides keys, which may be secret. More than 100 keys are refused."""
    assert "4711" not in repr(CallSummary(end="hung_up", keys="4711"))
    with pytest.raises(ConfigError, match="100"):
        key_tones("1" * 101)
