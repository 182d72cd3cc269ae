"""Tests of the samples, files and subtitles of speech."""

from __future__ import annotations

import io
import struct
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inworld_sync import (
    AudioChunk,
    AudioConfig,
    AudioEncoding,
    AudioError,
    CharacterTime,
    ConfigError,
    DeadlineExceeded,
    Phoneme,
    Speech,
    TtsUsage,
    WordTime,
)
from inworld_sync.audio.files import open_file
from inworld_sync.sessions.tts.assembler import Assembler
from inworld_sync.wire.tts import AudioReceived

PCM = AudioConfig("PCM", 24000)


# Samples.

LAWS = [(AudioEncoding.MULAW, b"\xff\x7f\x00", [0, 0, -32124]), (AudioEncoding.ALAW, b"\xd5", [8])]


@pytest.mark.parametrize(("encoding", "data", "samples"), LAWS)
def test_g711(encoding: AudioEncoding, data: bytes, samples: list[int]) -> None:
    """``data`` is G.711 as received. ``pcm`` has the decoded samples."""
    chunk = AudioChunk("c", data, encoding, 8000)

    assert len(data) / 8 == chunk.duration_ms
    assert samples == list(struct.unpack(f"<{len(samples)}h", chunk.pcm))
    assert samples == chunk.numpy().tolist()


def test_numpy() -> None:
    """The array has the samples of ``pcm``."""
    speech = Speech(struct.pack("<3h", -32768, 0, 32767), AudioEncoding.PCM, 24000)

    assert np.int16 == speech.numpy().dtype
    assert [-32768, 0, 32767] == speech.numpy().tolist()
    assert 0.125 == speech.duration_ms


def test_repr_is_short() -> None:
    """A repr shows no audio."""
    assert "<6 bytes>" in repr(Speech(b"secret", AudioEncoding.PCM, 24000))
    assert "<6 bytes>" in repr(AudioChunk("c", b"secret", AudioEncoding.PCM, 24000))


# Whole speech.


def test_join() -> None:
    """Joining chunks keeps the order of audio and words, and adds the counts of usage."""
    chunks = [
        AudioChunk(
            "c", b"aa", AudioEncoding.PCM, 24000, 0.0, (WordTime("one", 0, 1),), (),
            (Phoneme("w", "", 0, 1, 0),), TtsUsage(3, "m"),
        ),
        AudioChunk("c", b"", AudioEncoding.PCM, 24000, 1.0, usage=TtsUsage(0, "m")),
        AudioChunk(
            "c", b"bb", AudioEncoding.PCM, 24000, 1.0,
            (WordTime("two", 1, 2), WordTime("three", 2, 3)), (CharacterTime("t", 1, 2),),
            (Phoneme("t", "", 1, 2, 0), Phoneme("th", "", 2, 3, 1)), TtsUsage(8, "m"),
        ),
    ]  # fmt: skip
    speech = Speech.join(chunks, PCM)

    assert b"aabb" == speech.data
    assert ["one", "two", "three"] == [word.text for word in speech.words]
    assert ["one", "two", "three"] == [speech.words[p.word_index].text for p in speech.phonemes]
    assert (CharacterTime("t", 1, 2),) == speech.characters
    assert TtsUsage(11, "m") == speech.usage


def test_join_of_a_word_in_two_chunks() -> None:
    """A word is joined with its punctuation and its phonemes. The joined tokens are the text."""
    assembler = Assembler("c", PCM)
    messages = [
        (["A", " ", "Hel"], [2]),
        (["lo"], [0]),
        ([",", " ", "you"], [2]),
        ([".", " "], []),
    ]
    chunks = []
    for number, (texts, indexes) in enumerate(messages):
        at = 1000.0 * number
        tokens = tuple(WordTime(t, at + 100 * i, at + 100 * i + 50) for i, t in enumerate(texts))
        phonemes = tuple(Phoneme("p", "", at, at, index) for index in indexes)
        chunks.append(assembler.chunk(AudioReceived("c", b"", tokens=tokens, phonemes=phonemes)))
    speech = Speech.join(chunks, PCM)

    assert ["A", "Hel", "lo", "you"] == [w.text for chunk in chunks for w in chunk.words]
    assert (
        WordTime("A", 0, 50),
        WordTime("Hello,", 200, 1050),
        WordTime("you.", 2200, 2250),
    ) == speech.words
    assert ["Hello,", "Hello,", "you."] == [
        speech.words[p.word_index].text for p in speech.phonemes
    ]
    assert "A Hello, you. " == "".join(speech.tokens)


