"""Tests of the streams, the queue and the final states of responses."""

from __future__ import annotations

import base64
import gc
import io
import itertools
import threading
import wave
from pathlib import Path
from typing import Any

import pytest

from inworld_sync import (
    AudioError,
    ClosedError,
    ConnectionLost,
    DeadlineExceeded,
    InworldError,
    NullSpeaker,
    QuotaError,
    ServiceError,
    WavSink,
)
from inworld_sync.audio import g711, pcm
from inworld_sync.models.realtime import (
    AudioDelta,
    ManualTurns,
    Message,
    PingReceived,
    ResponseConfig,
    ResponseDone,
    Session,
)
from inworld_sync.sessions.realtime.events import InvalidMessage, ResponseStarted
from inworld_sync.sessions.realtime.response import Response

from support.scripted_realtime import Event, Service, obedient, place, realtime, response
from support.sound_card import until

SAMPLES = bytes(range(256)) * 18 + bytes(192)


def once(*steps: Any) -> Any:
    """Return a script that runs the steps with a request and waits until the client closes."""

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        for step in steps:
            step(service, request)
        service.until_left()

    return script


# Text and speech.


def test_text_is_streamed() -> None:
    """The pieces of a response can be read while the response is in progress."""
    go_on = threading.Event()

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        service.item("r1", "a1")
        service.transcript("r1", "a1", "Hel")
        go_on.wait(30)
        service.transcript("r1", "a1", "lo.")
        service.item_done("r1", "a1", "Hello.")
        service.done("r1")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hi")
        pieces = reply.text_stream(timeout=30)
        first = next(pieces)
        state = (reply.status, reply.text, reply.id)
        go_on.set()

        assert ("Hel", ("in_progress", "Hel", "r1")) == (first, state)
        assert ["lo."] == list(pieces)
        assert ("completed", "Hello.") == (reply.status, reply.text)


def test_text_and_speech_are_independent() -> None:
    """Text and speech are two streams. The program can read one stream without the other."""
    with realtime(obedient) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("one two")
        spoken = b"".join(chunk.pcm for chunk in reply.audio)
        written = "".join(reply.text_stream())

        assert (4800, "You said one two ") == (len(spoken), written)
        assert [] == list(reply.text_stream())


def test_speech_is_saved(tmp_path: Path) -> None:
    """The speech of a response is saved as a WAV file with the same samples."""

    def speak(service: Service, request: Event) -> None:
        service.speak(request, 1, "Hi", SAMPLES)

    with realtime(once(speak)) as iw, iw.realtime.connect() as rt:
        rt.respond().audio.save(tmp_path / "reply.wav")

    with wave.open(str(tmp_path / "reply.wav")) as file:
        assert (24000, SAMPLES) == (file.getframerate(), file.readframes(10_000))


def test_speech_is_saved_to_an_open_file() -> None:
    """Speech is saved to an open file in the requested format, and the file stays open."""

    def speak(service: Service, request: Event) -> None:
        service.speak(request, 1, "Hi", SAMPLES)

    content = io.BytesIO()
    with realtime(once(speak)) as iw, iw.realtime.connect() as rt:
        rt.respond().audio.save(content, format="wav")

    content.seek(0)
    with wave.open(content) as file:
        assert (24000, SAMPLES) == (file.getframerate(), file.readframes(10_000))


# (the session's output format, the audio that the service sends, the same audio as PCM).
FORMATS = [
    ("g711_ulaw", SAMPLES, g711.decode_ulaw(SAMPLES)),
    ("g711_alaw", SAMPLES, g711.decode_alaw(SAMPLES)),
    ("float32", pcm.f32_from_s16(SAMPLES), SAMPLES),
    ("pcm16", SAMPLES, SAMPLES),
]


