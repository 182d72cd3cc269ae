"""
Faults of public telephony programs do not occur in this package.

A docstring names the public issue in which a fault was reported. ``test_calls.py``,
``test_output.py`` and ``test_carriers.py`` test more of these faults.
"""

from __future__ import annotations

import struct

import pytest

from inworld_sync import AudioEncoding, MulawFormat, Speech
from inworld_sync.audio import g711
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.models.tts import WordTime
from inworld_sync.telephony import CallOptions, PreparedSessions, active_calls
from inworld_sync.telephony.audiosocket import AudioSocketCodec
from inworld_sync.telephony.calls import CallAudio, CallStart, WrongFormat
from inworld_sync.telephony.formats import MULAW
from inworld_sync.telephony.greeting import Greeting
from inworld_sync.telephony.output import CallOutput
from inworld_sync.telephony.twilio import TwilioCodec

from support.phone import (
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

# With this lead, the carrier has unheard audio at an interruption even on a busy machine.
LONG_LEAD = CallOptions(lead_ms=3000)


def speech(milliseconds: int = 200) -> Speech:
    words = (WordTime("Hello", 0, 150), WordTime("there.", 150, milliseconds))
    # The audio has both zeros of mu-law, which would be equal after decoding.
    audio = b"\x7f\xff" * 80 + mulaw(milliseconds)[160:]
    return Speech(audio, AudioEncoding.MULAW, 8000, words, tokens=("Hello there.",))


def interrupted_when(call: SimulatedCall, heard_ms: float, found: list[Service]):
    """Return a step in which the caller begins to speak after hearing *heard_ms* of audio."""

    def step(service: Service) -> None:
        found.append(service)
        [bridge] = active_calls()
        call.wait(lambda _: bridge._output.heard_ms >= heard_ms)
        speech_started(service)
        service.until("conversation.item.truncate")
        received(service, 1600)

    return step


def truncations(service: Service) -> dict[str, int]:
    """Return each truncation in real ms. For G.711, the message has a third of this number."""
    return {
        each["item_id"]: 3 * each["audio_end_ms"]
        for each in service.said("conversation.item.truncate")
    }


def test_second_answer_interrupted_before_its_first_mark() -> None:
    """
    If the second answer is interrupted, only this answer is truncated, at its own position.

    openai/openai-agents-js#1173, #1343, #1608; twilio-samples#45
    """
    found: list[Service] = []
    with SimulatedCall() as call:
        script = serve_call(
            connected,
            lambda service: answer(service, 1, mulaw(200)),
            lambda service: answer(service, 2, mulaw(5000)),
            interrupted_when(call, 260, found),
        )
        with realtime(script) as iw, iw.realtime.connect(session()) as rt:
            with in_call(call, rt, LONG_LEAD):
                call.wait(lambda _: found and len(found[0].said("conversation.item.truncate")))
                call.wait(lambda each: not each.queued_ms)

    assert ["item_a2"] == list(truncations(found[0])), "item 1 was heard to its end"
    assert 0 <= truncations(found[0])["item_a2"] <= call.heard_ms - 200
    assert 1 == call.clears


def test_queued_answer_is_truncated_at_0() -> None:
    """openclaw/openclaw#138619: an item that was never played is truncated at 0 ms."""
    found: list[Service] = []
    with SimulatedCall() as call:
        script = serve_call(
            connected,
            lambda service: answer(service, 1, mulaw(5000)),
            lambda service: answer(service, 2, mulaw(5000)),
            interrupted_when(call, 200, found),
        )
        with realtime(script) as iw, iw.realtime.connect(session()) as rt, in_call(call, rt):
            call.wait(lambda _: found and len(found[0].said("conversation.item.truncate")) == 2)

    assert 0 == truncations(found[0])["item_a2"]
    assert 0 < truncations(found[0])["item_a1"] <= call.heard_ms


def test_a_cleared_goodbye_does_not_hang_up() -> None:
    """vellum-ai/vellum-assistant#38316: if the goodbye is cleared, the call continues."""
    found: list[Service] = []
    with SimulatedCall() as call:
        script = serve_call(
            connected,
            lambda service: answer(service, 1, mulaw(5000), text="Goodbye."),
            interrupted_when(call, 200, found),
            lambda service: answer(service, 2, mulaw(300), text="Sure."),
        )
        with realtime(script) as iw, iw.realtime.connect(session()) as rt:
            with in_call(call, rt) as running:
                call.wait(lambda each: each.heard)
                running.bridge.hang_up()
                call.wait(lambda each: each.clears)
                cleared_at = len(call.heard)
                call.wait(lambda each: len(each.heard) >= cleared_at + 2400)
                call.wait(lambda _: running.bridge._output.is_idle)
                received_before = len(call.spoken)
                call.wait(lambda each: len(each.spoken) > received_before + 3200)

                assert not call.is_over
                running.bridge.hang_up()
                assert "hung_up" == running.summary().end


def test_the_session_is_opened_in_the_webhook() -> None:
    """openclaw/openclaw#85847: the call uses the session that the webhook has opened in advance."""
    prepared = PreparedSessions()
    with realtime(serve_call()) as iw, SimulatedCall() as call:
        opened = []

        def connect():
            opened.append(iw.realtime.connect(session()))
            return opened[-1]

        prepared.open(call.call_id, connect)
        prepared.open(call.call_id, connect)  # a webhook that the carrier repeats
        call.wait(lambda _: opened)
        with in_call(call, lambda start: prepared.pop(start.call_id, connect)) as running:
            call.wait(lambda _: running.bridge.session is not None)

            assert running.bridge.session is opened[0]
        assert 1 == len(opened)
        assert opened[0].ended is not None, "the bridge closes what it has opened"
    prepared.close()


def test_the_greeting_waits_for_the_stream() -> None:
    """openclaw/openclaw#29191, #29280: the greeting begins when the stream has begun."""
    greeting = speech()
    added = []

    def script(service: Service) -> None:
        service.open()
        added.append(service.until("conversation.item.create")["item"])
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(session()) as rt, SimulatedCall() as call:
        with in_call(call, rt, CallOptions(greeting=greeting)):
            call.wait(lambda _: added)

    assert greeting.data == call.heard
    assert "assistant" == added[0]["role"]
    assert "Hello there." == added[0]["content"][0]["text"]


def test_an_interrupted_greeting() -> None:
    """Only the words of the greeting that were heard are added to the conversation."""
    added = []

    def script(service: Service) -> None:
        service.open()
        call.wait(lambda each: each.heard)
        [bridge] = active_calls()
        call.wait(lambda _: bridge._output.heard_ms >= 300)
        speech_started(service)
        added.append(service.until("conversation.item.create")["item"])
        service.until_left()

    with SimulatedCall() as call, realtime(script) as iw, iw.realtime.connect(session()) as rt:
        with in_call(call, rt, CallOptions(greeting=speech(5000), lead_ms=3000)):
            call.wait(lambda _: added)

    assert "Hello" == added[0]["content"][0]["text"]
    assert 1 == call.clears


def test_a_text_greeting() -> None:
    """If the greeting is text, the model speaks the greeting as soon as the session is open."""
    asked = []

    def script(service: Service) -> None:
        service.open()
        asked.append(service.until("response.create")["response"])
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(session()) as rt, SimulatedCall() as call:
        with in_call(call, rt, CallOptions(greeting="Hello there.")):
            call.wait(lambda _: asked)

    assert asked[0]["instructions"].endswith("Hello there.")


def test_noise_does_not_interrupt() -> None:
    """elizaOS/eliza#19385: if the service reports no speech, loud noise does not interrupt."""
    noise = struct.pack("<1600h", *((-1) ** each * 9000 for each in range(1600))) * 5
    script = serve_call(connected, lambda service: answer(service, 1, mulaw(400)))
    with realtime(script) as iw, iw.realtime.connect(session()) as rt, SimulatedCall() as call:
        call.say(noise, 8000)
        with in_call(call, rt):
            call.wait(lambda each: each.heard_ms >= 400)

    assert 0 == call.clears
    assert mulaw(400) == call.heard


def test_an_a_law_call_with_a_mu_law_session() -> None:
    """dograh-hq/dograh#256: each direction has the format that the carrier announces."""
    got: list[bytes] = []
    script = serve_call(
        lambda service: got.append(received(service, 2400)),
        lambda service: answer(service, 1, mulaw(200)),
    )
    pcm = struct.pack("<2400h", *(each * 7 % 20000 - 10000 for each in range(2400)))
    with realtime(script) as iw, iw.realtime.connect(session(MulawFormat())) as rt:
        with SimulatedCall("telnyx", encoding="alaw") as call:
            call.say(pcm, 8000)
            with in_call(call, rt):
                call.wait(lambda each: each.heard_ms >= 200)

    caller = g711.encode_ulaw(g711.decode_alaw(g711.encode_alaw(call.spoken)))
    assert got[0] in caller
    assert g711.encode_alaw(g711.decode_ulaw(mulaw(200))) == call.heard


@pytest.mark.parametrize("size_bytes", [160, 100, 0, 641])
def test_a_frame_that_is_not_16_bit_audio(size_bytes: int) -> None:
    """CyCoreSystems/audiosocket#11: G.711 in a frame for linear audio is refused, not played."""
    frame = struct.pack("!BH", 0x10, size_bytes) + bytes(size_bytes)
    for rate_hz in (8000, None):
        found = AudioSocketCodec("id", rate_hz).read(frame)

        assert isinstance(found, WrongFormat)
        assert "c(slin)" in found.reason


def test_the_rate_is_that_of_the_frame() -> None:
    """The size of a frame decides the rate, since older versions of Asterisk send wrong types."""
    for kind in (0x10, 0x11, 0x12):
        codec = AudioSocketCodec("id", None)
        frame = struct.pack("!BH", kind, 640) + bytes(640)
        start = codec.read(frame)

        assert isinstance(start, CallStart)
        assert 16000 == start.sent.sample_rate_hz
        assert isinstance(codec.read(frame), CallAudio)
        assert frame == codec.media(bytes(640))


def test_drain_waits_for_the_ear() -> None:
    """NikolayShakin/pipecat-asterisk#5, #12: drain() waits until the caller has heard the reply."""
    script = serve_call(connected, lambda service: answer(service, 1, mulaw(300)))
    with realtime(script) as iw, iw.realtime.connect(session()) as rt, SimulatedCall() as call:
        with in_call(call, rt):
            call.wait(lambda each: each.heard)
            rt.drain(timeout=30)
            heard = call.heard

    assert mulaw(300) == heard


def test_the_callee_speaks_first() -> None:
    """langwatch/scenario#992: if the callee speaks first, the greeting is left out."""
    options = CallOptions(greeting=speech(), who_starts="callee", callee_timeout=30)
    script = serve_call(connected, speech_started, lambda service: answer(service, 1, mulaw(300)))
    with realtime(script) as iw, iw.realtime.connect(session()) as rt, SimulatedCall() as call:
        with in_call(call, rt, options):
            call.wait(lambda each: each.heard_ms >= 300)

    assert mulaw(300) == call.heard, "the model answers, and the greeting is left out"


def test_the_greeting_is_left_out_for_good() -> None:
    """If the callee speaks first, the greeting is not played, even after ``callee_timeout``."""
    greeting = Greeting(CallOptions(greeting=speech(), who_starts="callee", callee_timeout=3))
    output = CallOutput(MULAW, TwilioCodec.pacing)
    for elapsed in (1.0, 100.0):
        greeting.check(output, None, elapsed, has_spoken=True)

    assert output.is_idle


def test_the_lead_of_a_call() -> None:
    """Vonage/vonage-python-sdk#70: a call uses the lead of its options."""
    script = serve_call(connected, lambda service: answer(service, 1, mulaw(1000)))
    with realtime(script) as iw, iw.realtime.connect(session()) as rt, SimulatedCall() as call:
        with in_call(call, rt, CallOptions(lead_ms=600)):
            call.wait(lambda each: each.heard_ms >= 1000)

    assert call.most_queued_ms > 400


def test_a_silent_callee_is_greeted() -> None:
    """If the callee says nothing, the greeting is played after ``callee_timeout``."""
    options = CallOptions(greeting=speech(), who_starts="callee", callee_timeout=0.2)
    with realtime(serve_call()) as iw, iw.realtime.connect(session()) as rt:
        with SimulatedCall() as call, in_call(call, rt, options):
            call.wait(lambda each: each.heard_ms >= 200)

    assert len(call.line) // 2 / 8 - 200 >= 200
