"""The TTS messages have the times of words and characters."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from inworld_sync.emulator import Emulator, Settings

from support.tone import ToneSynthesizer, tone_seconds
from support.tts_client import TtsClient, open_tts


def infos(client: TtsClient, text: str, **fields: Any) -> list[dict[str, Any] | None]:
    """Return timestampInfo of every chunk of one flush."""
    client.create(**fields)
    client.text(text)
    client.flush()
    results = client.until("flushCompleted")
    return [result["audioChunk"]["timestampInfo"] for result in results if "audioChunk" in result]


def joined(infos: list[dict[str, Any] | None], alignment: str, field: str) -> list[Any]:
    return list(itertools.chain.from_iterable(info[alignment][field] for info in infos if info))


def test_no_timestamps_unless_asked(client: TtsClient) -> None:
    """Without timestampType, every timestampInfo is null."""
    assert all(info is None for info in infos(client, "Hello there."))


def test_words(client: TtsClient) -> None:
    """WORD lists words, punctuation and white space. Each entry has a start and an end."""
    found = infos(client, 'Dr. Smith paid $12.50 — "really"!', timestampType="WORD")

    words = joined(found, "wordAlignment", "words")
    starts = joined(found, "wordAlignment", "wordStartTimeSeconds")
    ends = joined(found, "wordAlignment", "wordEndTimeSeconds")
    spoken = ["Dr", ".", " ", "Smith", " ", "paid", " ", "$", "12.50", " "]
    assert [*spoken, "—", " ", '"', "really", '"', "!"] == words
    assert [0.0, *ends[:-1]] == starts
    assert pytest.approx(tone_seconds('Dr.Smithpaid$12.50—"really"!')) == ends[-1]
    assert all({"wordAlignment"} == set(info) for info in found if info)


def test_words_are_sent_with_their_audio(client: TtsClient) -> None:
    """The times of a word are in the chunk with the beginning of the word."""
    found = infos(client, "one two three four five six seven eight", timestampType="WORD")

    for number, info in enumerate(found):
        starts = info["wordAlignment"]["wordStartTimeSeconds"] if info else []
        assert all(number * 0.25 <= start < (number + 1) * 0.25 for start in starts)


def test_characters(client: TtsClient) -> None:
    """CHARACTER lists every character of the text, even spaces. The times never decrease."""
    text = "Hello, my world!"
    found = infos(client, text, timestampType="CHARACTER")

    characters = joined(found, "characterAlignment", "characters")
    starts = joined(found, "characterAlignment", "characterStartTimeSeconds")
    ends = joined(found, "characterAlignment", "characterEndTimeSeconds")
    assert text == "".join(characters)
    assert starts == sorted(starts)
    assert all(start <= end for start, end in zip(starts, ends, strict=True))
    assert all({"characterAlignment"} == set(info) for info in found if info)


def test_times_restart_with_every_generation(client: TtsClient) -> None:
    """Times count from the start of the generation (the text up to a flush), not of the context."""
    client.create(timestampType="WORD", autoMode=True)
    firsts = []
    for text in ("One two.", "Three four."):
        client.text(text)
        results = client.until("flushCompleted")
        info = next(r["audioChunk"]["timestampInfo"] for r in results if "audioChunk" in r)
        firsts.append(info["wordAlignment"]["wordStartTimeSeconds"][0])

    assert [0.0, 0.0] == firsts


def test_times_continue_over_the_sentences_of_a_generation(client: TtsClient) -> None:
    """Within one flush, the times of the second sentence follow the times of the first sentence."""
    found = infos(client, "One two. Three four.", timestampType="WORD")

    words = joined(found, "wordAlignment", "words")
    starts = joined(found, "wordAlignment", "wordStartTimeSeconds")
    assert ["One", " ", "two", ".", " ", "Three", " ", "four", "."] == words
    assert [0.0, 0.15, 0.35, 0.6] == pytest.approx(starts[:3:2] + starts[5:8:2])


@pytest.mark.parametrize("kind", ["WORD", "CHARACTER"])
def test_async(client: TtsClient, kind: str) -> None:
    """ASYNC sends all times after the audio, in a chunk without audioContent."""
    client.create(timestampType=kind, timestampTransportStrategy="ASYNC")
    client.text("One two three four five six seven.")
    client.flush()
    results = client.until("flushCompleted")[1:-1]
    chunks = [result["audioChunk"] for result in results]

    assert len(chunks) > 2
    assert all(chunk["timestampInfo"] is None for chunk in chunks[:-1])
    assert "audioContent" not in chunks[-1]
    assert chunks[-1]["timestampInfo"]


def test_spaces_among_the_words() -> None:
    """With spaces_in_words, the list contains the spaces, and the joined entries are the text."""
    settings = Settings(word_tokens=False, spaces_in_words=True)
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        open_tts(server) as client,
    ):
        found = infos(client, "Hello,  my world!", timestampType="WORD")

    assert ["Hello,", "  ", "my", " ", "world!"] == joined(found, "wordAlignment", "words")
