"""Calls of all carriers with a scripted model: the heard audio, interruptions, keys and ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.telephony import CallOptions

from support.phone import (
    answer,
    connected,
    in_call,
    mulaw,
    received,
    serve_call,
    session,
    session_of,
    speech_started,
)
from support.scripted_realtime import Service, realtime

OTHERS = ["telnyx", "asterisk", "audiosocket"]


@pytest.fixture(params=["twilio", *OTHERS])
def any_call(request: pytest.FixtureRequest) -> Iterator[SimulatedCall]:
    with SimulatedCall(request.param) as each:
        yield each


@pytest.fixture(params=["twilio", *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)])
def call(request: pytest.FixtureRequest) -> Iterator[SimulatedCall]:
    with SimulatedCall(request.param) as each:
        yield each


def heard(size_bytes: int):
    return lambda call: len(call.heard) >= size_bytes


def test_the_bytes_are_those_of_the_service(any_call: SimulatedCall) -> None:
    """If both formats are equal, the caller hears the unchanged bytes of the service."""
    call = any_call
    audio = bytes(range(256)) * 5  # 160 ms of mu-law with both zeros

    script = serve_call(connected, lambda service: answer(service, 1, audio))
    with realtime(script) as iw, iw.realtime.connect(session_of(call)) as rt:
        with in_call(call, rt) as running:
            call.wait(heard(len(audio)))
            call.hang_up()
            summary = running.summary()

    assert audio == call.heard
    assert call.error is None
    assert "caller_hung_up" == summary.end
    assert call.call_id == summary.call_id
    assert "assistant: Yes." == summary.transcript


def test_the_model_gets_the_bytes_of_the_caller(call: SimulatedCall) -> None:
    """If both formats are equal, the model gets the unchanged bytes of the caller."""
    pcm = b"\x84\x82\x7c\x7d\x00\x00" * 240
    got: list[bytes] = []

    script = serve_call(lambda service: got.append(received(service, 2400)))
    with realtime(script) as iw, iw.realtime.connect(session_of(call)) as rt:
        call.say(pcm, 8000)
        with in_call(call, rt):
            call.wait(lambda _: got)

    sent = call.spoken if call.encoding == "pcm" else _mulaw_of(call.spoken)
    assert got[0] in sent, "AudioSocket drops the first frame"


def _mulaw_of(pcm: bytes) -> bytes:
    from inworld_sync.audio import g711

    return g711.encode_ulaw(pcm)


def test_interruption(any_call: SimulatedCall) -> None:
    """A reply that is interrupted stops at once, and is truncated to the part that was heard."""
    call = any_call
    audio = mulaw(10000) if call.encoding == "mulaw" else mulaw(20000)
    truncated: list[dict[str, object]] = []

    def interrupt(service: Service) -> None:
        received(service, 1600)
        speech_started(service)
        truncated.append(service.until("conversation.item.truncate"))

    script = serve_call(connected, lambda service: answer(service, 1, audio), interrupt)
    with realtime(script) as iw, iw.realtime.connect(session_of(call)) as rt:
        # With this lead, the carrier has unheard audio at the interruption even on a busy machine.
        with in_call(call, rt, CallOptions(lead_ms=3000)) as running:
            call.wait(lambda _: truncated)
            call.wait(lambda each: not each.queued_ms)
            call.wait(lambda _: running.bridge._output.is_idle)
            stopped_ms = call.heard_ms
            summary_heard_ms = running.bridge._output.heard_ms

    [command] = truncated
    # For G.711, the service converts samples to ms as if the sample rate were 24 kHz.
    scale = 3 if call.encoding == "mulaw" else 1
    assert "item_a1" == command["item_id"]
    heard_ms = scale * int(str(command["audio_end_ms"]))
    assert heard_ms <= stopped_ms < 10000
    assert abs(summary_heard_ms - heard_ms) <= 3
    assert call.clears == (call.carrier != "audiosocket")
    assert 1 == running.summary().interruptions
    assert audio.startswith(call.heard)


def test_no_clear_without_unheard_audio(call: SimulatedCall) -> None:
    """If the caller speaks after all audio was heard, nothing is cleared or truncated."""
    audio = mulaw(200) if call.encoding == "mulaw" else mulaw(400)

    def speak(service: Service) -> None:
        answer(service, 1, audio)
        call.wait(heard(len(audio)))
        call.wait(lambda _: bridge[0]._output.is_idle)
        speech_started(service)
        received(service, 1600)

    bridge = []
    sessions: list[Service] = []

    def script(service: Service) -> None:
        sessions.append(service)
        serve_call(connected, speak)(service)

    with realtime(script) as iw, iw.realtime.connect(session_of(call)) as rt:
        with in_call(call, rt) as running:
            bridge.append(running.bridge)
            call.wait(lambda _: rt.conversation and len(sessions[0].commands) > 12)
            summary = running.bridge._summary()

    assert 0 == call.clears
    assert 0 == summary.interruptions
    assert [] == sessions[0].said("conversation.item.truncate")


def test_keys(call: SimulatedCall) -> None:
    """Each key is reported when it is pressed. All keys together become one message of the user."""
    pressed: list[str] = []
    asked: list[str] = []

    def ask(service: Service) -> None:
        item = service.until("conversation.item.create")["item"]
        asked.append(item["content"][0]["text"])
        service.until("response.create")

    options = CallOptions(on_key=pressed.append, key_timeout=30)
    script = serve_call(ask)
    with realtime(script) as iw, iw.realtime.connect(session_of(call)) as rt:
        with in_call(call, rt, options) as running:
            call.wait(lambda _: rt.stats and running.bridge.session)
            call.press("12*")
            call.press("#")
            call.wait(lambda _: asked)

    assert ["1", "2", "*", "#"] == pressed
    assert ["The caller pressed these keys on the phone: 1 2 * #"] == asked
    assert "12*#" == running.summary().keys


def test_keys_to_the_other_side() -> None:
    """If the carrier has no command for keys, the keys are sent as tones in the audio."""
    with SimulatedCall() as call, realtime(serve_call()) as iw:
        with iw.realtime.connect(session()) as rt, in_call(call, rt) as running:
            running.bridge.send_keys("5#")
            call.wait(lambda each: each.heard_ms >= 400)

    assert 400 == call.heard_ms
    assert {770, 1336} == _tones(call, 0)
    assert {941, 1477} == _tones(call, 200)


def _tones(call: SimulatedCall, at_ms: int) -> set[int]:
    import numpy as np

    from inworld_sync.audio import g711

    pcm = np.frombuffer(g711.decode_ulaw(call.heard), "<i2")[at_ms * 8 : at_ms * 8 + 800]
    frequencies = (697, 770, 852, 941, 1209, 1336, 1477, 1633)
    wave = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(800)) / 8000)
    levels = np.abs(wave @ pcm.astype(float))
    return {frequencies[each] for each in np.argsort(levels)[-2:]}


def test_the_model_hangs_up_the_call(call: SimulatedCall) -> None:
    """``hang_up`` waits until the reply was heard, and then ends the call."""
    audio = mulaw(240) if call.encoding == "mulaw" else mulaw(480)
    script = serve_call(connected, lambda service: answer(service, 1, audio, text="Goodbye."))
    with realtime(script) as iw, iw.realtime.connect(session_of(call)) as rt:
        with in_call(call, rt) as running:
            call.wait(lambda each: each.heard)
            running.bridge.hang_up()
            summary = running.summary()

    assert audio == call.heard
    assert "hung_up" == summary.end
    assert call.is_over


def test_the_caller_hangs_up_before_the_session_is_open(call: SimulatedCall) -> None:
    """If the caller hangs up while the session opens, the session is closed after it has opened."""
    opened: list[RealtimeSession] = []

    with realtime(serve_call()) as iw:

        def connect(_):
            call.wait(lambda each: each.is_over)
            opened.append(iw.realtime.connect(session_of(call)))
            return opened[0]

        with in_call(call, connect) as running:
            call.wait(lambda _: running.bridge.start is not None)
            call.hang_up()
            summary = running.summary()
        until = time.monotonic() + 30
        while (not opened or opened[0].ended is None) and time.monotonic() < until:
            time.sleep(0.01)

    assert "caller_hung_up" == summary.end
    assert () == summary.conversation
    assert opened[0].ended is not None


def test_early_words_are_kept(call: SimulatedCall) -> None:
    """The model also gets the audio that the caller sent before the session was open."""
    pcm = b"\x84\x82\x7c\x7d" * 240
    got: list[bytes] = []

    script = serve_call(lambda service: got.append(received(service, 3200)))
    with realtime(script) as iw:

        def connect(start):
            assert call.call_id == start.call_id
            call.wait(lambda each: len(each.spoken) >= len(pcm))
            return iw.realtime.connect(session_of(call))

        call.say(pcm, 8000)
        with in_call(call, connect):
            call.wait(lambda _: got)

    sent = call.spoken if call.encoding == "pcm" else _mulaw_of(call.spoken)
    assert sent.find(got[0]) in (0, 320), "the model gets the first words first"
