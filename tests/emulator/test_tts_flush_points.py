"""
Buffered text is spoken without a flush in the documented cases.

A generation is a piece of text that the server speaks at once. Each generation ends with
``flushCompleted``.
"""

from __future__ import annotations

import time

import pytest

from support.tts_client import TtsClient


def counted(client: TtsClient) -> int:
    """Return the number of characters of the next generation."""
    results = client.until("flushCompleted")
    return next(
        result["audioChunk"]["usage"]["processedCharactersCount"]
        for result in results
        if "audioChunk" in result
    )


# (texts, characters of each generation). Only complete sentences are spoken.
AUTO_MODE = [
    (["Hello there."], [12]),
    (["Hello ", "there. ", "And"], [12]),
    (["One. Two. Three"], [9]),
    (["What? Yes!", " More."], [10, 6]),
    (['He said "no." Then'], [13]),
    (["It costs 3.50 today. So"], [20]),
]


@pytest.mark.parametrize(("texts", "expected"), AUTO_MODE)
def test_auto_mode(client: TtsClient, texts: list[str], expected: list[int]) -> None:
    """
    With autoMode, complete sentences are spoken at once, and flushCompleted ends each generation.
    """
    client.create(autoMode=True)
    for text in texts:
        client.text(text)

    assert expected == [counted(client) for _ in expected]


def test_sentence_boundary(client: TtsClient) -> None:
    """With SENTENCE_BOUNDARY, a full stop ends a sentence only when the next word begins."""
    client.create(autoMode=True, autoModeStrategy="SENTENCE_BOUNDARY")
    for text in ("It costs 3.", "50 today.", " And"):
        client.text(text)

    assert 20 == counted(client)


def test_auto_mode_keeps_an_unfinished_sentence(client: TtsClient) -> None:
    """An unfinished sentence waits for more text, or for a flush."""
    client.create(autoMode=True)
    client.text("Hello there. And then")
    assert 12 == counted(client)
    client.flush()

    assert 9 == counted(client)


def test_without_auto_mode_nothing_is_spoken_early(client: TtsClient) -> None:
    """Without autoMode, a whole sentence waits for the flush."""
    client.create()
    client.text("Hello there. How are you?")
    client.result()

    assert client.is_silent(client.ask)


def test_character_threshold(client: TtsClient) -> None:
    """Text is spoken when the buffer has bufferCharThreshold characters."""
    client.create(bufferCharThreshold=20)
    client.text("Ten chars ")
    client.text("and eleven ")

    assert 21 == counted(client)


def test_threshold_keeps_the_last_word_whole(client: TtsClient) -> None:
    """A word that may continue stays in the buffer, because tokens can be parts of words."""
    client.create(bufferCharThreshold=20)
    client.text("The quick brown elepha")
    assert 16 == counted(client)
    client.text("nt")
    client.flush()

    assert 8 == counted(client)


def test_threshold_without_any_space(client: TtsClient) -> None:
    """If the buffered text has no space, all of the text is spoken at the threshold."""
    client.create(bufferCharThreshold=20)
    client.text("a" * 25)

    assert 25 == counted(client)


def test_buffer_delay(client: TtsClient) -> None:
    """Text is spoken when the oldest text in the buffer is maxBufferDelayMs old."""
    client.create(maxBufferDelayMs=150)
    started = time.monotonic()
    client.text("Waiting")

    assert 7 == counted(client)
    assert time.monotonic() - started >= 0.15


def test_buffer_delay_in_auto_mode(client: TtsClient) -> None:
    """An unfinished sentence is spoken after the delay in autoMode too."""
    client.create(autoMode=True, maxBufferDelayMs=100)
    client.text("Done. Not done")

    assert [5, 9] == [counted(client), counted(client)]


def test_white_space_is_not_spoken(client: TtsClient) -> None:
    """White space alone makes no audio and no generation."""
    client.create(maxBufferDelayMs=10)
    client.text(" \n ")
    client.result()
    client.flush()

    assert "flushCompleted" in client.result()
