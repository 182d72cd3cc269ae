"""The summary of a call says why the call has ended, and has the conversation so far."""

from __future__ import annotations

import threading

import pytest

from inworld_sync import AudioEncoding, ConfigError, ConnectionLost, QuotaError, Speech
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.telephony import (
    CallOptions,
    active_calls,
    bridge as bridge_module,
    drain,
    find_call,
    twilio,
)

from support.phone import Running, answer, connected, in_call, mulaw, serve_call, session
from support.scripted_realtime import Service, realtime


def speech(milliseconds: int, first: int = 0) -> Speech:
    return Speech(mulaw(milliseconds, first), AudioEncoding.MULAW, 8000)


GOODBYE = speech(200, 7)


def run(options: CallOptions, step=lambda call, running: None, *steps, carrier="twilio", **more):
    """Run a call until it ends, and return its summary and the call."""
    with SimulatedCall(carrier) as call:
        with realtime(serve_call(*steps)) as iw, iw.realtime.connect(session()) as rt:
            with in_call(call, rt, options, **more) as running:
                step(call, running)
                return running.summary(), call


def test_silence() -> None:
    """After silence of both sides, the speech of ``goodbye`` is played, and the call ends."""
    options = CallOptions(silence_timeout=0.3, goodbye=GOODBYE)
    summary, call = run(options)

    assert "silence" == summary.end
    assert GOODBYE.data == call.heard
    assert summary.error is None
    assert 200 == summary.heard_ms


def test_the_longest_duration() -> None:
    """After ``max_duration``, the present reply is played to its end, and then ``goodbye``."""
    options = CallOptions(max_duration=0.2, goodbye=GOODBYE)
    summary, call = run(
        options, lambda *_: None, connected, lambda service: answer(service, 1, mulaw(400))
    )

    assert "max_duration" == summary.end
    assert mulaw(400) + GOODBYE.data == call.heard
    assert "assistant: Yes." == summary.transcript


def test_voicemail() -> None:
    """If a voicemail is reported, the call ends, unless the option ``on_voicemail`` is set."""
    summary, _ = run(CallOptions(), lambda call, running: running.bridge.report_voicemail())
    assert "voicemail" == summary.end

    found = []

    def leave_message(each):
        found.append(each)
        each.hang_up(after_speech=False)

    options = CallOptions(on_voicemail=leave_message)
    summary, _ = run(options, lambda call, running: running.bridge.report_voicemail())
    assert "hung_up" == summary.end
    assert 1 == len(found)


def test_the_socket_breaks() -> None:
    """If the socket ends without a message of the carrier, the end is ``carrier_lost``."""

    class FeedOnly:
        def send(self, _):
            pass

    with realtime(serve_call()) as iw, iw.realtime.connect(session()) as rt:
        bridge = twilio.MediaStream(FeedOnly(), rt, verify=False)
        running = Running(bridge)
        bridge.feed(None)
        summary = running.summary()

    assert "carrier_lost" == summary.end
    assert isinstance(summary.error, ConnectionLost)
    assert "" == summary.call_id


def test_the_socket_refuses_audio() -> None:
    """If sending raises an error, the call ends, and the summary has the error."""

    class Broken:
        def __init__(self, call):
            self.call = call

        def receive(self, timeout=None):
            return self.call.socket.receive(timeout)

        def send(self, _):
            raise BrokenPipeError("gone")

    script = serve_call(connected, lambda service: answer(service, 1, mulaw(200)))
    with SimulatedCall() as call, realtime(script) as iw, iw.realtime.connect(session()) as rt:
        running = Running(twilio.MediaStream(Broken(call), rt, verify=False))
        call.start()
        summary = running.summary()

    assert "carrier_lost" == summary.end
    assert isinstance(summary.error, BrokenPipeError)


