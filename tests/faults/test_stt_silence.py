"""If an STT service is silent or stops, the transcript is complete or an error is raised."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from inworld_sync import (
    ConnectionLost,
    DeadlineExceeded,
    Inworld,
    InworldError,
    PartialTranscript,
    SttStream,
    Transcript,
)
from inworld_sync.sessions.stt import audio_buffer

from support.scripted_stt import SttConnectionScript, SttServer, stt_server

RATE_HZ = 16_000
QUICK = 0.3


def sound(seconds: float, level: int = 3000) -> bytes:
    """Return audio that counts as speech."""
    return array("h", [level, -level]).tobytes() * int(seconds * RATE_HZ / 2)


def silence(seconds: float) -> bytes:
    return bytes(2 * int(seconds * RATE_HZ))


def results(*kinds: dict[str, Any], chunk: int = 0) -> Callable[[SttConnectionScript, str], None]:
    """
    Return a hook that sends results, and nothing else.

    Args:
        kinds: The results.
        chunk: The results are sent before this chunk of audio is read; 0 means after
            ``closeStream``.
    """

    def hook(connection: SttConnectionScript, moment: str) -> None:
        at = "chunk" if chunk else "closeStream"
        if moment == at and connection.counts[moment] == (chunk or 1):
            connection.send_results(list(kinds))
        if moment == "closeStream":
            connection.until_left()

    return hook


def final(text: str, end_ms: int | None = None) -> dict[str, Any]:
    """Return a final transcript. If *end_ms* is given, the word has times."""
    word = {"word": text, "startTimeMs": 0, "endTimeMs": end_ms}
    return {
        "transcription": {
            "transcript": text,
            "isFinal": True,
            "wordTimestamps": [] if end_ms is None else [word],
        }
    }


def partial(text: str) -> dict[str, Any]:
    return {"transcription": {"transcript": text, "isFinal": False}}


STARTED = {"speechStarted": {"startTimeMs": 0, "confidence": 0.9}}
STOPPED = {"speechStopped": {"silenceDurationMs": 200}}
USAGE = {"usage": {"transcribedAudioMs": 2000, "modelId": "m"}}


@contextmanager
def serving(hook: Callable[..., None]) -> Iterator[tuple[Inworld, SttServer]]:
    with stt_server(hook, recognizer={"counts_only": True}) as (iw, server):
        yield iw, server


def open_stream(iw: Inworld, pcm: bytes) -> SttStream:
    stream = iw.stt.stream(max_chunks_per_second=5000)
    stream.send(pcm)
    return stream


SPEECH = sound(2) + silence(1)
# Two turns.
TWO_TURNS = SPEECH + SPEECH

# (name, audio, messages after closeStream, whether the transcript is complete). A transcript is
# complete after the usage, or if less than a second of speech has no answer.
ENDS: list[tuple[str, bytes, Callable[..., None], bool]] = [
    ("nothing, to speech", SPEECH, results(), False),
    ("nothing, to silence", silence(3), results(), True),
    ("nothing, to a short sound", silence(1) + sound(0.9) + silence(1), results(), True),
    ("nothing, to a second of sound", silence(1) + sound(1.0) + silence(1), results(), False),
    ("the usage alone", SPEECH, results(USAGE), True),
    ("a final alone", SPEECH, results(final("one")), True),
    ("a final with times", SPEECH, results(final("one", 2000)), True),
    ("a final of the beginning", SPEECH, results(final("one", 500)), False),
    ("a final of the first turn", TWO_TURNS, results(final("one")), False),
    ("a start", silence(3), results(STARTED), False),
    ("a partial", silence(3), results(partial("one")), False),
    ("a start and a stop", SPEECH, results(STARTED, STOPPED), True),
    ("a turn without its final", SPEECH, results(STARTED, partial("one"), STOPPED), False),
    ("an unknown message", SPEECH, results({"sentiment": {}}), False),
]


def read_events(stream: SttStream) -> Transcript:
    """Iterate over all events without a call of close(). Return the transcript."""
    stream.finish(timeout=QUICK)
    for _ in stream:
        pass
    return stream.transcript


def close(stream: SttStream) -> Transcript:
    return stream.close(timeout=QUICK)


@pytest.mark.parametrize("end", [close, read_events])
@pytest.mark.parametrize(("name", "pcm", "hook", "complete"), ENDS, ids=[row[0] for row in ENDS])
def test_service_stops(
    name: str,
    pcm: bytes,
    hook: Callable[..., None],
    complete: bool,
    end: Callable[[SttStream], Transcript],
) -> None:
    """A transcript without usage is complete if less than a second of speech is unanswered."""
    with serving(hook) as (iw, _):
        stream = open_stream(iw, pcm)
        if complete:
            assert ("one" if "final" in name else "") == end(stream).text
            return
        with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s after the last audio") as caught:
            end(stream)
    left = caught.value.partial

    assert isinstance(left, PartialTranscript)
    assert ("one" if "final" in name and "without" not in name else "") == left.transcript.text
    assert pcm.endswith(left.pcm)
    assert len(pcm) - len(left.pcm) == left.start_ms * 32
    # With times, the audio begins after the last word.
    assert (400 <= left.start_ms <= 700) if "beginning" in name else left.start_ms == 0


@pytest.mark.parametrize("method", ["transcribe", "with"])
def test_other_ends(method: str) -> None:
    """``transcribe`` and the end of a ``with`` block check the transcript in the same way."""
    with serving(results()) as (iw, server):
        with pytest.raises(DeadlineExceeded, match=r"2\.0 s of speech") as caught:
            if method == "transcribe":
                iw.stt.transcribe(SPEECH, sample_rate_hz=RATE_HZ, timeout=QUICK)
            else:
                with iw.stt.stream(max_chunks_per_second=5000) as stream:
                    stream.send(SPEECH)
                    stream.finish(timeout=QUICK)
                    for _ in stream:
                        pass
        assert SPEECH == caught.value.partial.pcm  # type: ignore[union-attr]
        assert SPEECH == bytes(server.connections[0].pcm)


def test_long_speech_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speech that the buffer no longer keeps counts as unanswered too."""
    monkeypatch.setattr(audio_buffer, "_TRANSCRIPT_SECONDS", 0.0)
    with serving(results()) as (iw, _):
        stream = open_stream(iw, sound(2))
        stream.send(silence(25), timeout=30)
        stream.send(silence(25), timeout=30)
        stream.send(silence(20), timeout=30)
        with pytest.raises(DeadlineExceeded, match=r"2\.0 s of speech") as caught:
            stream.close(timeout=QUICK)
    left = caught.value.partial

    assert isinstance(left, PartialTranscript)
    # The error does not have the speech, which the buffer no longer keeps.
    assert 12_000 <= left.start_ms <= 12_500
    assert not any(left.pcm)


