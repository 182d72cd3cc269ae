"""Tests of the audio, the events and the end of a live transcription."""

from __future__ import annotations

import base64
import gc
import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inworld_sync import (
    AssemblyAiConfig,
    AudioError,
    AudioSource,
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    InvalidMessage,
    InworldSttConfig,
    SpeechStarted,
    SpeechStopped,
    StreamEnded,
    SttStream,
    SttUsage,
    TranscribeConfig,
    Transcription,
    UnknownEvent,
    WavSource,
)
from inworld_sync.audio.g711 import decode_ulaw
from inworld_sync.audio.wav import WavWriter
from inworld_sync.realtime import InputSpeechStarted
from inworld_sync.sessions import mailbox
from inworld_sync.sessions.stt import audio_buffer

from support.forks import in_child
from support.scripted_stt import SttConnectionScript, stt_server
from support.spoken_words import RATE_HZ, number_names, spoken_turns

QUICK: dict[str, Any] = {"max_chunks_per_second": 5000}


def config_of(connection: SttConnectionScript) -> dict[str, Any]:
    return dict(connection.requests[0]["transcribeConfig"])


# Settings.


def test_config() -> None:
    """The first message has only the given settings, with the names of the service."""
    with stt_server() as (iw, server):
        with iw.stt.stream(
            language="en-US",
            prompts=["Inworld", "Ashley"],
            inactivity_timeout_seconds=30,
            end_of_turn_confidence_threshold=0.3,
            inworld=InworldSttConfig(min_end_of_turn_silence_ms=200, extra={"new": 1}),
            extra={"another": True},
        ):
            pass
        [connection] = server.connections

    assert {
        "modelId": "inworld/inworld-stt-1",
        "audioEncoding": "LINEAR16",
        "sampleRateHertz": 16000,
        "numberOfChannels": 1,
        "language": "en-US",
        "prompts": ["Inworld", "Ashley"],
        "inactivityTimeoutSeconds": 30,
        "endOfTurnConfidenceThreshold": 0.3,
        "includeWordTimestamps": True,
        "inworldSttV1Config": {"minEndOfTurnSilenceWhenConfident": 200, "new": 1},
        "another": True,
    } == config_of(connection)


# (arguments of stream, words of the error)
BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"model": "whisper"}, "model must be provider/model"),
    ({"assemblyai": AssemblyAiConfig()}, "assemblyai settings need a model assemblyai/..."),
    ({"overflow": "wait"}, "overflow must be one of block, raise, drop_oldest, got 'wait'"),
    ({"max_waiting_bytes": 0}, "max_waiting_bytes must be 1 to"),
    ({"max_reconnects": -1}, "max_reconnects must be 0 to"),
    ({"max_chunks_per_second": 0}, "chunks_per_second must be above 0"),
    ({"sample_rate_hz": 0}, "sample_rate_hz must be 1 to"),
    ({"channels": 0}, "channels must be 1 to"),
]


@pytest.mark.parametrize(("settings", "words"), BAD_SETTINGS)
def test_bad_settings(settings: dict[str, Any], words: str) -> None:
    """A wrong setting raises an error before anything is sent."""
    with stt_server() as (iw, server):
        with pytest.raises(ConfigError, match=words):
            iw.stt.stream(**settings)

        assert [] == server.connections


# Audio.


