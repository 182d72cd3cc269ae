"""Every encoding is decoded by a library that shares no code with the server."""

from __future__ import annotations

import base64
import io
import struct
import time
from typing import Any

import numpy as np
import pytest
import soundfile

from inworld_sync.emulator import Emulator, Settings

from support.tone import ToneSynthesizer, tone_seconds
from support.tts_client import TtsClient, audio_of, chunks_of, open_tts

TEXT = "A sentence that is long enough for some chunks."
SECONDS = tone_seconds(TEXT)
TONE_HZ = 200


def spoken(client: TtsClient, text: str = TEXT, **audio: Any) -> list[bytes]:
    """Speak a text in a new context. Return the chunks of audio."""
    client.create(audioConfig=audio)
    client.text(text)
    client.close()
    return chunks_of(client.until("contextClosed"))


def pitch_hz(samples: np.ndarray[Any, Any], rate_hz: int) -> float:
    """Return the strongest frequency of a tone."""
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    return float(np.argmax(spectrum[1:]) + 1) * rate_hz / len(samples)


def decoded(data: bytes) -> tuple[np.ndarray[Any, Any], int]:
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="int16")
    return samples, rate_hz


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_pcm(client: TtsClient, rate_hz: int) -> None:
    """PCM has 16-bit samples and no header at any rate, and resampling keeps the duration."""
    data = b"".join(spoken(client, audioEncoding="PCM", sampleRateHertz=rate_hz))
    samples = np.frombuffer(data, "<i2")

    assert abs(SECONDS * rate_hz - len(samples)) <= 1
    assert abs(TONE_HZ - pitch_hz(samples, rate_hz)) < 1


def test_default_is_mp3_at_48_khz(client: TtsClient) -> None:
    """The default is MP3 at 48 kHz and 128 kbit/s."""
    data = b"".join(spoken(client))

    info = soundfile.info(io.BytesIO(data))
    assert ("MP3", 48000) == (info.format, info.samplerate)
    assert abs(128000 - len(data) * 8 / info.duration) < 8000


@pytest.mark.parametrize("rate_hz", [8000, 24000])
def test_linear16_headers(client: TtsClient, rate_hz: int) -> None:
    """The first and the last chunk of a flush have RIFF headers. The last chunk has 5 samples."""
    chunks = spoken(client, audioEncoding="LINEAR16", sampleRateHertz=rate_hz)

    assert len(chunks) > 3
    for chunk in (chunks[0], chunks[-1]):
        assert (b"RIFF", b"WAVE", b"data") == (chunk[:4], chunk[8:12], chunk[36:40])
        assert (1, 1, rate_hz, rate_hz * 2, 2, 16) == struct.unpack_from("<HHIIHH", chunk, 20)
        riff_bytes, data_bytes = (
            struct.unpack_from("<I", chunk, 4),
            struct.unpack_from("<I", chunk, 40),
        )
        assert (len(chunk) - 8, len(chunk) - 44) == (riff_bytes[0], data_bytes[0])
    assert 54 == len(chunks[-1])
    assert not any(chunk.startswith(b"RIFF") for chunk in chunks[1:-1])


def test_linear16_is_the_same_audio_as_pcm(client: TtsClient) -> None:
    """Without its headers, LINEAR16 is the same as PCM."""
    chunks = spoken(client, audioEncoding="LINEAR16", sampleRateHertz=24000)
    bare = [chunks[0][44:], *chunks[1:-1], chunks[-1][44:]]

    assert b"".join(spoken(client, audioEncoding="PCM", sampleRateHertz=24000)) == b"".join(bare)


def test_linear16_headers_of_every_flush(client: TtsClient) -> None:
    """The audio of each flush has two RIFF headers."""
    client.create(audioConfig={"audioEncoding": "LINEAR16", "sampleRateHertz": 24000})
    for _ in range(2):
        client.text("Hello.")
        client.flush()
    client.close()
    chunks = chunks_of(client.until("contextClosed"))

    assert 4 == sum(chunk.startswith(b"RIFF") for chunk in chunks)


def test_wav(client: TtsClient) -> None:
    """WAV has one header for each flush. The joined chunks of a flush are a WAV file."""
    chunks = spoken(client, audioEncoding="WAV", sampleRateHertz=24000)
    samples, rate_hz = decoded(b"".join(chunks))

    assert [True] + [False] * (len(chunks) - 1) == [c.startswith(b"RIFF") for c in chunks]
    assert (24000, round(SECONDS * 24000)) == (rate_hz, len(samples))


