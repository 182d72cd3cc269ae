"""Speech as users get it: samples, times that run on, and files."""

from __future__ import annotations

import base64
import io
import itertools
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from inworld_sync import (
    AudioChunk,
    AudioConfig,
    AudioEncoding,
    AudioError,
    CharacterTime,
    DeadlineExceeded,
    Phoneme,
    Speech,
    TtsUsage,
    WordTime,
)
from inworld_sync.sessions.tts.speech import Assembler
from inworld_sync.wire.tts import AudioReceived

PCM = AudioConfig("PCM", 24000)
# One sample is a millisecond of this.
SLOW = AudioConfig("PCM", 8000)


def received(
    data: bytes = b"",
    *,
    words: list[tuple[str, float, float]] = [],  # noqa: B006 - not changed
    characters: list[tuple[str, float, float]] = [],  # noqa: B006 - not changed
    phonemes: list[tuple[float, float, int]] = [],  # noqa: B006 - not changed
) -> AudioReceived:
    return AudioReceived(
        "c",
        base64.b64encode(data).decode(),
        None,
        tuple(WordTime(*word) for word in words),
        tuple(CharacterTime(*character) for character in characters),
        tuple(Phoneme("p", "", start, end, index) for start, end, index in phonemes),
    )


def silence(ms: float, audio: AudioConfig = SLOW) -> bytes:
    return bytes(round(ms * audio.sample_rate_hz / 1000) * audio.encoding.bytes_per_sample)


# The assembler.


def test_start_of_each_chunk() -> None:
    """A chunk says where in the utterance it starts, by the count of samples."""
    assembler = Assembler("c", SLOW)
    chunks = [assembler.chunk(received(silence(ms))) for ms in (10, 20, 30)]

    assert [(0, 10), (10, 20), (30, 30)] == [(c.start_ms, c.duration_ms) for c in chunks]


def test_times_of_the_next_generation() -> None:
    """The wire starts again at 0; the end of the audio before it is added."""
    assembler = Assembler("c", SLOW)
    assembler.chunk(received(silence(100), words=[("one", 0, 90)]))
    assembler.generation_ended()
    chunk = assembler.chunk(received(silence(50), words=[("two", 10, 40)], phonemes=[(10, 20, 0)]))

    assert (WordTime("two", 110, 140),) == chunk.words
    assert (Phoneme("p", "", 110, 120, 0),) == chunk.phonemes


def test_a_word_that_ends_after_its_audio() -> None:
    """
    The count of samples decides where a generation starts, not the rounded end of a word.

    With the later of the two, each such word moved all that followed further from its audio.
    """
    assembler = Assembler("c", SLOW)
    for _ in range(10):
        chunk = assembler.chunk(received(silence(100), words=[("word", 0, 130)]))
        assembler.generation_ended()

    assert 900 == chunk.words[0].start_ms


def test_times_of_compressed_audio() -> None:
    """Where samples cannot be counted, the end of the last word is what is added."""
    assembler = Assembler("c", AudioConfig("MP3"))
    first = assembler.chunk(received(b"mp3", words=[("one", 0, 90)]))
    assembler.generation_ended()
    second = assembler.chunk(received(b"mp3", words=[("two", 0, 50)]))

    assert first.start_ms is None
    assert (WordTime("two", 90, 140),) == second.words


def test_words_and_characters_keep_their_own_time() -> None:
    """
    Characters are not held back by words that come with them.

    Both once shared one clock, so that all characters of a chunk began with its last word.
    """
    assembler = Assembler("c", SLOW)
    chunk = assembler.chunk(
        received(silence(100), words=[("ab", 0, 50), ("c", 60, 90)], characters=[("a", 0, 20)])
    )

    assert (CharacterTime("a", 0, 20),) == chunk.characters


def test_spaces_are_no_words() -> None:
    """Newer answers list the spaces between words as words; phonemes still find their word."""
    assembler = Assembler("c", SLOW)
    chunk = assembler.chunk(
        received(
            silence(100),
            words=[("one", 0, 30), (" ", 30, 30), ("two", 40, 90)],
            phonemes=[(0, 10, 0), (40, 60, 2)],
        )
    )

    assert ["one", "two"] == [word.text for word in chunk.words]
    assert [0, 1] == [phoneme.word_index for phoneme in chunk.phonemes]


TIMES = st.lists(st.tuples(st.floats(-50, 500), st.floats(-50, 500), st.booleans()), max_size=30)


