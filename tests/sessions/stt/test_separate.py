"""The channels of one recording are transcribed separately and at the same time."""

from __future__ import annotations

import io
import threading
import time
import wave
from collections.abc import Iterator

import numpy as np
import pytest

from inworld_sync import (
    AudioConfig,
    AudioError,
    ConfigError,
    ConnectionLimiter,
    Inworld,
    PartialTranscript,
    ServiceError,
    TranscribeConfig,
    Transcript,
    Transcription,
    WavSource,
)
from inworld_sync.emulator import Emulator
from inworld_sync.errors import QuotaError
from inworld_sync.models.stt import SttUsage
from inworld_sync.models.turns import Turn, Word
from inworld_sync.sessions.stt.separate import merge_transcripts

from support.scripted_stt import SttConnectionScript, stt_server
from support.sentences import word_errors
from support.spoken_words import RATE_HZ, spoken_turns

LEFT, LEFT_TEXT = spoken_turns(2, 3)
RIGHT, RIGHT_TEXT = spoken_turns(1, 2)


def interleaved(*channels: bytes) -> bytes:
    """Return the channels interleaved. Silence is appended to the shorter channels."""
    size_bytes = max(map(len, channels))
    columns = [np.frombuffer(each.ljust(size_bytes, b"\0"), "<i2") for each in channels]
    return np.stack(columns, axis=1).tobytes()


def wav(*channels: bytes) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(interleaved(*channels))
    return content.getvalue()


def texts(transcript: Transcript) -> list[tuple[int | None, str]]:
    return [(turn.channel, turn.text) for turn in transcript.turns]


def channel_texts(transcript: Transcript) -> list[str]:
    count = 1 + max(channel or 0 for channel, _ in texts(transcript))
    return [" ".join(t for n, t in texts(transcript) if n == channel) for channel in range(count)]


TALK = [(0, "w1 w2"), (1, "w1"), (1, "w2 w3"), (0, "w3 w4 w5")]


def test_turns_are_merged() -> None:
    """The turns are in the order of their starts. Each turn has its channel and speaker."""
    with stt_server() as (iw, server):
        transcript = iw.stt.transcribe(wav(LEFT, RIGHT), channels="separate")

        assert texts(transcript) == TALK
        assert transcript.text == "\n".join(f"channel {n}: {text}" for n, text in TALK)
        words = [(word.text, word.channel, word.speaker) for word in transcript.words]
        assert [("w1", 0, "channel 0"), ("w2", 0, "channel 0"), ("w1", 1, "channel 1")] == words[:3]
        assert len(server.connections) == 2
        sent_ms = sum(len(each.pcm) for each in server.connections) // 32
        assert SttUsage(sent_ms, "m") == transcript.usage


def test_transcripts_are_emitted_with_their_channel() -> None:
    """The handler gets the partial and final transcripts of all channels."""
    said: list[Transcription] = []
    with stt_server() as (iw, _):
        iw.stt.transcribe(wav(LEFT, RIGHT), channels="separate", on_transcript=said.append)

    finals = [(each.channel, each.text) for each in said if each.is_final]
    assert sorted(TALK) == sorted(finals)
    assert all(word.channel == each.channel for each in said for word in each.words)
    assert str(said[0]) == said[0].text


@pytest.mark.parametrize("channel", [0, 1])
def test_one_channel(channel: int) -> None:
    """With a channel number, only this channel is transcribed, like a mono recording."""
    mono = (LEFT, RIGHT)[channel]
    with stt_server() as (iw, _):
        transcript = iw.stt.transcribe(wav(LEFT, RIGHT), channel=channel)
        alone = iw.stt.transcribe(wav(mono.ljust(len(LEFT), b"\0")))

    assert alone == transcript
    assert transcript.turns[0].channel is None


def test_eight_channels() -> None:
    """A recording may have eight channels, and some of these channels may be silent."""
    channels = [spoken_turns(number)[0] if number % 2 else b"" for number in range(8)]
    with stt_server() as (iw, server):
        transcript = iw.stt.transcribe(wav(*channels), channels="separate")

        assert len(server.connections) == 8
    assert {1: 1, 3: 3, 5: 5, 7: 7} == {t.channel: len(t.words) for t in transcript.turns}


def test_mono() -> None:
    """A recording with one channel has one transcript, of channel 0."""
    with stt_server() as (iw, _):
        transcript = iw.stt.transcribe(wav(LEFT), channels="separate")

    assert [(0, "w1 w2"), (0, "w3 w4 w5")] == texts(transcript)