@pytest.mark.parametrize(
    ("encoding", "subtype"), [("MULAW", "ULAW"), ("ALAW", "ALAW")], ids=["mulaw", "alaw"]
)
def test_g711(client: TtsClient, encoding: str, subtype: str) -> None:
    """mu-law and A-law have one byte for each sample, and no header."""
    data = b"".join(spoken(client, audioEncoding=encoding, sampleRateHertz=8000))
    samples, _ = soundfile.read(
        io.BytesIO(data), dtype="int16", format="RAW", subtype=subtype, channels=1, samplerate=8000
    )

    assert abs(SECONDS * 8000 - len(samples)) <= 1
    assert abs(TONE_HZ - pitch_hz(samples, 8000)) < 1


# (encoding, requested rate, rate of the file). Opus rounds up to a rate that it supports.
CONTAINERS = [
    ("MP3", 24000, 24000),
    ("MP3", 44100, 44100),
    ("OGG_OPUS", 24000, 24000),
    ("OGG_OPUS", 44100, 48000),
    ("FLAC", 22050, 22050),
]


@pytest.mark.parametrize(("encoding", "asked_hz", "got_hz"), CONTAINERS)
def test_containers(client: TtsClient, encoding: str, asked_hz: int, got_hz: int) -> None:
    """The joined chunks are one file of the right length."""
    data = b"".join(spoken(client, audioEncoding=encoding, sampleRateHertz=asked_hz))
    samples, rate_hz = decoded(data)

    assert got_hz == rate_hz
    # MP3 is longer, because an MP3 file has only whole frames and begins with a delay.
    assert abs(SECONDS - len(samples) / rate_hz) < (0.1 if encoding == "MP3" else 0.001)
    assert abs(TONE_HZ - pitch_hz(samples, rate_hz)) < 1


@pytest.mark.parametrize("encoding", ["MP3", "OGG_OPUS"])
def test_bit_rate(client: TtsClient, encoding: str) -> None:
    """A lower bitRate gives fewer bytes."""
    sizes = [
        len(b"".join(spoken(client, audioEncoding=encoding, sampleRateHertz=24000, bitRate=rate)))
        for rate in (16000, 64000)
    ]

    assert sizes[0] * 2 < sizes[1]


def test_mp3_is_streamed(client: TtsClient) -> None:
    """MP3 is sent in many chunks, not in one chunk at the end."""
    assert len(spoken(client, audioEncoding="MP3", sampleRateHertz=24000)) > 5


@pytest.mark.parametrize("rate", [0.5, 1.0, 1.5])
def test_speaking_rate(client: TtsClient, rate: float) -> None:
    """speakingRate divides the duration."""
    data = b"".join(spoken(client, audioEncoding="PCM", sampleRateHertz=24000, speakingRate=rate))

    assert abs(SECONDS / rate - len(data) / 48000) < 0.01


def test_chunk_size_is_a_setting() -> None:
    """chunk_ms is the length of the audio in each message. Only the last message may have less."""
    settings = Settings(chunk_ms=40)
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        open_tts(server) as client,
    ):
        chunks = spoken(client, audioEncoding="PCM", sampleRateHertz=16000)

    assert {40 * 16 * 2} == {len(chunk) for chunk in chunks[:-1]}


def test_pace_is_a_setting() -> None:
    """With pace=10, ten seconds of audio are sent in one second, not faster."""
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=Settings(pace=10)) as server,
        open_tts(server) as client,
    ):
        started = time.monotonic()
        spoken(client, audioEncoding="PCM", sampleRateHertz=24000)

        assert time.monotonic() - started >= SECONDS / 10


def test_audio_is_the_same_every_time(client: TtsClient) -> None:
    """The same request gives the same bytes."""
    first, second = (spoken(client, audioEncoding="MP3") for _ in range(2))

    assert first == second


def test_base64_is_padded(client: TtsClient) -> None:
    """audioContent is padded base64 in each message."""
    client.create()
    client.text(TEXT)
    client.flush()
    results = client.until("flushCompleted")
    texts = [result["audioChunk"]["audioContent"] for result in results if "audioChunk" in result]

    assert all(base64.b64encode(base64.b64decode(text)).decode() == text for text in texts)
    assert audio_of(results)