@pytest.mark.parametrize(("name", "sent", "expected"), FORMATS, ids=[f[0] for f in FORMATS])
def test_speech_of_any_format_is_pcm(name: str, sent: bytes, expected: bytes) -> None:
    """In every format of the session, the samples are 16-bit PCM with the rate of the format."""
    session = Session(output_format=name)  # type: ignore[arg-type]

    def speak(service: Service, request: Event) -> None:
        service.created("r1", request)
        for start in range(0, len(sent), 1001):  # some pieces end inside a sample
            service.audio("r1", "a1", sent[start : start + 1001])
        service.done("r1")

    with realtime(once(speak)) as iw, iw.realtime.connect(session) as rt:
        speech = rt.respond().audio.read()

    assert session.output_format is not None
    assert (session.output_format.sample_rate_hz, expected) == (speech.sample_rate_hz, speech.pcm)


def test_speech_is_played(tmp_path: Path) -> None:
    """Speech plays to the last sample on a speaker of the same rate. Another rate is refused."""
    with realtime(obedient) as iw, iw.realtime.connect() as rt:
        with WavSink(tmp_path / "a.wav", 24000) as speaker:
            playback = rt.send_message("one").audio.play(speaker)
            playback.wait(30)

            assert (100.0, 2400) == (playback.heard_ms, speaker.heard_samples)
        with NullSpeaker(8000) as speaker, pytest.raises(AudioError, match=r"PcmFormat\(8000\)"):
            rt.send_message("one").audio.play(speaker)