def test_forms() -> None:
    """The channels of raw samples, arrays and iterables are transcribed separately too."""
    pcm = interleaved(LEFT, RIGHT)
    frames = np.frombuffer(pcm, "<i2").reshape(-1, 2)
    with stt_server() as (iw, _):
        for audio in (
            pcm,
            io.BytesIO(pcm),
            iter([pcm[:1001], pcm[1001:]]),
            frames,
            frames.T,
            [frames[:1000], frames[1000:]],
        ):
            found = iw.stt.transcribe(audio, sample_rate_hz=RATE_HZ, channels="separate")

            assert texts(found) == TALK


def test_http() -> None:
    """method="http" sends one request for each channel."""
    with Emulator() as server, Inworld(base_url=server.url, api_key=server.api_key) as iw:
        silent = iw.stt.transcribe(wav(b"\0" * 64000, b""), channels="separate", method="http")

    assert silent.turns == ()


WRONG = [
    ({"channels": "separate", "channel": 0}, ConfigError, "cannot be combined"),
    ({"channels": "both"}, ConfigError, "channels must be 1 to 64 or 'separate', got 'both'"),
    ({"channels": 0}, ConfigError, "channels must be 1 to 64"),
    ({"channel": 2}, ConfigError, "has the channels 0 to 1, got 2"),
    ({"channel": 7}, ConfigError, "has the channels 0 to 1, got 7"),
    ({"channel": -1}, ConfigError, "has the channels 0 to 1, got -1"),
    ({"channel": True}, ConfigError, "got True"),
    ({"method": "post"}, ConfigError, "method must be"),
]


@pytest.mark.parametrize(("settings", "error", "words"), WRONG)
def test_wrong_arguments(settings: dict[str, object], error: type[Exception], words: str) -> None:
    """A wrong argument raises an error before a connection is made."""
    with stt_server() as (iw, server):
        with pytest.raises(error, match=words):
            iw.stt.transcribe(wav(LEFT, RIGHT), **settings)  # type: ignore[arg-type]
        for audio in (WavSource(wav(LEFT, RIGHT)),):
            with pytest.raises(ConfigError, match="a WavSource has one channel"):
                iw.stt.transcribe(audio, channels="separate")

        assert server.connections == []


# Failures.


