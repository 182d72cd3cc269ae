"""Programs that use speech to text. Type checkers check this file. It never runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from typing_extensions import assert_type

from inworld_sync import (
    AudioSource,
    InvalidMessage,
    Inworld,
    InworldSttConfig,
    Reconnected,
    SpeechStarted,
    SpeechStopped,
    StreamEnded,
    SttEncoding,
    SttStats,
    SttStream,
    SttUsage,
    TranscribeConfig,
    Transcript,
    Transcription,
    Turn,
    UnknownEvent,
    VoiceProfile,
    Word,
)


def recordings(iw: Inworld, source: AudioSource, pieces: Iterator[bytes]) -> None:
    assert_type(iw.stt.transcribe("call.wav", language="en-US"), Transcript)
    iw.stt.transcribe(Path("call.flac"), method="http", prompts=["Inworld"])
    iw.stt.transcribe(bytes(2), sample_rate_hz=16000, channels=2)
    iw.stt.transcribe(bytearray(2), sample_rate_hz=16000)
    iw.stt.transcribe(memoryview(b"ab"), sample_rate_hz=16000)
    iw.stt.transcribe(np.zeros(10, np.int16), sample_rate_hz=8000)
    iw.stt.transcribe(np.zeros((10, 2), np.float32), sample_rate_hz=48000)
    iw.stt.transcribe(np.zeros(10), sample_rate_hz=48000)
    iw.stt.transcribe(pieces, sample_rate_hz=16000, realtime=True, on_transcript=print)
    iw.stt.transcribe(source, config=TranscribeConfig(model="soniox/stt-rt-v5"), timeout=5)


def transcripts(transcript: Transcript) -> None:
    assert_type(transcript.text, str)
    assert_type(transcript.turns, tuple[Turn, ...])
    assert_type(transcript.words, tuple[Word, ...])
    assert_type(transcript.usage, SttUsage | None)
    assert_type(transcript.turns[0].voice_profile, VoiceProfile | None)
    assert_type(transcript.to_srt(), str)


def streams(iw: Inworld, source: AudioSource) -> None:
    stream = iw.stt.stream(
        sample_rate_hz=48000,
        channels=2,
        overflow="drop_oldest",
        max_waiting_bytes=64_000,
        encoding=SttEncoding.MULAW,
        inworld=InworldSttConfig(vad_threshold=0.0),
        extra={"new": [1]},
    )
    assert_type(stream, SttStream)
    with stream as same:
        assert_type(same, SttStream)
        stream.send(b"ab", timeout=1.0)
        stream.feed(source, realtime=True)
        stream.feed("call.wav")
        stream.end_turn()
        stream.finish()
        for event in stream.events(timeout=5):
            assert_type(
                event,
                InvalidMessage
                | Reconnected
                | SpeechStarted
                | SpeechStopped
                | SttUsage
                | Transcription
                | UnknownEvent,
            )
        assert_type(stream.close(timeout=3.0), Transcript)
    assert_type(stream.transcript, Transcript)
    assert_type(stream.stats, SttStats)
    assert_type(stream.is_speaking, bool)
    assert_type(stream.ended, StreamEnded | None)
    assert_type(stream.poll(), int)


def wrong(iw: Inworld) -> None:
    iw.stt.stream(overflow="wait")  # type: ignore[arg-type]
    iw.stt.stream(sample_rate_hz="16000")  # type: ignore[arg-type]
    iw.stt.transcribe(5)  # type: ignore[arg-type]
    iw.stt.transcribe("a.wav", method="ftp")  # type: ignore[arg-type]
    iw.stt.transcribe("a.wav", color="red")  # type: ignore[call-arg]
    iw.stt.stream(lang="en-US")  # type: ignore[call-arg]
    iw.stt.stream(language=5)  # type: ignore[arg-type]