def test_chunks() -> None:
    """Audio in pieces of any size is sent completely, in messages of 100 ms."""
    pcm, _ = spoken_turns(3)
    sizes = []

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "chunk":
            sizes.append(len(connection.requests[-1]["audioChunk"]["content"]) * 3 // 4)

    with stt_server(hook) as (iw, server):
        with iw.stt.stream(**QUICK) as stream:
            for at in range(0, len(pcm), 777):
                stream.send(pcm[at : at + 777])
        sent = bytes(server.connections[0].pcm)

    assert pcm == sent
    assert {3200} == {size // 4 * 4 for size in sizes[:-1]}


def as_floats(pcm: bytes, kind: str) -> Any:
    return (np.frombuffer(pcm, "<i2") / 32768).astype(kind)


# Functions that make audio from 16-bit samples, and the number of channels.
FORMS: dict[str, tuple[Callable[[bytes], Any], int]] = {
    "bytes": (bytes, 1),
    "bytearray": (bytearray, 1),
    "memoryview": (memoryview, 1),
    "array": (lambda pcm: array("h", pcm), 1),
    "int16": (lambda pcm: np.frombuffer(pcm, "<i2"), 1),
    "float32": (lambda pcm: as_floats(pcm, "f4"), 1),
    "float64": (lambda pcm: as_floats(pcm, "f8"), 1),
    "big-endian int16": (lambda pcm: np.frombuffer(pcm, "<i2").astype(">i2"), 1),
    "stereo": (lambda pcm: np.frombuffer(pcm, "<i2").repeat(2).reshape(-1, 2), 2),
    "stereo bytes": (lambda pcm: np.frombuffer(pcm, "<i2").repeat(2).tobytes(), 2),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    """Bytes and arrays of integers or floats, mono or stereo, send the same samples."""
    make, channels = FORMS[form]
    pcm, said = spoken_turns(2)
    with stt_server() as (iw, server):
        with iw.stt.stream(channels=channels, **QUICK) as stream:
            stream.send(make(pcm))
        sent = bytes(server.connections[0].pcm)

    assert pcm == sent
    assert said == stream.transcript.text


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 44_100, 48_000])
def test_rates(rate_hz: int) -> None:
    """Audio of any rate, in pieces of any size, is converted and keeps its length."""
    seconds = 1.5
    tone = np.sin(np.arange(int(rate_hz * seconds)) * 2 * np.pi * 440 / rate_hz)
    pcm = (tone * 10_000).astype("<i2").tobytes()
    with stt_server(recognizer={"counts_only": True}) as (iw, server):
        with iw.stt.stream(sample_rate_hz=rate_hz, **QUICK) as stream:
            for at in range(0, len(pcm), 1001):
                stream.send(pcm[at : at + 1001])
        sent = np.frombuffer(bytes(server.connections[0].pcm), "<i2")

    assert abs(len(sent) - seconds * RATE_HZ) <= 1
    inner = sent[800:-800] / 10_000
    expected = np.sin(np.arange(800, len(sent) - 800) * 2 * np.pi * 440 / RATE_HZ)
    assert np.abs(inner - expected).max() < 0.01


def test_mulaw() -> None:
    """With MULAW half as many bytes are sent as with LINEAR16, and the words are the same."""
    pcm, _ = spoken_turns(1)
    received = bytearray()

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "config":
            while "closeStream" not in (request := connection.request()):
                received.extend(base64.b64decode(request["audioChunk"]["content"]))
            connection.usage(0)

    with stt_server(hook) as (iw, server):
        with iw.stt.stream(encoding="MULAW", **QUICK) as stream:
            stream.send(pcm)
        assert "MULAW" == config_of(server.connections[0])["audioEncoding"]

    assert len(pcm) // 2 == len(received)
    sent = np.frombuffer(decode_ulaw(bytes(received)), "<i2").astype(int)
    assert np.abs(sent - np.frombuffer(pcm, "<i2")).max() <= 8


# (audio, words of the error)
BAD_AUDIO: list[tuple[Any, str]] = [
    ("a text", "got a text of 6 characters"),
    (b"UklGRiQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YQAAAAA=", "got text"),
    (np.array([0.0, float("nan")]), "must be finite, got nan at sample 1"),
    (np.array([float("inf")]), "must be finite"),
    (np.array([12_000.0]), "divide by 32768"),
    (np.array([1, 2], dtype=np.int64), "must hold int16, int32, uint8, or floats"),
    (np.zeros((2, 3), np.int16), "ambiguous"),
    (None, "must be bytes or an array"),
    ([1, 2, 3], "must be bytes or an array"),
]  # fmt: skip


@pytest.mark.parametrize(("audio", "words"), BAD_AUDIO)
def test_bad_audio(audio: Any, words: str) -> None:
    """Invalid audio raises an error with the reason. The stream continues without this audio."""
    pcm, said = spoken_turns(1)
    with stt_server() as (iw, server):
        with iw.stt.stream(**QUICK) as stream:
            with pytest.raises(AudioError, match=words):
                stream.send(audio)
            stream.send(pcm)

        assert said == stream.transcript.text
        assert pcm == bytes(server.connections[0].pcm)


def test_empty_audio() -> None:
    """Without audio there is no audio message, no turn, and a usage of 0."""
    with stt_server() as (iw, server):
        with iw.stt.stream() as stream:
            stream.send(b"")
            stream.send(np.zeros(0, np.float32))
        requests = [next(iter(request)) for request in server.connections[0].requests]

    assert ["transcribeConfig", "closeStream"] == requests
    assert () == stream.transcript.turns
    assert SttUsage(0, "m") == stream.transcript.usage


def test_odd_bytes() -> None:
    """A sample may be split between two calls. Half a sample at the end raises an error."""
    pcm, said = spoken_turns(1)
    with stt_server() as (iw, _):
        stream = iw.stt.stream(**QUICK)
        stream.send(pcm[:333])
        stream.send(pcm[333:] + b"\x01")
        with pytest.raises(AudioError, match="the last sample is cut"):
            stream.close()

    assert said == stream.transcript.text
    assert stream.ended is not None
    assert stream.ended.error is None


def test_silence() -> None:
    """Silence has no turn."""
    with stt_server() as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            stream.send(bytes(RATE_HZ * 2 * 5))

    assert () == stream.transcript.turns
    assert SttUsage(5000, "m") == stream.transcript.usage


# Sources.


class Source:
    """A source that records whether ``close`` was called."""

    sample_rate_hz = 8000

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = blocks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self.blocks

    def close(self) -> None:
        self.closed += 1


def test_feed_source() -> None:
    """A source is read to its end, converted from its own rate, and closed."""
    source = Source(bytes(1600), bytes(1600))
    assert isinstance(source, AudioSource)
    with stt_server() as (iw, server):
        with iw.stt.stream(**QUICK) as stream:
            stream.feed(source)
        sent = len(server.connections[0].pcm)

    assert 6400 == sent
    assert 1 == source.closed


def test_feed_file(tmp_path: Any) -> None:
    """A file of any rate and any number of channels is read from its path."""
    path = tmp_path / "a.wav"
    with WavWriter(path, 48_000) as file:
        file.write(bytes(48_000 * 2))
    with stt_server() as (iw, server):
        with iw.stt.stream(**QUICK) as stream:
            stream.feed(path)
            stream.feed(str(path))
            stream.feed(path.read_bytes())
            stream.feed(WavSource(path))
        sent = len(server.connections[0].pcm)

    assert 4 * RATE_HZ * 2 == sent


def test_feed_pieces() -> None:
    """An iterable of audio is read piece by piece. The pieces may be of different kinds."""
    pcm, said = spoken_turns(2)
    half = len(pcm) // 4 * 2
    with stt_server() as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            stream.feed(iter([pcm[:half], np.frombuffer(pcm[half:], "<i2")]))

    assert said == stream.transcript.text


def test_feed_that_raises() -> None:
    """An exception of an iterable is raised unchanged, and the stream ends at once."""

    def pieces() -> Iterator[bytes]:
        yield bytes(3200)
        raise ZeroDivisionError

    with stt_server() as (iw, _):
        with pytest.raises(ZeroDivisionError), iw.stt.stream(**QUICK) as stream:
            stream.feed(pieces())

    assert stream.ended is not None
    assert isinstance(stream.ended.error, ClosedError)


def test_realtime() -> None:
    """With realtime=True, a feed sends audio in real time."""
    with stt_server() as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            started = time.monotonic()
            stream.feed(bytes(RATE_HZ * 2 // 2), realtime=True)
            took = time.monotonic() - started

    # Half a second has five pieces of 100 ms. The last piece is sent 400 ms after the first piece.
    assert took >= 0.39


def test_feed_ends_with_its_stream() -> None:
    """If another thread closes the stream, a feed that waits returns."""
    with stt_server() as (iw, _):
        stream = iw.stt.stream(**QUICK)
        feeding = threading.Thread(
            target=stream.feed, args=(bytes(RATE_HZ * 2 * 60),), kwargs={"realtime": True}
        )
        feeding.start()
        transcript = stream.close()
        feeding.join(30)

        assert not feeding.is_alive()
        assert transcript.usage is not None


# Waiting for room.


# Ten chunks a second are sent, and at most two wait.
NARROW: dict[str, Any] = {"max_chunks_per_second": 10, "max_waiting_bytes": 6400}


def test_block() -> None:
    """With overflow="block", send() waits for room until its timeout."""
    with stt_server() as (iw, server):
        with iw.stt.stream(**NARROW) as stream:
            stream.send(bytes(16_000))
            with pytest.raises(DeadlineExceeded, match="no room for 6400 bytes of audio"):
                stream.send(bytes(32_000), timeout=0.05)
            waiting = stream.stats.waiting_ms
        sent = len(server.connections[0].pcm)

    assert 0 < waiting <= 200
    assert 16_000 <= sent < 48_000


def test_raise() -> None:
    """With overflow="raise", a full queue raises an error at once."""
    with stt_server() as (iw, server):
        with iw.stt.stream(overflow="raise", **NARROW) as stream:
            taken = 0
            with pytest.raises(DeadlineExceeded, match="max_waiting_bytes is 6400"):
                while True:
                    stream.send(bytes(3200))
                    taken += 3200
        sent = len(server.connections[0].pcm)

    assert taken == sent


def test_drop_oldest() -> None:
    """With overflow="drop_oldest", send() drops and counts the oldest audio instead of waiting."""
    newest = b"\x07\x00" * 3200
    with stt_server(recognizer={"counts_only": True}) as (iw, server):
        with iw.stt.stream(overflow="drop_oldest", **NARROW) as stream:
            stream.send(bytes(64_000))
            stream.send(newest)
        dropped_ms = stream.stats.dropped_ms
        sent = bytes(server.connections[0].pcm)

    assert sent.endswith(newest)
    assert dropped_ms > 0
    assert 2200 == len(sent) / 32 + dropped_ms


def test_interrupted_wait() -> None:
    """A thread that waits for room gets an error if the stream is closed."""
    raised: list[BaseException] = []
    with stt_server() as (iw, _):
        stream = iw.stt.stream(**NARROW)

        def send() -> None:
            try:
                stream.send(bytes(640_000))
            except ClosedError as error:
                raised.append(error)

        sending = threading.Thread(target=send)
        sending.start()
        deadline = time.monotonic() + 30
        while not stream.stats.sent_ms and time.monotonic() < deadline:
            time.sleep(0.001)
        stream.close()
        sending.join(30)

    assert 1 == len(raised)


# Events.


def test_events() -> None:
    """Events arrive in the order of the speech."""
    pcm, _ = spoken_turns(2)
    with stt_server() as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            stream.send(pcm)
            stream.finish()
            events = list(stream)

    kinds = [type(event) for event in events]
    assert [SpeechStarted, *[Transcription] * 2, SpeechStopped, Transcription, SttUsage] == kinds
    assert ["w1", "w1 w2", "w1 w2"] == [str(e) for e in events if isinstance(e, Transcription)]
    assert [500, 800] == [word.start_ms for word in stream.transcript.words]


def test_four_ways() -> None:
    """Iteration, handlers and subscriptions each get all events."""
    pcm, said = spoken_turns(2)
    called: list[str] = []
    ends: list[StreamEnded] = []
    with stt_server() as (iw, _):
        with iw.stt.stream(on_transcript=lambda t: called.append(t.text), **QUICK) as stream:
            queue = stream.subscribe()
            stream.on(StreamEnded, ends.append)
            stream.send(pcm)
            transcript = stream.close()
            queued = [event for event in queue if isinstance(event, Transcription)]

    assert said == transcript.text
    assert [event.text for event in queued] == called
    [end] = ends
    assert ("client", None) == (end.by, end.error)


def test_class_that_is_never_emitted() -> None:
    """A handler for another service's event class raises an error that names the right class."""
    with stt_server() as (iw, _), iw.stt.stream() as stream:
        words = (
            r"an STT stream never emits inworld_sync\.realtime\.InputSpeechStarted; did you mean "
        )
        with pytest.raises(ConfigError, match=rf"{words}inworld_sync\.SpeechStarted\?$"):
            stream.on(InputSpeechStarted, print)


def test_poll() -> None:
    """With dispatch="poll" handlers run on the thread that polls."""
    pcm, said = spoken_turns(1)
    called: list[tuple[str, threading.Thread]] = []
    with stt_server(dispatch="poll") as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            stream.on(Transcription, lambda t: called.append((t.text, threading.current_thread())))
            stream.send(pcm)
            stream.close()
            while stream.poll():
                pass

    assert [(said, threading.current_thread())] * 2 == called


def test_raising_handler(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in a handler is logged once and counted. The stream continues."""
    pcm, said = spoken_turns(3)
    with stt_server() as (iw, _):
        with iw.stt.stream(on_transcript=lambda _: 1 / 0, **QUICK) as stream:  # type: ignore[arg-type]
            stream.send(pcm)
            transcript = stream.close()

    assert said == transcript.text
    assert 4 == stream.handler_errors
    assert 1 == sum("handler" in record.message for record in caplog.records)


def test_unknown_events() -> None:
    """A message of an unknown kind is read as an UnknownEvent with the whole message."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "usage":
            connection.send({"result": {"sentiment": {"label": "fine"}}})

    with stt_server(hook) as (iw, _):
        with iw.stt.stream() as stream:
            stream.finish()
            [unknown, _] = stream

    assert isinstance(unknown, UnknownEvent)
    assert "sentiment" == unknown.type


def test_end_turn() -> None:
    """end_turn ends the turn exactly after the audio that was sent."""
    pcm, _ = spoken_turns(3, pause_ms=0)
    # The first two words and the gap after the second word.
    cut = 2 * 300 * 32
    with stt_server(recognizer={"is_manual": True}) as (iw, _):
        with iw.stt.stream(inworld=InworldSttConfig(vad_threshold=0.0), **QUICK) as stream:
            stream.send(pcm[:cut])
            stream.end_turn()
            stream.send(pcm[cut:])
            stream.end_turn()
            transcript = stream.close()

    assert ["w1 w2", "w3"] == [turn.text for turn in transcript.turns]


def test_end_turn_sends_all() -> None:
    """Samples in the resampler are sent before the end of the turn."""
    pcm = bytes(48_000 * 2)
    counts: list[int] = []

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "endTurn":
            counts.append(len(connection.pcm))

    with stt_server(hook) as (iw, _):
        with iw.stt.stream(sample_rate_hz=48_000, **QUICK) as stream:
            stream.send(pcm)
            stream.end_turn()

    assert [RATE_HZ * 2] == counts


# The end.


def test_close_twice() -> None:
    """A second close returns the same transcript."""
    pcm, said = spoken_turns(1)
    with stt_server() as (iw, _):
        stream = iw.stt.stream(**QUICK)
        stream.send(pcm)

        assert said == stream.close().text
        assert said == stream.close().text


def test_closed_stream() -> None:
    """A closed stream accepts no audio."""
    with stt_server() as (iw, _):
        with iw.stt.stream() as stream:
            pass
        for call in (lambda: stream.send(bytes(2)), stream.end_turn):
            with pytest.raises(ClosedError, match="accepts no more audio"):
                call()
        stream.feed(bytes(3200))


def test_exception_in_the_block() -> None:
    """An exception in the ``with`` block ends the stream without a wait for the transcript."""
    with stt_server(lambda connection, name: connection.until_left()) as (iw, _):
        with pytest.raises(KeyError), iw.stt.stream() as stream:
            raise KeyError

    # If the stream had waited for the last words, the error would be DeadlineExceeded.
    assert stream.ended is not None
    assert isinstance(stream.ended.error, ClosedError)


def test_consumer_when_the_client_closes() -> None:
    """Closing the client ends its streams. A thread that waits for events gets an error."""
    with stt_server() as (iw, _):
        stream = iw.stt.stream()
        closing = threading.Thread(target=iw.close)
        closing.start()
        with pytest.raises(ClosedError, match=r"call close\(\) to wait for them"):
            for _ in stream:
                pass
        closing.join(30)
        with pytest.raises(ClosedError):
            stream.close()


def test_client_closes() -> None:
    """Closing the client ends its streams at once."""
    with stt_server(lambda connection, name: connection.until_left()) as (iw, _):
        stream = iw.stt.stream()
        iw.close()

        # If the stream had waited for the last words, the error would be DeadlineExceeded.
        assert stream.ended is not None
        assert isinstance(stream.ended.error, ClosedError)
        with pytest.raises(ClosedError):
            stream.send(bytes(2))
        with pytest.raises(ClosedError):
            iw.stt.stream()


def test_closed_stream_frees_everything() -> None:
    """A closed stream leaves no thread and no open socket."""
    with stt_server() as (iw, _):
        before = threading.active_count()
        for _ in range(3):
            iw.stt.stream().close()
        gc.collect()

        assert before + 3 >= threading.active_count()


class QuickClock:
    """A clock on which an hour passes in a third of a second."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() * 10_000


def resident_bytes() -> int:
    """Return the memory of this process in bytes, or 0 if the system does not report it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0


def test_two_hours_of_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours of silence are sent completely, and have no turn. The buffers do not grow."""
    monkeypatch.setattr(audio_buffer, "time", QuickClock)
    # With larger chunks, the test needs fewer messages and does not take minutes.
    monkeypatch.setattr(audio_buffer, "_CHUNK_MS", 10_000)
    minute = bytes(8000 * 2 * 60)
    memory: list[int] = []

    def hook(connection: SttConnectionScript, name: str) -> None:
        connection.requests.clear()
        connection.keeps_audio = False

    def minutes() -> Iterator[bytes]:
        for _ in range(120):
            memory.append(resident_bytes())
            yield minute

    with stt_server(hook, recognizer={"counts_only": True}) as (iw, server):
        stream = iw.stt.stream(
            sample_rate_hz=8000,
            config=TranscribeConfig(sample_rate_hz=8000),
            max_chunks_per_second=1e6,
        )
        stream.feed(minutes())
        transcript = stream.close(60)
        [connection] = server.connections

    assert () == transcript.turns
    assert 7200 * 8000 == connection.recognizer.samples
    # At the beginning, the buffers are filled. The next 90 minutes are 86 MB of audio. Without the
    # GIL, the allocator of a busy process may keep some freed memory.
    assert memory[-1] - memory[30] < 48 << 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_child() -> None:
    """A stream can be used only in the process that opened the stream."""
    with stt_server() as (iw, _):
        with iw.stt.stream() as stream:
            raised = in_child(lambda: stream.send(bytes(2)))

    assert raised.startswith("ClosedError: ")
    assert "forked child" in raised


def test_many_streams_at_once() -> None:
    """Streams of one client do not affect each other."""
    turns = [(1, 2), (3,), (2, 2, 2), (4, 1), (1,)] * 2
    results: dict[int, str] = {}

    def transcribe(number: int) -> None:
        with iw.stt.stream(**QUICK) as stream:
            stream.send(spoken_turns(*turns[number])[0])
            results[number] = stream.close().text

    with stt_server() as (iw, _):
        threads = [threading.Thread(target=transcribe, args=(n,)) for n in range(len(turns))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert {n: number_names(*range(1, sum(t) + 1)) for n, t in enumerate(turns)} == results


def test_no_consumer_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a consumer of events, close returns the whole transcript."""
    monkeypatch.setattr(mailbox, "MAX_WAITING_BYTES", 2000)
    pcm, said = spoken_turns(3, 3, 3, 3)
    with stt_server() as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            stream.send(pcm)

    assert said == stream.transcript.text


# Calls that wait, with a timeout.
WAITS: dict[str, Callable[[SttStream, Any], object]] = {
    "send": lambda stream, timeout: stream.send(b"", timeout=timeout),
    "feed": lambda stream, timeout: stream.feed([b""], timeout=timeout),
    "end_turn": lambda stream, timeout: stream.end_turn(timeout=timeout),
    "finish": lambda stream, timeout: stream.finish(timeout),
    "events": lambda stream, timeout: next(stream.events(timeout)),
    "close": lambda stream, timeout: stream.close(timeout),
}


@pytest.mark.parametrize("name", WAITS)
def test_wrong_timeouts(name: str) -> None:
    """A timeout that is negative or not a number raises an error, and the stream continues."""
    pcm, said = spoken_turns(1)
    with stt_server() as (iw, _):
        with iw.stt.stream(max_chunks_per_second=2000) as stream:
            for timeout in (-1, float("nan"), "5"):
                with pytest.raises(ConfigError, match=r"timeout must be .* seconds"):
                    WAITS[name](stream, timeout)
            stream.send(pcm)

    assert said == stream.transcript.text


@pytest.mark.parametrize("timeout", [1e12, float("inf"), None])
def test_long_timeouts(timeout: float | None) -> None:
    """With a long timeout, or without a timeout, a call waits for the service."""
    pcm, said = spoken_turns(1)
    with stt_server() as (iw, _):
        with iw.stt.stream(max_chunks_per_second=2000, timeout=timeout) as stream:
            stream.send(pcm, timeout=timeout)
            stream.end_turn(timeout=timeout)
            stream.finish(timeout)
            assert isinstance(next(stream.events(timeout)), SpeechStarted)
            assert said == stream.close(timeout).text
        recorded = iw.stt.transcribe(pcm, sample_rate_hz=16_000, timeout=timeout)

    assert said == recorded.text


@pytest.mark.parametrize("method", ["stream", "http"])
@pytest.mark.parametrize("timeout", [-1, float("nan"), "5"])
def test_wrong_timeouts_of_recordings(method: Any, timeout: Any) -> None:
    """A wrong timeout raises an error before anything is sent."""
    with stt_server() as (iw, server):
        with pytest.raises(ConfigError, match="timeout must be"):
            iw.stt.transcribe(bytes(32), sample_rate_hz=16_000, method=method, timeout=timeout)
        with pytest.raises(ConfigError, match="timeout must be"):
            iw.stt.stream(timeout=timeout)
        assert not server.connections


# Messages that cannot be read.


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        '{"result":{"x":NaN}}',
        '\ufeff{"result":{}}',
        '{"result":5}',
        '{"result":{"transcription":"w9"}}',
        '{"result":{"transcription":{"transcript":9,"isFinal":true}}}',
        '{"result":{"transcription":{"transcript":"w9","isFinal":"true"}}}',
    ],
)
def test_an_unreadable_message(message: str) -> None:
    """A message that cannot be read is emitted as an event, and the transcript is complete."""

    def odd(connection: SttConnectionScript, moment: str) -> None:
        if moment == "chunk" and connection.counts[moment] == 2:
            connection.send(message)

    pcm, said = spoken_turns(2, 1)
    with stt_server(odd) as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            handled: list[InvalidMessage] = []
            stream.on(InvalidMessage, handled.append)
            stream.send(pcm)
            text = stream.close().text
    assert said == text.replace(".", "")
    assert [""] == [event.type for event in handled]


def test_an_error_without_a_close() -> None:
    """If no CLOSE frame follows an error of the connection, the error is emitted as an event."""

    def odd(connection: SttConnectionScript, moment: str) -> None:
        if moment == "chunk" and connection.counts[moment] == 2:
            connection.send({"error": "out of order"})
            connection.send({"error": {"code": 3, "message": "invalid request"}})

    pcm, said = spoken_turns(2, 1)
    with stt_server(odd) as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            handled: list[InvalidMessage] = []
            stream.on(InvalidMessage, handled.append)
            stream.send(pcm)
            text = stream.close().text

    assert said == text
    assert [("error", 2), ("error", 3)] == [
        (event.type, event.error.code)  # type: ignore[attr-defined]
        for event in handled
    ]


def test_fields_of_a_wrong_type(caplog: pytest.LogCaptureFixture) -> None:
    """If optional fields have a wrong type, no word is lost, and each field is logged once."""

    def odd(connection: SttConnectionScript, moment: str) -> None:
        if moment == "chunk" and connection.counts[moment] in (2, 3):
            connection.send({"result": {"speechStarted": {"confidence": "high"}, "status": []}})
        elif moment == "usage":
            connection.send({"result": {"usage": ["much"]}})
            connection.until_left()

    pcm, said = spoken_turns(2, 1)
    with stt_server(odd) as (iw, _):
        with iw.stt.stream(**QUICK) as stream:
            stream.send(pcm)
            transcript = stream.close()
        warnings = stream.stats.warnings

    assert {"result.status": 2, "result.speechStarted.confidence": 2, "result.usage": 1} == warnings
    assert (said, SttUsage()) == (transcript.text, transcript.usage)
    for name in ("result.status", "result.speechStarted.confidence", "result.usage"):
        assert 1 == caplog.text.count(f"ignored {name},")