def test_repeated_messages_are_no_progress() -> None:
    """A service that repeats a partial, or sends unknown messages, does not delay the deadline."""
    stopped, exhausted = threading.Event(), threading.Event()

    def hook(connection: SttConnectionScript, moment: str) -> None:
        if moment == "closeStream":
            for _ in range(1000):
                if stopped.wait(0.02):
                    break
                connection.send_results([partial("one"), {"sentiment": {}}])
            else:
                exhausted.set()
            connection.until_left()

    with serving(hook) as (iw, _):
        stream = open_stream(iw, SPEECH)
        with pytest.raises(DeadlineExceeded, match="the last turn has no final"):
            stream.close(timeout=QUICK)
        stopped.set()
        assert not exhausted.is_set()


def test_end_of_a_turn_without_an_answer() -> None:
    """If the user ends a turn with speech, the answer of the service has a deadline."""
    with serving(lambda connection, moment: None) as (iw, _):
        stream = open_stream(iw, SPEECH)
        stream.end_turn(timeout=QUICK)
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s after the end of a turn") as caught:
            for _ in stream:
                pass
    assert SPEECH == caught.value.partial.pcm  # type: ignore[union-attr]


def test_end_of_a_silent_turn() -> None:
    """A turn without speech needs no answer, and the stream continues."""
    ended = threading.Event()

    def hook(connection: SttConnectionScript, moment: str) -> None:
        if moment == "endTurn":
            ended.set()
        elif moment == "chunk" and ended.is_set():
            connection.send_results([final("one")])
            ended.clear()

    with serving(hook) as (iw, _):
        stream = open_stream(iw, silence(1))
        stream.end_turn(timeout=0.05)
        assert ended.wait(30)
        with pytest.raises(DeadlineExceeded, match="no event"):
            next(stream.events(timeout=QUICK))
        stream.send(SPEECH)
        assert "one" == next(iter(stream)).text  # type: ignore[union-attr]
        stream.close()


def closing(connection: SttConnectionScript, moment: str) -> None:
    if moment == "closeStream":
        connection.send_close(1000)


def test_closes_without_an_answer() -> None:
    """If the service closes twice without an answer to speech, an error is raised."""
    with serving(closing) as (iw, server):
        stream = open_stream(iw, SPEECH)
        with pytest.raises(
            ConnectionLost, match=r"closed the connection twice, but 2\.0 s"
        ) as caught:
            stream.close()
        assert 2 == len(server.connections)
    assert SPEECH == caught.value.partial.pcm  # type: ignore[union-attr]


def test_closes_after_silence() -> None:
    """If the service closes twice and there was no speech, the transcript is complete."""
    with serving(closing) as (iw, server):
        assert () == open_stream(iw, silence(2)).close().turns
        assert 2 == len(server.connections)


def test_stops_after_a_reconnect() -> None:
    """Audio that is sent again needs an answer, even if the end of its speech was reported."""

    def hook(connection: SttConnectionScript, moment: str) -> None:
        if connection.number == 1 and (moment, connection.counts[moment]) == ("chunk", 10):
            connection.send_results([STARTED, STOPPED])
            connection.hang_up()

    with serving(hook) as (iw, _):
        stream = open_stream(iw, SPEECH)
        with pytest.raises(DeadlineExceeded, match="of speech have no final"):
            stream.close(timeout=1.0)


def test_lost_in_the_end() -> None:
    """If the connection is lost at the end and not replaced, the stream ends within the timeout."""

    def hook(connection: SttConnectionScript, moment: str) -> None:
        if moment == "closeStream" or connection.number > 1:
            connection.hang_up()

    with serving(hook) as (iw, _):
        stream = open_stream(iw, SPEECH)
        with pytest.raises(InworldError) as caught:
            stream.close(timeout=1.0)
    assert SPEECH == caught.value.partial.pcm  # type: ignore[union-attr]