def test_interrupting_a_playback_cancels_its_response() -> None:
    """If the playback of a response is interrupted, the response is cancelled at the service."""
    cancelled: list[Event] = []

    def speak(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.audio("r1", "a1", bytes(96_000))
        cancelled.append(service.until("response.cancel"))
        service.done("r1", "cancelled")

    with realtime(once(speak)) as iw, iw.realtime.connect() as rt, NullSpeaker(24000) as speaker:
        reply = rt.respond()
        playback = reply.audio.play(speaker)
        while not playback.heard_ms:
            threading.Event().wait(0.001)
        playback.interrupt()

        assert "cancelled" == reply.wait(30).status
    assert ["r1"] == [each["response_id"] for each in cancelled]


# The queue.


def test_requests_wait_for_one_another() -> None:
    """A request is sent after the response in progress has ended."""
    order: list[str] = []

    def script(service: Service) -> None:
        service.open()
        for number in range(1, 4):
            request = service.request()
            order.append("asked")
            service.speak(request, number, f"reply {number}")
            order.append("given")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        replies = [rt.respond() for _ in range(3)]
        texts = [reply.wait(30).text.strip() for reply in replies]

    assert ["reply 1", "reply 2", "reply 3"] == texts
    assert ["asked", "given"] * 3 == order


def test_out_of_band_responses_do_not_wait() -> None:
    """
    An out-of-band response and another response run in parallel. The metadata shows to which
    request the response belongs.
    """

    def script(service: Service) -> None:
        service.open()
        main, beside = service.request(), service.request()
        service.created("r2", beside)
        service.created("r1", main)
        service.text("r2", "a2", "beside")
        service.text("r1", "a1", "main")
        service.done("r2")
        service.done("r1")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        main = rt.respond()
        beside = rt.respond(
            ResponseConfig(conversation="none", input=[Message.user("?")], metadata={"topic": "x"})
        )

        assert ("main", "beside") == (main.wait(30).text, beside.wait(30).text)
        assert ("r2", "x") == (beside.id, beside.metadata["topic"])


def test_a_response_that_the_service_begins() -> None:
    """A response that the service begins belongs to no request, and has its own object."""

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.speak(None, 1, "by itself")
        service.speak(request, 2, "as asked")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        assert "as asked" == reply.wait(30).text.strip()
        started = [
            event.response
            for _, event in zip(range(20), rt.events(timeout=30), strict=False)
            if isinstance(event, ResponseStarted)
        ]

        assert ["by itself", "as asked"] == [each.text.strip() for each in started]
        assert reply is started[1]


def test_a_request_that_is_refused_as_busy_is_sent_again() -> None:
    """
    If a request is refused because a response is active, it is sent again after that response.
    """
    requests: list[Event] = []

    def script(service: Service) -> None:
        service.open()
        requests.append(service.request())
        service.created("r1")
        service.error("conversation_already_has_active_response", event_id=requests[0]["event_id"])
        service.done("r1")
        requests.append(service.request())
        service.speak(requests[1], 2, "at last")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        assert "at last" == rt.respond().wait(30).text.strip()

    assert requests[0]["event_id"] == requests[1]["event_id"]


def test_a_request_is_not_repeated_for_ever() -> None:
    """If a request is refused as busy again and again, it fails."""

    def script(service: Service) -> None:
        service.open()
        for number in range(3):
            request = service.request()
            service.created(f"r{number}")
            service.error("conversation_already_has_active_response", event_id=request["event_id"])
            service.done(f"r{number}")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        with pytest.raises(ServiceError) as caught:
            rt.respond().wait(30)

    assert "conversation_already_has_active_response" == caught.value.code


def test_a_service_that_echoes_no_metadata() -> None:
    """With manual turns, a response without metadata belongs to the pending request."""

    def script(service: Service) -> None:
        service.open()
        for number in range(1, 3):
            service.request()
            service.speak(None, number, f"reply {number}")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(Session(turn_detection=ManualTurns())) as rt:
        texts = [rt.respond().wait(30).text.strip() for _ in range(2)]

    assert ["reply 1", "reply 2"] == texts


# Ends.

# (fields of response.done, the status, the code of the error).
OUTCOMES: list[tuple[Event, str, str | None]] = [
    ({"status": "completed"}, "completed", None),
    ({"status": "cancelled", "status_details": {"reason": "turn_detected"}}, "cancelled", None),
    ({"status": "failed", "status_details": None}, "failed", ""),
    (
        {"status": "failed", "status_details": {"type": "failed", "reason": "server_error"}},
        "failed",
        "server_error",
    ),
    (
        {
            "status": "failed",
            "status_details": {"error": {"type": "server_error", "code": "rate_limit"}},
        },
        "failed",
        "rate_limit",
    ),
    (
        {"status": "incomplete", "status_details": {"reason": "max_output_tokens"}},
        "incomplete",
        "max_output_tokens",
    ),
    ({"status": "strange"}, "incomplete", ""),
    ({"status": None}, "incomplete", ""),
]


@pytest.mark.parametrize(("fields", "status", "code"), OUTCOMES)
def test_final_state(fields: Event, status: str, code: str | None) -> None:
    """Each response has one final state. A failed or incomplete response raises an error."""

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.text("r1", "a1", "some")
        service.done("r1", **fields)

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        pieces = reply.text_stream(timeout=30)
        assert "some" == next(pieces)
        if code is None:
            assert ([], None) == (list(pieces), reply.wait(30).error)
        else:
            with pytest.raises(ServiceError) as caught:
                next(pieces)
            with pytest.raises(ServiceError):
                reply.wait(30)
            assert (code or None, "some") == (caught.value.code, reply.text)

        assert (status, True) == (reply.status, reply.is_final)


def test_a_plan_limit_is_a_quota_error() -> None:
    """A response that fails because of a limit of the plan raises a quota error."""
    details = {"error": {"code": "SESSION_RESOURCES_EXHAUSTED", "message": "limit"}}

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.done("r1", "failed", status_details=details)

    with realtime(once(give)) as iw, iw.realtime.connect() as rt, pytest.raises(QuotaError):
        rt.respond().wait(30)


def test_a_refused_request() -> None:
    """If the service refuses a request, the response to this request fails."""

    def refuse(service: Service, request: Event) -> None:
        service.error("invalid_value", "no such voice", event_id=request["event_id"])

    with realtime(once(refuse)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond(ResponseConfig(voice="Nobody"))
        with pytest.raises(ServiceError, match="no such voice"):
            reply.wait(30)

        assert ("failed", None, None) == (reply.status, reply.id, rt.ended)


def test_cancelling() -> None:
    """A cancelled response ends without an error, and its later messages are dropped."""

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.text("r1", "a1", "some")
        command = service.until("response.cancel")
        assert "r1" == command["response_id"]
        service.text("r1", "a1", " more")
        service.audio("r1", "a1", bytes(4800))
        service.done("r1", "cancelled")
        service.event("ping", timestamp=1)

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        pieces = reply.text_stream(timeout=30)
        next(pieces)
        reply.cancel()
        reply.cancel()

        assert ([], "cancelled", "some") == (list(pieces), reply.wait(30).status, reply.text)
        until_ping = itertools.takewhile(
            lambda e: not isinstance(e, PingReceived), rt.events(timeout=30)
        )
        assert [] == [e for e in until_ping if isinstance(e, AudioDelta)]


def test_cancelling_before_it_has_begun() -> None:
    """If a response is cancelled before it begins, the cancel is sent when the response begins."""
    cancelled: list[Event] = []

    def give(service: Service, request: Event) -> None:
        service.until("output_audio_buffer.clear")
        service.created("r1", request)
        cancelled.append(service.until("response.cancel"))
        service.text("r1", "a1", "late")
        service.done("r1", "cancelled")

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        reply.cancel()
        rt.clear_output()

        assert ("cancelled", "") == (reply.wait(30).status, reply.text)
    assert ["r1"] == [each["response_id"] for each in cancelled]


def test_cancelling_a_queued_request() -> None:
    """A queued request that is cancelled is never sent."""
    seen: list[Event] = []

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        service.until("output_audio_buffer.clear")
        service.done("r1")
        service.until("output_audio_buffer.clear")
        seen.extend(service.said("response.create"))
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        first, second = rt.respond(), rt.respond()
        second.cancel()
        rt.clear_output()

        assert ("completed", "cancelled") == (first.wait(30).status, second.wait(30).status)
        rt.clear_output()
        while not seen:
            threading.Event().wait(0.001)
    assert 1 == len(seen)


def test_a_lost_connection_ends_responses() -> None:
    """A response whose connection is lost fails and keeps the text that arrived."""

    def cut(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.text("r1", "a1", "some")
        service.hang_up()

    with realtime(once(cut)) as iw, iw.realtime.connect(reconnect_timeout=0) as rt:
        reply = rt.respond()
        with pytest.raises(ConnectionLost):
            list(reply.text_stream(timeout=30))

        assert ("failed", "some") == (reply.status, reply.text)


def test_closing_ends_responses() -> None:
    """If a session is closed, a response in progress raises an error."""

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)

    with realtime(once(give)) as iw:
        rt = iw.realtime.connect()
        started, waiting = rt.respond(), rt.respond()
        rt.close()
        for reply in (started, waiting):
            with pytest.raises(ClosedError):
                reply.wait(30)
            assert "failed" == reply.status


def test_waiting_has_a_deadline() -> None:
    """``wait`` raises after its timeout, and the response continues."""
    with realtime(once()) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        with pytest.raises(DeadlineExceeded):
            reply.wait(0.05)
        with pytest.raises(DeadlineExceeded):
            next(reply.text_stream(timeout=0.05))

        assert "requested" == reply.status


# Odd messages.


def test_text_and_transcript_in_one_response() -> None:
    """If text and transcript arrive, the kind that arrives first is the text of the response."""

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.item("r1", "a1")
        service.transcript("r1", "a1", "Hel")
        service.text("r1", "a1", "Hello.")
        service.transcript("r1", "a1", "lo.")
        service.done("r1")

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        assert ["Hel", "lo."] == list(rt.respond().text_stream(timeout=30))


def test_text_without_deltas() -> None:
    """If the text of a response arrives as a whole, the response has this text only once."""

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)
        where = place("r1", "a1")
        service.event("response.output_text.done", **where, text="Hello.")
        service.event("response.output_audio_transcript.done", **where, transcript="Hello.")
        service.done("r1")

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()

        assert ["Hello."] == list(reply.text_stream(timeout=30))
        assert "Hello." == reply.text


def test_older_names() -> None:
    """Messages with older names are read like the messages with the newer names."""

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)
        where = place("r1", "a1")
        service.event("response.audio_transcript.delta", **where, delta="Hi")
        service.event("response.audio.delta", **where, delta=base64.b64encode(SAMPLES).decode())
        service.event("response.audio.done", **where)
        service.done("r1")

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()

        assert (SAMPLES, "Hi") == (reply.audio.read().pcm, reply.text)


