"""A session over WebRTC works like a session over a WebSocket, but its audio is in tracks."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from inworld_sync import ClosedError, ConfigError, LocalProtocolError, NullSpeaker
from inworld_sync.models.realtime import (
    AudioDelta,
    ManualTurns,
    MulawFormat,
    Session,
)
from inworld_sync.realtime import Interrupted, SessionReconnected, ToolOutputSent, tool
from inworld_sync.sessions.realtime.connection import RealtimeConnection

from support.forks import in_child
from support.sound_card import until
from support.tone_hearing import tone
from support.webrtc_service import PATIENCE_SECONDS, RATE_HZ, Call, open_service

SILENT = 64


def loud_seconds(samples: np.ndarray[Any, Any]) -> float:
    """Return the total duration of the blocks of 20 ms that are not silent."""
    blocks = samples[: len(samples) // 960 * 960].reshape(-1, 960)
    return float((np.abs(blocks.astype(int)).max(axis=1) > SILENT).sum() * 0.02)


def pitch_hz(samples: np.ndarray[Any, Any]) -> float:
    """Return the strongest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE_HZ / len(samples))


def begin(call: Call, number: int = 1) -> tuple[str, str]:
    """Wait for the request of a response, and begin this response. Return its id and its item."""
    request = call.request()
    response_id, item_id = f"resp_{number}", f"item_{number}"
    call.created(response_id, request)
    call.item(response_id, item_id)
    return response_id, item_id


def finish(call: Call, response_id: str, item_id: str, text: str = "Hi.") -> None:
    call.transcript(response_id, item_id, text)
    call.item_done(response_id, item_id, text)
    call.done(response_id)