def test_join_of_nothing() -> None:
    """Without chunks, join() returns an empty speech."""
    assert Speech(b"", AudioEncoding.PCM, 24000) == Speech.join([], PCM)


SAMPLES = struct.pack("<4h", 1, -2, 3, -4)


@pytest.mark.parametrize("name", ["a.wav", "A.WAV"])
def test_save_wav(tmp_path: Path, name: str) -> None:
    """A saved WAV file can be read by the standard library."""
    Speech(SAMPLES, AudioEncoding.PCM, 24000).save(tmp_path / name)
    with wave.open(str(tmp_path / name)) as file:
        assert (1, 2, 24000, 4) == file.getparams()[:4]
        assert SAMPLES == file.readframes(4)


def test_iter_wav() -> None:
    """The joined blocks of iter_wav() are one WAV file."""
    speech = Speech(SAMPLES * 20_000, AudioEncoding.LINEAR16, 8000)
    blocks = list(speech.iter_wav())
    with wave.open(io.BytesIO(b"".join(blocks))) as file:
        assert SAMPLES * 20_000 == file.readframes(80_000)
    assert all(len(block) <= 32 * 1024 for block in blocks)


# (encoding, name) of files of encoded audio.
RAW = [("MP3", "a.mp3"), ("OGG_OPUS", "a.ogg"), ("OGG_OPUS", "a.opus"), ("FLAC", "a.flac")]


@pytest.mark.parametrize(("encoding", "name"), [*RAW, ("PCM", "a.pcm"), ("PCM", "a.raw")])
def test_save_unchanged(tmp_path: Path, encoding: str, name: str) -> None:
    """Encoded audio is saved unchanged."""
    Speech(SAMPLES, AudioEncoding(encoding), 24000).save(str(tmp_path / name))

    assert SAMPLES == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus", "a.flac"])
@pytest.mark.parametrize("encoding", ["PCM", "LINEAR16", "MULAW"])
def test_save_samples_as_a_compressed_file(tmp_path: Path, encoding: str, name: str) -> None:
    """Audio that is not compressed is encoded. An open file gets the same format."""
    speech = Speech(bytes(range(1, 201)) * 100, AudioEncoding(encoding), 24000)
    speech.save(tmp_path / name)
    file = io.BytesIO()
    speech.save(file, format=name[2:])
    decoded = open_file((tmp_path / name).read_bytes())
    pcm = b"".join(bytes(block) for block in decoded)

    assert decoded.sample_rate_hz == open_file(file.getvalue()).sample_rate_hz
    assert len(pcm) / decoded.sample_rate_hz >= len(speech.pcm) / 24000
    assert name != "a.flac" or pcm == bytes(speech.pcm)