def test_usage_and_metadata_in_odd_places() -> None:
    """Usage outside the ``response`` object is read, and a list in the metadata causes no error."""

    def give(service: Service, request: Event) -> None:
        metadata = {**request["response"]["metadata"], "attempts": [{"model": "m"}]}
        body = {**response("r1", "in_progress"), "metadata": metadata}
        service.event("response.created", response=body)
        service.event(
            "response.done",
            response={**body, "status": "completed"},
            usage={"total_tokens": 30, "input_tokens": 20, "output_tokens": 10},
        )

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond().wait(30)

        assert reply.usage is not None
        assert (30, [{"model": "m"}]) == (reply.usage.total_tokens, reply.metadata["attempts"])


def test_a_response_that_begins_with_its_item() -> None:
    """A response without ``response.created`` begins with its first item."""

    def script(service: Service) -> None:
        service.open()
        service.item("r1", "a1")
        service.text("r1", "a1", "Hi")
        service.done("r1")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        event = next(e for e in rt.events(timeout=30) if isinstance(e, ResponseStarted))

        assert "Hi" == event.response.wait(30).text


# Messages about r1 that cannot be read.
DAMAGE: list[Event] = [
    {"type": "response.output_text.delta", "response_id": "r1"},
    {"type": "response.output_audio.delta", **place("r1", "a1")},
    {"type": "response.output_audio.delta", **place("r1", "a1"), "delta": "*not base64*"},
    {"type": "response.audio_transcript.delta", "response_id": "r1"},
    {"type": "response.output_item.done", "response_id": "r1", "item": 7},
]