def test_unread_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A message counts as unread until it was handled, so that no deadline passes before its message
    is handled.
    """
    handled: list[bool] = []
    links: list[Any] = []
    read = RealtimeConnection._read_message

    def look(connection: RealtimeConnection, message: memoryview) -> None:
        links.append(connection._link)
        handled.append(connection._link.has_unread())
        read(connection, message)

    def script(call: Call) -> None:
        call.open()
        call.until_left()

    monkeypatch.setattr(RealtimeConnection, "_read_message", look)
    with open_service(script) as iw, iw.connect_webrtc(Session(voice="Dennis")):
        until(lambda: not links[0].has_unread())

    assert handled
    assert all(handled)


def test_speech_in_both_directions() -> None:
    """The service gets the user's tone, and the user gets the service's tone."""
    heard: list[np.ndarray[Any, Any]] = []

    def script(call: Call) -> None:
        call.open()
        while loud_seconds(samples := call.heard(0.2)) < 0.5:
            pass
        heard.append(samples)
        response_id, item_id = begin(call)
        finish(call, response_id, item_id)
        call.event("output_audio_buffer.started", response_id=response_id)
        call.play(tone(0.6, 1000.0))
        time.sleep(0.6)  # the service reports the end when it has sent the audio
        call.event("output_audio_buffer.stopped", response_id=response_id)
        call.until_left()

    with open_service(script) as iw, iw.connect_webrtc(Session(voice="Dennis")) as rt:
        rt.send_audio(tone(0.6, rate_hz=16000), 16000)
        reply = rt.respond()
        pcm = b"".join(bytes(chunk.pcm) for chunk in reply.audio)
        assert reply.text == "Hi."
        assert reply.status == "completed"
        assert rt.session.voice == "Dennis"

    samples = np.frombuffer(pcm, "<i2")
    # If the machine stalls, packets are concealed or come too late, so the length may change.
    assert 0.2 < loud_seconds(samples)
    assert pitch_hz(samples[4800:24000]) == pytest.approx(1000.0, abs=5)
    loud = np.flatnonzero(np.abs(heard[0].astype(int)) > SILENT)
    assert pitch_hz(heard[0][loud[0] + 4800 : loud[0] + 24000]) == pytest.approx(440.0, abs=5)


def test_interruption_truncates_what_was_heard() -> None:
    """The item is truncated to the samples that the speaker has played."""
    truncated: list[Any] = []

    def script(call: Call) -> None:
        call.open()
        response_id, item_id = begin(call)
        finish(call, response_id, item_id)
        call.event("output_audio_buffer.started", response_id=response_id)
        call.play(tone(30.0))
        call.until("output_audio_buffer.clear")
        call.hush()
        call.event("output_audio_buffer.cleared", response_id=response_id)
        truncated.append(call.until("conversation.item.truncate"))
        call.until_left()

    with NullSpeaker() as speaker, open_service(script) as iw, iw.connect_webrtc() as rt:
        rt.play(speaker)
        reply = rt.respond()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while speaker.heard_samples < 12000 and time.monotonic() < deadline:
            time.sleep(0.01)
        event = rt.interrupt()
        heard_ms = speaker.heard_samples / 24.0
        reply.wait(PATIENCE_SECONDS)

    assert isinstance(event, Interrupted)
    assert heard_ms >= 500
    # The audio of the item begins with the first sample that was heard.
    assert event.heard_ms["item_1"] == pytest.approx(heard_ms, abs=25)
    assert truncated[0]["audio_end_ms"] == int(event.heard_ms["item_1"])
    # The service had ended the response before its audio was heard.
    assert reply.status == "completed"


def test_tools_run() -> None:
    """Tool calls and tool outputs are sent on the data channel."""

    @tool
    def weather(city: str) -> str:
        """Weather for a city."""
        return f"rain in {city}"

    outputs: list[Any] = []

    def script(call: Call) -> None:
        call.open()
        call.created("resp_1", call.request())
        call.call("resp_1", "item_f", "call_1", "weather", '{"city": "Oslo"}')
        call.done("resp_1")
        outputs.append(call.until("conversation.item.create")["item"]["output"])
        call.created("resp_2", call.request())
        call.text("resp_2", "item_2", "Rain.")
        call.done("resp_2")
        call.until_left()

    with open_service(script) as iw, iw.connect_webrtc(Session(tools=[weather])) as rt:
        assert "".join(rt.respond().text_stream()) == "Rain."
    assert outputs == ["rain in Oslo"]


def test_an_output_that_is_too_long_for_the_service() -> None:
    """The model gets a short output instead of the long one, so that the reply continues."""

    def limited(sdp: str) -> str:
        return re.sub(r"a=max-message-size:\d+", "a=max-message-size:4000", sdp)

    @tool
    def book() -> str:
        """Read a book."""
        return "x" * 5000

    outputs: list[Any] = []

    def script(call: Call) -> None:
        call.open()
        call.created("resp_1", call.request())
        call.call("resp_1", "item_f", "call_1", "book", "{}")
        call.done("resp_1")
        outputs.append(call.until("conversation.item.create")["item"]["output"])
        call.created("resp_2", call.request())
        call.text("resp_2", "item_2", "Long.")
        call.done("resp_2")
        call.until_left()

    with open_service(script, changed_answer=limited) as iw:
        with iw.connect_webrtc(Session(tools=[book])) as rt:
            events = rt.subscribe()
            assert "".join(rt.respond().text_stream(PATIENCE_SECONDS)) == "Long."
            while not isinstance(event := events.get(PATIENCE_SECONDS), ToolOutputSent):
                pass
    assert outputs == [event.output]
    assert "cannot be shown" in event.output
    assert isinstance(event.error, LocalProtocolError)


def test_a_service_that_sends_no_packet() -> None:
    """A response ends even if its audio never arrives."""

    def script(call: Call) -> None:
        call.open()
        finish(call, *begin(call))
        call.until_left()

    silent = lambda sdp: sdp.replace("a=sendrecv", "a=recvonly")  # noqa: E731
    with open_service(script, changed_answer=silent) as iw, iw.connect_webrtc() as rt:
        reply = rt.respond().wait(PATIENCE_SECONDS)
    assert (reply.status, reply.text) == ("completed", "Hi.")


def test_a_lost_connection_is_replaced() -> None:
    """The session continues on a new connection, with the same settings and conversation."""
    replayed: list[str] = []

    def first(call: Call) -> None:
        call.open()
        call.acknowledge(call.until("conversation.item.create"))
        call.leave()

    def second(call: Call) -> None:
        call.event("session.created", session=call.session)
        assert call.accept_update()["instructions"] == "Be brief."
        replayed.append(call.until("conversation.item.create")["item"]["content"][0]["text"])
        call.until_left()

    from inworld_sync.realtime import Message

    with open_service(first, second) as iw:
        with iw.connect_webrtc(Session(instructions="Be brief.")) as rt:
            events = rt.subscribe()
            rt.add(Message.user("Hello."), wait=False)
            while not isinstance(event := events.get(timeout=PATIENCE_SECONDS), SessionReconnected):
                pass
            assert event.attempts == 1
    assert replayed == ["Hello."]


def test_audio_is_sent_before_a_commit() -> None:
    """A commit on the data channel does not overtake the audio of the track."""
    heard: list[float] = []

    def script(call: Call) -> None:
        call.open()
        call.until("input_audio_buffer.commit")
        heard.append(loud_seconds(call.heard()))
        call.until_left()

    with open_service(script) as iw:
        with iw.connect_webrtc(Session(turn_detection=ManualTurns())) as rt:
            rt.send_audio(tone(0.55), RATE_HZ)
            rt.commit()
    assert heard[0] == pytest.approx(0.55, abs=0.06)


def test_clear_drops_queued_audio() -> None:
    heard: list[float] = []

    def script(call: Call) -> None:
        call.open()
        call.until("input_audio_buffer.clear")
        heard.append(loud_seconds(call.heard()))
        call.until_left()

    with open_service(script) as iw, iw.connect_webrtc() as rt:
        rt.send_audio(tone(0.5), RATE_HZ)
        rt.clear()
    assert heard[0] < 0.2


def test_send_audio_waits_for_the_track() -> None:
    """The track is sent in real time, so send_audio() waits while the queue is full."""
    with open_service(lambda call: (call.open(), call.until_left())) as iw:
        with iw.connect_webrtc() as rt:
            began = time.monotonic()
            rt.send_audio(tone(1.0), RATE_HZ)
            assert time.monotonic() - began > 0.4


def test_users_code_does_not_run_on_the_loop() -> None:
    """Handlers, observers and trace functions never run on the thread of the event loop."""
    threads: set[str] = set()

    class Observer:
        def message(self, direction: str, connection: str, data: bytes) -> None:
            threads.add(threading.current_thread().name)

    def script(call: Call) -> None:
        call.open()
        response_id, _ = begin(call)
        call.event("output_audio_buffer.started", response_id=response_id)
        call.play(tone(0.2))
        call.until("input_audio_buffer.clear")
        call.until_left()

    seen = threading.Event()

    def handle(event: object) -> None:
        threads.add(threading.current_thread().name)
        seen.set()

    settings = {
        "observer": Observer(),
        "on_trace": lambda _: threads.add(threading.current_thread().name),
    }
    with open_service(script, **settings) as iw, iw.connect_webrtc() as rt:
        rt.on(AudioDelta, handle)
        rt.respond()
        assert seen.wait(PATIENCE_SECONDS)
        rt.clear()
    assert threads
    assert not [name for name in threads if name.startswith("inworld-webrtc")]


def test_formats_are_refused() -> None:
    """A session with an audio format is refused, because the tracks always have Opus."""
    with open_service(lambda call: (call.open(), call.until_left())) as iw:
        with pytest.raises(ConfigError, match="must be omitted over WebRTC"):
            iw.connect_webrtc(Session(input_format=MulawFormat()))
        with iw.connect_webrtc() as rt, pytest.raises(ConfigError, match="must be omitted"):
            rt.update(Session(output_format=MulawFormat()))


def test_a_message_over_the_limit_of_the_service() -> None:
    """
    The service's SDP limits the size of a message. A larger message raises an error and is not
    sent.
    """

    def limited(sdp: str) -> str:
        return re.sub(r"a=max-message-size:\d+", "a=max-message-size:4000", sdp)

    script = lambda call: (call.open(), call.until_left())  # noqa: E731
    with open_service(script, changed_answer=limited) as iw, iw.connect_webrtc() as rt:
        with pytest.raises(LocalProtocolError, match="accepts at most 4000 bytes"):
            rt.update(Session(instructions="x" * 5000))


def test_closing_ends_waiting_threads() -> None:
    """A thread that sends audio and a thread that reads events return when the session closes."""
    with open_service(lambda call: (call.open(), call.until_left())) as iw:
        rt = iw.connect_webrtc()
        ended: list[object] = []

        def send() -> None:
            try:
                rt.send_audio(bytes(2 * RATE_HZ * 8), RATE_HZ)
            except ClosedError as error:
                ended.append(error)

        threads = [threading.Thread(target=send), threading.Thread(target=lambda: list(rt))]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        rt.close()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        assert time.monotonic() - began < 5
        assert len(ended) == 1
        with pytest.raises(ClosedError):
            rt.send_message("late")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_cannot_use_the_session() -> None:
    script = lambda call: (call.open(), call.accept_update(), call.until_left())  # noqa: E731
    with open_service(script) as iw:
        with iw.connect_webrtc() as rt:

            def use() -> None:
                with pytest.raises(ClosedError):
                    rt.send_audio(bytes(96000), RATE_HZ)
                rt.close()

            assert in_child(use) == ""
            assert rt.update(Session(instructions="Still open.")) is not None


@pytest.fixture(autouse=True)
def no_foreign_threads() -> Iterator[None]:
    """Fail a test after which a thread of aiortc still runs."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