@pytest.mark.parametrize("channel", [0, 1])
def test_failure_of_one_channel(channel: int) -> None:
    """If the stream of a channel fails, the other streams end, and the error names the channel."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        # The streams of a recording are opened in the order of its channels.
        if name == "closeStream" and connection.number == channel + 1:
            connection.error(3, "no more")
            connection.send_close(1000)

    before = threading.active_count()
    with stt_server(hook) as (iw, _):
        with pytest.raises(ServiceError, match=f"^channel {channel}: no more") as caught:
            iw.stt.transcribe(wav(LEFT, RIGHT), channels="separate")
        partial = caught.value.partial

        assert isinstance(partial, PartialTranscript)
        assert partial.channel == channel
        # The finished turns of all channels are kept.
        assert set(texts(partial.transcript)) <= set(TALK)
        assert (channel, TALK[channel][1]) in texts(partial.transcript)
    assert threading.active_count() <= before


def test_failure_ends_the_wait_for_the_other_channel() -> None:
    """If a channel fails, the other channels end at once, before their timeouts."""
    may_fail = threading.Event()

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "usage":
            if connection.number == 1:
                may_fail.set()
                connection.peer.read_until_end()
                return
            assert may_fail.wait(30)
            connection.error(3, "no more")
            connection.send_close(1000)

    started = time.monotonic()
    with stt_server(hook) as (iw, _):
        with pytest.raises(ServiceError, match=r"^channel 1: no more"):
            iw.stt.transcribe(wav(LEFT, RIGHT), channels="separate", timeout=120)

    assert time.monotonic() - started < 60


def test_lost_connection_of_one_channel() -> None:
    """If a channel loses its connection, the channel reconnects. No word is lost or repeated."""

    def hook(connection: SttConnectionScript, name: str) -> None:
        if name == "final" and connection.number == 2:
            connection.reset()

    with stt_server(hook) as (iw, server):
        transcript = iw.stt.transcribe(wav(LEFT, RIGHT), channels="separate")

        assert len(server.connections) == 3
    assert [LEFT_TEXT, RIGHT_TEXT] == channel_texts(transcript)


def test_damaged_recording() -> None:
    """An error of the recording itself ends all streams, and is raised unchanged."""
    before = threading.active_count()
    with stt_server() as (iw, _):
        with pytest.raises(AudioError, match="the last sample is cut"):
            iw.stt.transcribe(
                interleaved(LEFT, RIGHT)[:-1], sample_rate_hz=RATE_HZ, channels="separate"
            )

    assert threading.active_count() <= before


def test_no_connection() -> None:
    """If a channel cannot connect, the open channels are closed. The error names that channel."""
    with stt_server(max_retries=0, connect_timeout=5.0, limiter=ConnectionLimiter(1)) as (iw, _):
        with pytest.raises(QuotaError, match=r"^channel 1: the limit of connections"):
            iw.stt.transcribe(wav(LEFT, RIGHT), channels="separate")
        # The place is free again.
        assert iw.stt.transcribe(wav(LEFT)).text == LEFT_TEXT


def test_recordings_do_not_wait_for_each_other() -> None:
    """Four recordings that share three places do not block each other."""
    found: list[str] = []

    def transcribe(iw: Inworld) -> None:
        found.append(iw.stt.transcribe(wav(LEFT, RIGHT), channels="separate").text)

    with stt_server(limiter=ConnectionLimiter(3)) as (iw, _):
        threads = [threading.Thread(target=transcribe, args=(iw,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert len(found) == 4
    assert len(set(found)) == 1


# Merging.


def turn(text: str, start_ms: int | None = None, end_ms: int | None = None) -> Turn:
    return Turn(text, (), start_ms, end_ms)


def test_turns_without_times() -> None:
    """A turn without a start follows the previous turn of the same channel."""
    merged = merge_transcripts(
        [
            Transcript((turn("a", 0, 900), turn("b"), turn("c", 5000))),
            Transcript((turn("d", 800), turn("e", 1000), turn("f", None, 7000), turn("g"))),
        ]
    )

    assert list("adbefcg") == [each.text for each in merged.turns]
    assert merged.usage is None


def test_speakers_of_a_channel() -> None:
    """With diarization, a speaker is named by the channel and the label of the service."""
    words = (Word("a", speaker="1"), Word("b"))
    (found,) = merge_transcripts([Transcript((Turn("a b", words),))]).turns

    assert ["channel 0, speaker 1", "channel 0"] == [word.speaker for word in found.words]


# Real speech.

CALLER = ["I would like to book a table for two.", "Tomorrow evening at seven, please."]
AGENT = ["Of course, which day would you like?", "Thank you, your table is reserved."]


@pytest.fixture
def local(inworld_local: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=inworld_local.api_key, base_url=inworld_local.url) as iw:
        yield iw


@pytest.mark.parametrize("model", ["inworld/inworld-stt-1", "assemblyai/u3-rt-pro"])
def test_call_of_two_speakers(local: Inworld, model: str) -> None:
    """If two voices speak in turns, each on one channel, each turn has the right channel."""
    audio = AudioConfig("PCM", 16000)
    pause = bytes(16000)
    channels = [b"", b""]
    for turns in zip(CALLER, AGENT, strict=True):
        for channel, (text, voice) in enumerate(zip(turns, ("Ashley", "Dennis"), strict=True)):
            pcm = bytes(local.tts.synthesize(text, voice=voice, audio=audio).pcm) + pause
            channels[channel] += pcm
            channels[1 - channel] += bytes(len(pcm))
    config = TranscribeConfig(model=model, language="en-US")
    transcript = local.stt.transcribe(wav(*channels), channels="separate", config=config)

    assert [0, 1, 0, 1] == [each.channel for each in transcript.turns]
    said = [text for turns in zip(CALLER, AGENT, strict=True) for text in turns]
    for text, found in zip(said, transcript.turns, strict=True):
        assert word_errors(text, found.text) <= 1, (text, found.text)
        # The first model sends no words.
        assert bool(found.words) == model.startswith("assemblyai")
        assert {found.channel} >= {word.channel for word in found.words}
    starts = [each.start_ms or 0 for each in transcript.turns]
    assert starts == sorted(starts)
    # Channel 0 alone has the same words.
    caller = local.stt.transcribe(wav(*channels), channel=0, config=config)
    assert caller.text == " ".join(t.text for t in transcript.turns if t.channel == 0)
