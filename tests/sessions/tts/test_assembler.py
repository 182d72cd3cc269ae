"""The chunks of one context have whole samples, and their times do not restart at 0."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given, strategies as st

from inworld_sync import AudioConfig, AudioError, CharacterTime, Phoneme, Speech, Viseme, WordTime
from inworld_sync.sessions.tts.assembler import Assembler
from inworld_sync.wire.tts import AudioReceived

PCM = AudioConfig("PCM", 24000)
# The lowest sample rate, so that the audio of the tests is short.
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


def test_start_of_each_chunk() -> None:
    """The start of a chunk is the total duration of the earlier samples."""
    assembler = Assembler("c", SLOW)
    chunks = [assembler.chunk(received(silence(ms))) for ms in (10, 20, 30)]

    assert [(0, 10), (10, 20), (30, 30)] == [(c.start_ms, c.duration_ms) for c in chunks]


def test_times_of_the_next_generation() -> None:
    """The service restarts times at 0, and the client adds the end of the previous audio."""
    assembler = Assembler("c", SLOW)
    assembler.chunk(received(silence(100), words=[("one", 0, 90)]))
    assembler.generation_ended()
    chunk = assembler.chunk(received(silence(50), words=[("two", 10, 40)], phonemes=[(10, 20, 0)]))

    assert (WordTime("two", 110, 140),) == chunk.words
    assert (Phoneme("p", "", 110, 120, 0),) == chunk.phonemes


def test_a_word_that_ends_after_its_audio() -> None:
    """
    A generation starts after the samples of the previous generation.

    If it started at the end of the previous generation's last word, rounding errors would add up.
    """
    assembler = Assembler("c", SLOW)
    for _ in range(10):
        chunk = assembler.chunk(received(silence(100), words=[("word", 0, 130)]))
        assembler.generation_ended()

    assert 900 == chunk.words[0].start_ms


def test_times_of_compressed_audio() -> None:
    """If samples cannot be counted, a generation starts at the end of the previous last word."""
    assembler = Assembler("c", AudioConfig("MP3"))
    first = assembler.chunk(received(b"mp3", words=[("one", 0, 90)]))
    assembler.generation_ended()
    second = assembler.chunk(received(b"mp3", words=[("two", 0, 50)]))

    assert first.start_ms is None
    assert (WordTime("two", 90, 140),) == second.words


def test_words_and_characters_keep_their_own_time() -> None:
    """
    The times of words do not change the times of characters.

    Otherwise all characters of a chunk would start at the time of the chunk's last word.
    """
    assembler = Assembler("c", SLOW)
    chunk = assembler.chunk(
        received(silence(100), words=[("ab", 0, 50), ("c", 60, 90)], characters=[("a", 0, 20)])
    )

    assert (CharacterTime("a", 0, 20),) == chunk.characters


def test_tokens_are_joined_to_words() -> None:
    """Punctuation is joined to the word before it, and each phoneme has the index of its word."""
    assembler = Assembler("c", SLOW)
    chunk = assembler.chunk(
        received(
            silence(100),
            words=[("one", 0, 30), (",", 30, 30), (" ", 30, 30), ("two", 40, 90)],
            phonemes=[(0, 10, 0), (40, 60, 3)],
        )
    )

    assert ["one,", "two"] == [word.text for word in chunk.words]
    assert ("one", ",", " ", "two") == chunk.tokens
    assert [0, 1] == [phoneme.word_index for phoneme in chunk.phonemes]


def test_visemes() -> None:
    """The visemes of the phonemes are used until a message that lists visemes arrives."""
    assembler = Assembler("c", SLOW)
    phonemes = (Phoneme("b", "bmp", 0, 10, 0), Phoneme("x", "", 10, 20, 0))
    shapes = (Viseme("PP", 0, 10, 0.5),)
    texts = [
        AudioReceived("c", silence(100), phonemes=phonemes),
        AudioReceived("c", silence(100), phonemes=phonemes, visemes=shapes, extra={"a": 1}),
        AudioReceived("c", silence(100), phonemes=phonemes),
    ]
    chunks = [assembler.chunk(texts[0]), assembler.chunk(texts[1])]
    assembler.generation_ended()
    chunks += [assembler.chunk(texts[2]), assembler.chunk(texts[1])]

    assert [
        (Viseme("bmp", 0, 10),),
        shapes,
        (),
        (Viseme("PP", 200, 210, 0.5),),
    ] == [chunk.visemes for chunk in chunks]
    assert {"a": 1} == chunks[1].extra
    assert 3 == len(Speech.join(chunks, SLOW).visemes)


TIMES = st.lists(st.tuples(st.floats(-50, 500), st.floats(-50, 500), st.booleans()), max_size=30)


@given(TIMES)
def test_times_never_go_back(times: list[tuple[float, float, bool]]) -> None:
    """For any times of the service, words are in order, and no word ends before its start."""
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
    """Chunks have whole samples, and no sample is lost, wherever the service cuts the audio."""
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
    """Audio that is not base64 raises an error."""
    with pytest.raises(AudioError):
        Assembler("c", PCM).chunk(AudioReceived("c", audio))