@given(TIMES)
def test_times_never_go_back(times: list[tuple[float, float, bool]]) -> None:
    """Whatever times the service gives, words come in order and end after they begin."""
    assembler = Assembler("c", SLOW)
    words: list[WordTime] = []
    for start, end, ends_generation in times:
        words += assembler.chunk(received(silence(5), words=[("w", start, end)])).words
        if ends_generation:
            assembler.generation_ended()

    assert all(a.start_ms <= b.start_ms for a, b in itertools.pairwise(words))
    assert all(0 <= word.start_ms <= word.end_ms for word in words)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_samples_stay_whole(data: bytes, cuts: list[int]) -> None:
    """However the service cuts the audio, chunks hold whole samples and lose none."""
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    assembler = Assembler("c", PCM)
    chunks = [
        assembler.chunk(received(data[start:end])) for start, end in itertools.pairwise(places)
    ]
    joined = b"".join(chunk.data for chunk in chunks)

    assert data[: len(data) // 2 * 2] == joined
    assert all(len(chunk.data) % 2 == 0 for chunk in chunks)
    if len(data) % 2:
        with pytest.raises(AudioError):
            assembler.finish()
    else:
        assembler.finish()


@pytest.mark.parametrize("audio", ["!!!!", "AAA", "A" * 5])
def test_bad_base64(audio: str) -> None:
    """Audio that is no base64 is an error."""
    with pytest.raises(AudioError):
        Assembler("c", PCM).chunk(AudioReceived("c", audio))


# Samples.

LAWS = [(AudioEncoding.MULAW, b"\xff\x7f\x00", [0, 0, -32124]), (AudioEncoding.ALAW, b"\xd5", [8])]


@pytest.mark.parametrize(("encoding", "data", "samples"), LAWS)
def test_g711(encoding: AudioEncoding, data: bytes, samples: list[int]) -> None:
    """G.711 is given as it came, and as samples on request."""
    chunk = AudioChunk("c", data, encoding, 8000)

    assert len(data) / 8 == chunk.duration_ms
    assert samples == list(struct.unpack(f"<{len(samples)}h", chunk.pcm))
    assert samples == chunk.numpy().tolist()


def test_numpy() -> None:
    """Samples as an array are those of the bytes."""
    speech = Speech(struct.pack("<3h", -32768, 0, 32767), AudioEncoding.PCM, 24000)

    assert np.int16 == speech.numpy().dtype
    assert [-32768, 0, 32767] == speech.numpy().tolist()
    assert 0.125 == speech.duration_ms


def test_repr_is_short() -> None:
    """Audio does not show in a repr."""
    assert "<6 bytes>" in repr(Speech(b"secret", AudioEncoding.PCM, 24000))
    assert "<6 bytes>" in repr(AudioChunk("c", b"secret", AudioEncoding.PCM, 24000))


# Whole speech.


def test_join() -> None:
    """Chunks become one speech: audio and words in order, counts summed, phonemes in place."""
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


def test_join_of_nothing() -> None:
    """No chunks make an empty speech."""
    assert Speech(b"", AudioEncoding.PCM, 24000) == Speech.join([], PCM)


SAMPLES = struct.pack("<4h", 1, -2, 3, -4)


@pytest.mark.parametrize("name", ["a.wav", "A.WAV"])
def test_save_wav(tmp_path: Path, name: str) -> None:
    """A WAV file that was saved is read by everybody."""
    Speech(SAMPLES, AudioEncoding.PCM, 24000).save(tmp_path / name)
    with wave.open(str(tmp_path / name)) as file:
        assert (1, 2, 24000, 4) == file.getparams()[:4]
        assert SAMPLES == file.readframes(4)


def test_iter_wav() -> None:
    """The blocks of a web response are one WAV file."""
    speech = Speech(SAMPLES * 20_000, AudioEncoding.LINEAR16, 8000)
    blocks = list(speech.iter_wav())
    with wave.open(io.BytesIO(b"".join(blocks))) as file:
        assert SAMPLES * 20_000 == file.readframes(80_000)
    assert all(len(block) <= 32 * 1024 for block in blocks)


# (encoding, name): files that are the service's own bytes, or plain samples.
RAW = [("MP3", "a.mp3"), ("OGG_OPUS", "a.ogg"), ("OGG_OPUS", "a.opus"), ("FLAC", "a.flac")]


@pytest.mark.parametrize(("encoding", "name"), [*RAW, ("PCM", "a.pcm"), ("PCM", "a.raw")])
def test_save_as_it_came(tmp_path: Path, encoding: str, name: str) -> None:
    """What the service encoded is saved as it is."""
    Speech(SAMPLES, AudioEncoding(encoding), 24000).save(str(tmp_path / name))

    assert SAMPLES == (tmp_path / name).read_bytes()


# (encoding, name, advice): names that promise something else than what is there.
UNSAVABLE = [
    ("PCM", "a.mp3", "ask for AudioConfig('MP3')"),
    ("MP3", "a.ogg", "ask for AudioConfig('OGG_OPUS')"),
    ("MP3", "a.wav", "MP3 holds no plain samples"),
    ("PCM", "a.txt", "use one of .wav, .pcm, .raw"),
    ("PCM", "a", "use one of .wav, .pcm, .raw"),
]


@pytest.mark.parametrize(("encoding", "name", "advice"), UNSAVABLE)
def test_save_under_a_wrong_name(tmp_path: Path, encoding: str, name: str, advice: str) -> None:
    """A name that does not fit the audio is refused with advice, and no file is made."""
    with pytest.raises(AudioError) as caught:
        Speech(SAMPLES, AudioEncoding(encoding), 24000).save(tmp_path / name)

    assert advice in str(caught.value)
    assert [] == list(tmp_path.iterdir())


# Playing.


class Sink:
    """Takes all at once and hears it at once."""

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
    """Playing returns when all of it was heard."""
    sink = Sink()
    Speech(SAMPLES, AudioEncoding.PCM, 24000).play(sink)

    assert (SAMPLES, True) == (sink.data, sink.drained)


def test_play_at_another_rate() -> None:
    """A speaker that would play at the wrong speed is refused, with advice."""
    with pytest.raises(AudioError, match=r"AudioConfig\('PCM', 24000\)"):
        Speech(SAMPLES, AudioEncoding.PCM, 8000).play(Sink())