def test_save_without_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without soundfile and PyAV the old file is unchanged, and the error names the extras."""
    (tmp_path / "a.mp3").write_bytes(b"old")
    for library in ("soundfile", "av"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(AudioError, match="files"):
        Speech(SAMPLES, AudioEncoding.PCM, 24000).save(tmp_path / "a.mp3")

    assert (tmp_path / "a.mp3").read_bytes() == b"old"


# (encoding, name, advice) where the suffix does not match the encoding.
UNSAVABLE = [
    ("FLAC", "a.mp3", "use AudioConfig('MP3')"),
    ("MP3", "a.ogg", "use AudioConfig('OGG_OPUS')"),
    ("MP3", "a.wav", "MP3 audio is compressed"),
    ("PCM", "a.txt", "use one of .wav, .pcm, .raw"),
    ("PCM", "a", "use one of .wav, .pcm, .raw"),
]


@pytest.mark.parametrize(("encoding", "name", "advice"), UNSAVABLE)
def test_save_under_a_wrong_name(tmp_path: Path, encoding: str, name: str, advice: str) -> None:
    """A suffix that does not match the audio is refused with advice, and no file is made."""
    with pytest.raises(AudioError) as caught:
        Speech(SAMPLES, AudioEncoding(encoding), 24000).save(tmp_path / name)

    assert advice in str(caught.value)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["wav", "pcm", "mp3"])
def test_save_to_a_file_object(tmp_path: Path, kind: str) -> None:
    """An open file gets the same bytes as a path, and stays open."""
    encoding = AudioEncoding.MP3 if kind == "mp3" else AudioEncoding.PCM
    speech = Speech(SAMPLES, encoding, 24000)
    file = io.BytesIO()
    speech.save(file, format=kind)
    speech.save(tmp_path / f"a.{kind}")
    speech.save(tmp_path / "b", format=kind)

    assert file.getvalue() == (tmp_path / f"a.{kind}").read_bytes()
    assert file.getvalue() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        (io.BytesIO(), None, "format is needed"),
        (io.StringIO(), "wav", "target must be a path or a binary file .* got StringIO"),
        (5, "wav", "got int"),
    ],
)
def test_save_to_a_wrong_target(target: Any, kind: str | None, words: str) -> None:
    """A target without a format is refused. A file that is not binary is also refused."""
    with pytest.raises(ConfigError, match=words):
        Speech(SAMPLES, AudioEncoding.PCM, 24000).save(target, format=kind)


def test_a_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    """A save that fails leaves the old file unchanged."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(AudioError):
        Speech(SAMPLES, AudioEncoding.MP3, 24000).save(path)

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


# Subtitles.


def test_subtitles() -> None:
    """The cues have the text and the times of the speech."""
    tokens = ("Hello", ",", " ", "you", ".", " ", "\u4eca\u5929", "\u597d", "\u3002")
    words = (
        WordTime("Hello,", 0, 400.4),
        WordTime("you.", 500, 1200.5),
        WordTime("\u4eca\u5929", 2500, 2600),
        WordTime("\u597d\u3002", 2600, 2900),
    )
    speech = Speech(b"", AudioEncoding.PCM, 24000, words, tokens=tokens)

    assert speech.to_srt() == (
        "1\n00:00:00,000 --> 00:00:01,200\nHello, you.\n\n"
        "2\n00:00:02,500 --> 00:00:02,900\n\u4eca\u5929\u597d\u3002\n"
    )
    assert speech.to_vtt().startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.200\nHello, you.\n")


def test_subtitles_of_characters() -> None:
    """Subtitles can be made from the times of characters alone."""
    text = "Hi you."
    characters = tuple(CharacterTime(c, 100 * i, 100 * i + 100) for i, c in enumerate(text))
    speech = Speech(b"", AudioEncoding.PCM, 24000, characters=characters)

    assert "1\n00:00:00,000 --> 00:00:00,700\nHi you.\n" == speech.to_srt()


def test_subtitles_without_times() -> None:
    """The error for speech without times says how to request times."""
    with pytest.raises(ConfigError, match="timestamp_type='WORD'"):
        Speech(b"", AudioEncoding.PCM, 24000).to_vtt()


# Playing.


class Sink:
    """Accepts all audio immediately, and counts the audio as heard immediately."""

    sample_rate_hz = 24000
    heard_samples = 0

    def __init__(self) -> None:
        self.data = b""
        self.drained = False

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        if timeout == 0:
            raise DeadlineExceeded("full")
        self.data += pcm

    def end(self) -> None: ...

    def clear(self) -> int:
        return 0

    def drain(self, *, timeout: float | None = None) -> None:
        self.drained = True

    def close(self) -> None: ...


def test_play() -> None:
    """play() returns when all speech was heard."""
    sink = Sink()
    Speech(SAMPLES, AudioEncoding.PCM, 24000).play(sink)

    assert (SAMPLES, True) == (sink.data, sink.drained)


def test_play_at_another_rate() -> None:
    """A speaker with another sample rate is refused, with advice."""
    with pytest.raises(AudioError, match=r"AudioConfig\('PCM', 24000\)"):
        Speech(SAMPLES, AudioEncoding.PCM, 8000).play(Sink())
