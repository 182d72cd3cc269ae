"""In live streams of encoded audio, the bytes are sent unchanged and only once."""

from __future__ import annotations

import base64
import io
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from inworld_sync import (
    AudioConfig,
    AudioError,
    ConfigError,
    InvalidRequestError,
    Inworld,
    PartialTranscript,
    TranscribeConfig,
    WavSource,
)
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.errors import ConnectionLost, DeadlineExceeded, InworldError

from support.scripted_stt import SttConnectionScript, stt_server
from support.sentences import word_errors
from support.spoken_words import spoken_turns

ENCODINGS = ["AUTO_DETECT", "MP3", "OGG_OPUS", "FLAC"]
# The content has an odd length and is longer than a message.
CONTENT = random.Random(1).randbytes(70_001)
# The scripted service reads words in any bytes.
WORDS, TEXT = spoken_turns(2, 3)
SENTENCE = "The meeting is at seven."


def ignore_audio(connection: SttConnectionScript, name: str) -> None:
    if name == "config":
        connection.recognizer.feed = lambda _: []  # type: ignore[method-assign]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", ["pieces", "bytes", "path", "file", "iterable"])
def test_bytes_are_unchanged(encoding: str, form: str, tmp_path: Path) -> None:
    """The service gets exactly the bytes that the stream was given."""
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    pieces = [CONTENT[at : at + 997] for at in range(0, len(CONTENT), 997)]
    with stt_server(ignore_audio) as (iw, server):
        with iw.stt.stream(encoding=encoding) as stream:
            if form == "pieces":
                for piece in pieces:
                    stream.send(piece)
            elif form == "file":
                with path.open("rb") as file:
                    stream.feed(file)
            else:
                stream.feed({"bytes": CONTENT, "path": path, "iterable": iter(pieces)}[form])
            stream.close()
            stats = stream.stats

        (connection,) = server.connections
        assert bytes(connection.pcm) == CONTENT
        assert connection.requests[0]["transcribeConfig"]["audioEncoding"] == encoding
    assert (len(CONTENT), 0, 0.0) == (stats.sent_bytes, stats.waiting_bytes, stats.sent_ms)


def test_events() -> None:
    """The turns, the words and their times are those that the service sends."""
    with stt_server() as (iw, _):
        with iw.stt.stream(encoding="AUTO_DETECT") as stream:
            stream.send(WORDS)
            transcript = stream.close()

    assert transcript.text == TEXT
    assert [(500, 1000), (1600, 2400)] == [(t.start_ms, t.end_ms) for t in transcript.turns]


def test_turns_without_word_times() -> None:
    """Without times of words, a turn has no end time, because the audio has no known duration."""
    with stt_server(recognizer={"is_timed": False}) as (iw, _):
        with iw.stt.stream(encoding="AUTO_DETECT") as stream:
            stream.send(WORDS)
            stream.end_turn()
            transcript = stream.close()

    assert transcript.text == TEXT
    assert {None} == {turn.end_ms for turn in transcript.turns}


def test_small_pieces_are_sent_at_once() -> None:
    """A small piece is sent before more audio comes."""
    arrived = threading.Event()

    def hook(connection: SttConnectionScript, name: str) -> None:
        ignore_audio(connection, name)
        if name == "chunk":
            arrived.set()

    with stt_server(hook) as (iw, _), iw.stt.stream(encoding="MP3") as stream:
        stream.send(b"\xff")

        assert arrived.wait(30)


# Arguments.

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"sample_rate_hz": 44100}, "sample_rate_hz is for samples"),
    ({"channels": 2}, "channels is for samples"),
    ({"overflow": "drop_oldest"}, "overflow='drop_oldest' is for samples"),
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("settings", "words"), WRONG)
def test_settings_for_samples(encoding: str, settings: dict[str, Any], words: str) -> None:
    """Settings that need samples are refused before a connection is made."""
    with stt_server() as (iw, server):
        with pytest.raises(ConfigError, match=words):
            iw.stt.stream(encoding=encoding, **settings)

        assert server.connections == []


def test_channels_of_the_service() -> None:
    """The rate and channels of the config are sent, because the service may detect raw samples."""
    config = TranscribeConfig(encoding="AUTO_DETECT", sample_rate_hz=8000, channels=2)
    with stt_server(ignore_audio) as (iw, server):
        with iw.stt.stream(config=config) as stream:
            stream.close()

        sent = server.connections[0].requests[0]["transcribeConfig"]
    assert (8000, 2) == (sent["sampleRateHertz"], sent["numberOfChannels"])
    with stt_server() as (iw, _), pytest.raises(ConfigError, match="sent with one channel"):
        iw.stt.stream(config=TranscribeConfig(channels=2))


def test_recordings_are_decoded() -> None:
    """transcribe() decodes recordings itself, so it refuses the encoding of a compressed stream."""
    with stt_server() as (iw, server):
        with pytest.raises(ConfigError, match="LINEAR16 or MULAW, got the encoding MP3"):
            iw.stt.transcribe(b"", encoding="MP3")

        assert server.connections == []