@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_response_fails(message: Event) -> None:
    """If a message of a response is unreadable, the response raises. The session continues."""

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        service.send(message)
        service.text("r1", "a1", "rest")
        service.done("r1")
        service.speak(service.request(), 2, "next")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        with pytest.raises(InworldError, match=r"cannot read|expected"):
            reply.wait(30)
        event = next(e for e in rt.events(timeout=30) if isinstance(e, InvalidMessage))

        assert ("completed", "rest") == (reply.status, reply.text)
        assert (message["type"], "r1") == (event.type, event.response_id)
        assert "next" == rt.respond().wait(30).text.strip()


# Unreadable ``response.done`` messages, with the id of the response and without an id.
BAD_ENDS: list[Event] = [
    {"type": "response.done", "response": {"id": 5, "status": "completed"}},
    {"type": "response.done", "response": {"status": "completed"}},
    {"type": "response.done"},
]


@pytest.mark.parametrize("message", BAD_ENDS)
def test_an_unreadable_end_is_an_end(message: Event) -> None:
    """If the ``response.done`` of a response is unreadable, the response counts as ended."""

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)
        service.send(message)

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        reply = rt.respond()
        with pytest.raises(InworldError):
            reply.wait(30)

        assert "failed" == reply.status


# Memory.


def test_a_response_without_a_reference_is_not_buffered() -> None:
    """Text and audio are buffered only while a reference to the response exists."""

    def script(service: Service) -> None:
        service.open()
        # Without a consumer, the session would keep only the newest events.
        assert is_subscribed.wait(10)
        for number in range(1, 60):
            service.created(f"r{number}")
            service.audio(f"r{number}", f"a{number}", bytes(1_000_000))
            service.done(f"r{number}")
        service.until_left()

    is_subscribed = threading.Event()

    def has_few_responses() -> bool:
        gc.collect()
        # isinstance() would read ``__class__`` of other packages' proxies. This can raise.
        return 10 > sum(type(each) is Response for each in gc.get_objects())

    with realtime(script) as iw, iw.realtime.connect() as rt:
        ends = rt.subscribe()
        is_subscribed.set()
        done = 0
        while done < 59:
            done += isinstance(ends.get(10), ResponseDone)

        # The executor may still use the latest responses.
        until(has_few_responses)


def test_a_response_that_is_not_read_does_not_block() -> None:
    """If the speech of a response is not read, the response still ends, and the next one begins."""

    def give(service: Service, request: Event) -> None:
        service.created("r1", request)
        for _ in range(20):
            service.audio("r1", "a1", bytes(1 << 20))
        service.done("r1")
        service.speak(service.request(), 2, "next")

    with realtime(once(give)) as iw, iw.realtime.connect() as rt:
        first = rt.respond()

        assert "completed" == first.wait(30).status
        assert "next" == rt.respond().wait(30).text.strip()