def test_a_stop_after_a_broken_send() -> None:
    """If a send fails just before the stop message arrives, the end is ``caller_hung_up``."""
    stopped = threading.Event()

    class Closing:
        def __init__(self, call):
            self.call = call

        def receive(self, timeout=None):
            if stopped.is_set():
                return '{"event":"stop"}'
            return self.call.socket.receive(timeout)

        def send(self, _):
            stopped.set()
            raise BrokenPipeError("gone")

    script = serve_call(connected, lambda service: answer(service, 1, mulaw(200)))
    with SimulatedCall() as call, realtime(script) as iw, iw.realtime.connect(session()) as rt:
        running = Running(twilio.MediaStream(Closing(call), rt, verify=False))
        call.start()
        summary = running.summary()

    assert "caller_hung_up" == summary.end


def test_the_carrier_sends_nothing() -> None:
    """If the carrier sends nothing for ``stall_timeout``, the call ends."""
    options = CallOptions(stall_timeout=0.5)
    summary, _ = run(options, lambda call, running: call.pause())

    assert "stalled" == summary.end
    assert "sent nothing for 0.5 s" in str(summary.error)


def test_the_carrier_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a call of ``send`` never returns, the phone call ends, and ``run`` returns."""
    monkeypatch.setattr(bridge_module, "_JOIN_SECONDS", 0.05)
    released = threading.Event()

    class Stuck:
        def __init__(self, call):
            self.call = call

        def receive(self, timeout=None):
            return self.call.socket.receive(timeout)

        def send(self, _):
            released.wait()

        def close(self):
            released.wait()

    script = serve_call(connected, lambda service: answer(service, 1, mulaw(200)))
    options = CallOptions(stall_timeout=0.5)
    with SimulatedCall() as call, realtime(script) as iw, iw.realtime.connect(session()) as rt:
        running = Running(twilio.MediaStream(Stuck(call), rt, verify=False, options=options))
        call.start()
        summary = running.summary()
        released.set()

    assert "stalled" == summary.end


@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "asterisk"])
def test_a_format_that_cannot_be_used(carrier) -> None:
    """If the codec of the call is not supported, the call ends before the caller hears anything."""
    with SimulatedCall(carrier, encoding="g722") as call, realtime(serve_call()) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt) as running:
            summary = running.summary()

    assert "wrong_codec" == summary.end
    assert "g722" in str(summary.error).lower()
    assert not call.heard


def test_the_model_is_lost() -> None:
    """If the session ends with an error, the summary has the conversation so far."""

    def script(service: Service) -> None:
        service.open()
        connected(service)
        answer(service, 1, mulaw(200))
        call.wait(lambda each: each.heard_ms >= 200)
        service.hang_up()

    with SimulatedCall() as call, realtime(script) as iw:
        with iw.realtime.connect(session(), reconnect_timeout=0) as rt:
            with in_call(call, rt) as running:
                summary = running.summary()

    assert "model_lost" == summary.end
    assert isinstance(summary.error, ConnectionLost)
    assert "assistant: Yes." == summary.transcript


def test_the_program_closes_the_session() -> None:
    """If the program closes the session, the call ends without an error."""
    with SimulatedCall() as call, realtime(serve_call()) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt) as running:
            call.wait(lambda _: running.bridge.session)
            rt.close()
            summary = running.summary()

    assert ("hung_up", None) == (summary.end, summary.error)


def test_the_apology_while_the_session_reconnects() -> None:
    """While the session reconnects, the caller hears an apology. Then the call continues."""
    lost = threading.Event()

    def first(service: Service) -> None:
        service.open()
        connected(service)
        lost.set()
        service.hang_up()

    def second(service: Service) -> None:
        call.wait(lambda each: each.heard_ms >= 200)
        serve_call(connected, lambda each: answer(each, 2, mulaw(100)))(service)

    options = CallOptions(apology=GOODBYE, apology_after=0.1)
    with SimulatedCall() as call, realtime(first, second) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt, options) as running:
            call.wait(lambda each: each.heard_ms >= 300)
            call.hang_up()
            summary = running.summary()

    assert GOODBYE.data + mulaw(100) == call.heard
    assert "caller_hung_up" == summary.end
    assert 0 == summary.lost_input_ms


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (QuotaError("too many sessions"), "no_capacity"),
        (ConnectionLost("no network"), "model_unavailable"),
        (RuntimeError("a bug of the program"), "model_unavailable"),
    ],
)
def test_a_spoken_refusal(error: Exception, end: str) -> None:
    """If no session can be opened, the speech of ``refusal`` is played, and the call ends."""

    def connect(_):
        raise error

    with SimulatedCall() as call:
        with in_call(call, connect, CallOptions(refusal=GOODBYE)) as running:
            summary = running.summary()

    assert end == summary.end
    assert error is summary.error
    assert GOODBYE.data == call.heard


def test_something_else_than_a_session() -> None:
    """If the function returns something else than a session, the error of the call says so."""
    with SimulatedCall() as call, in_call(call, lambda _: None) as running:
        summary = running.summary()

    assert "model_unavailable" == summary.end
    assert "must return a session" in str(summary.error)
    with pytest.raises(ConfigError, match="must be the session"):
        twilio.MediaStream(call.socket, None, verify=False)  # type: ignore[arg-type]


def test_a_shutdown() -> None:
    """``drain`` ends calls after their ``goodbye``, and returns how many calls have not ended."""
    left: list[int] = []

    def shut_down(call: SimulatedCall, running: Running) -> None:
        call.wait(lambda _: running.bridge.session)
        assert (running.bridge,) == active_calls()
        assert find_call(call.call_id) is running.bridge
        assert find_call("another") is None
        left.append(drain(0))
        left.append(drain(30))

    options = CallOptions(goodbye=GOODBYE)
    thread_summary, call = run(options, shut_down)

    assert "drained" == thread_summary.end
    assert [1, 0] == left or [0, 0] == left
    assert GOODBYE.data == call.heard


def test_unreadable_messages() -> None:
    """If messages of the carrier cannot be read, the call continues."""

    def disturb(call: SimulatedCall, running: Running) -> None:
        call.wait(lambda _: running.bridge.session)
        messages = (
            "{",
            "[]",
            '{"event":"media"}',
            '{"event":"media","media":{"payload":"*"}}',
            '{"event":"mark","mark":7}',
            '{"event":"dtmf","dtmf":{"digit":"xx"}}',
            '{"event":"unknown"}',
            b"\xff\xfe",
        )
        for message in messages:
            call.socket.deliver(message)
        call.press("5")
        call.wait(lambda _: running.bridge._keys.pressed == "5")
        call.hang_up()

    summary, _ = run(CallOptions(keys="events"), disturb)

    assert "caller_hung_up" == summary.end
    assert "5" == summary.keys


def test_a_handler_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of ``on_key`` is logged, and the call continues."""

    def fail(_):
        raise RuntimeError("a bug of the program")

    def press(call: SimulatedCall, running: Running) -> None:
        call.wait(lambda _: running.bridge.session)
        call.press("5")
        call.wait(lambda _: "on_key" in caplog.text)
        call.hang_up()

    summary, _ = run(CallOptions(on_key=fail), press)

    assert "caller_hung_up" == summary.end


@pytest.mark.parametrize(
    "wrong",
    [
        {"greeting": 5},
        {"greeting": " "},
        {"goodbye": "text"},
        {"who_starts": "caller"},
        {"keys": "all"},
        {"lead_ms": -1},
        {"lead_ms": float("nan")},
        {"max_duration": 0},
        {"stall_timeout": -1},
        {"apology": Speech(b"ID3", AudioEncoding.MP3, 24000)},
    ],
)
def test_wrong_options(wrong) -> None:
    """A wrong option is refused when the options are made."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CallOptions(**wrong)