@pytest.mark.parametrize(
    "audio",
    [np.zeros(10, "<i2"), "text", base64.b64encode(b"RIFF" + bytes(60)), b'{"audio": "x"}', 5],
    ids=["array", "str", "base64", "JSON", "int"],
)
def test_not_bytes(audio: Any) -> None:
    """A value that is not encoded audio raises an error, and the stream continues."""
    with stt_server() as (iw, _), iw.stt.stream(encoding="AUTO_DETECT") as stream:
        with pytest.raises(AudioError):
            stream.send(audio)
        stream.send(WORDS)

        assert stream.close().text == TEXT


def test_sources_of_samples() -> None:
    """A source of samples is refused. Sending in real time is also refused."""
    with stt_server() as (iw, _), iw.stt.stream(encoding="MP3") as stream:
        with pytest.raises(AudioError, match="got WavSource: samples are sent"):
            stream.feed(WavSource(bytes(320), sample_rate_hz=16000))
        with pytest.raises(ConfigError, match="cannot be sent in real time"):
            stream.feed(b"", realtime=True)


# Lost connections.


def test_reconnect_before_audio() -> None:
    """A connection that is lost before any audio was sent is replaced."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "config" and connection.number == 1:
            connection.reset()

    with stt_server(hook) as (iw, server):
        with iw.stt.stream(encoding="AUTO_DETECT") as stream:
            events = iter(stream.events(timeout=30))
            assert type(next(events)).__name__ == "Reconnected"
            stream.send(WORDS)

            assert stream.close().text == TEXT
        assert len(server.connections) == 2


@pytest.mark.parametrize("kind", ["reset", "hang_up", "send_close"])
def test_lost_connection(kind: str) -> None:
    """After audio was sent, a lost connection ends the stream. Nothing is sent again."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "final" and connection.counts[name] == 2:
            getattr(connection, kind)()

    with stt_server(hook) as (iw, server):
        stream = iw.stt.stream(encoding="AUTO_DETECT")
        with pytest.raises(ConnectionLost, match="cannot be sent again from the middle") as caught:
            stream.send(WORDS)
            stream.close()
        partial = caught.value.partial

        assert len(server.connections) == 1
    assert isinstance(partial, PartialTranscript)
    assert ("w1 w2", b"") == (partial.transcript.text, partial.pcm)


def test_error_of_the_service() -> None:
    """An error that the service reports is raised unchanged."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "final":
            connection.fail()

    with stt_server(hook) as (iw, _):
        stream = iw.stt.stream(encoding="AUTO_DETECT")
        with pytest.raises(InworldError, match="not now"):
            stream.send(WORDS)
            stream.close()


@pytest.mark.parametrize("ends", [True, False], ids=["closed", "silent"])
def test_no_usage(ends: bool) -> None:
    """Without the usage, an error is raised, because the transcript may be incomplete."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "usage":
            if ends:
                connection.send_close(1000)
            connection.peer.read_until_end()

    with stt_server(hook) as (iw, _):
        stream = iw.stt.stream(encoding="AUTO_DETECT")
        stream.send(WORDS)
        kind = ConnectionLost if ends else DeadlineExceeded
        with pytest.raises(kind, match="the usage, the proof") as caught:
            stream.close(timeout=30 if ends else 1)

        assert isinstance(caught.value.partial, PartialTranscript)
        assert caught.value.partial.transcript.text == TEXT


# The emulator.


@pytest.fixture
def accepting() -> Iterator[Inworld]:
    """Yield a client of an emulator that accepts compressed streams."""
    with Emulator(settings=Settings(stt_compressed_streams=True)) as server:
        with Inworld(api_key=server.api_key, base_url=server.url) as iw:
            yield iw


def encoded(pcm: bytes, encoding: str) -> bytes:
    samples = np.frombuffer(pcm, "<i2")
    content = io.BytesIO()
    form = {"FLAC": ("FLAC", "PCM_16"), "OGG_OPUS": ("OGG", "OPUS"), "AUTO_DETECT": ("WAV", None)}
    if encoding == "MP3":
        form["MP3"] = ("MP3", None)
    kind, subtype = form[encoding]
    soundfile.write(content, samples, 16000, subtype=subtype, format=kind)
    return content.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_real_speech(accepting: Inworld, encoding: str) -> None:
    """An emulator that accepts an encoding transcribes speech in this encoding."""
    audio = AudioConfig("PCM", 16000)
    pcm = bytes(accepting.tts.synthesize(SENTENCE, audio=audio).pcm) + bytes(16000)
    with accepting.stt.stream(encoding=encoding, language="en-US") as stream:
        stream.feed(encoded(pcm, encoding))

        assert word_errors(SENTENCE, stream.close(timeout=60).text) <= 1


@pytest.mark.parametrize("encoding", ENCODINGS[1:])
def test_refused_encoding(inworld_local: Emulator, encoding: str) -> None:
    """By default the emulator refuses compressed streams, as the service documents."""
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        stream = iw.stt.stream(encoding=encoding)
        with pytest.raises(InvalidRequestError, match=f"{encoding} is not supported in a stream"):
            stream.send(CONTENT)
            stream.close()
