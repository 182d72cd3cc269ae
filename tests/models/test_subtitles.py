"""Subtitles: valid files with cues that are easy to read."""

from __future__ import annotations

import re

import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.models.stt import Transcript
from inworld_sync.models.turns import Turn, Word


def turn(text, start_ms=0, word_ms=300, pause_ms=0):
    """A turn whose words have the same length, with a pause after each word that ends in a bar."""
    words, at = [], start_ms
    for written in text.split():
        words.append(Word(written.rstrip("|"), at, at + word_ms))
        at += word_ms + (pause_ms if written.endswith("|") else 0)
    return Turn(text.replace("|", ""), tuple(words))


def cues(transcript):
    """Start, end and text of each cue of the WebVTT form, times in ms."""
    found = re.findall(
        r"\n(\d\d):(\d\d):(\d\d)\.(\d{3}) --> (\d\d):(\d\d):(\d\d)\.(\d{3})\n((?:.+\n)+)",
        transcript.to_vtt(),
    )
    clock = lambda h, m, s, ms: ((int(h) * 60 + int(m)) * 60 + int(s)) * 1000 + int(ms)  # noqa: E731
    return [(clock(*row[:4]), clock(*row[4:8]), row[8].rstrip("\n")) for row in found]


def test_srt():
    """SubRip has cues numbered from 1, times with a comma, and a blank line between cues."""
    transcript = Transcript((turn("Good morning."), turn("Is it late?", 3_723_004)))

    assert (
        "1\n00:00:00,000 --> 00:00:00,600\nGood morning.\n"
        "\n"
        "2\n01:02:03,004 --> 01:02:03,904\nIs it late?\n"
    ) == transcript.to_srt()


def test_vtt():
    """WebVTT has a header, times with a point, and escaped markup."""
    transcript = Transcript((turn("Fish & <chips> -->"),))

    assert (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.200\nFish &amp; &lt;chips&gt; --&gt;\n"
    ) == transcript.to_vtt()


# (words, texts of the cues): sentences, short sentences, pauses.
CUTS = [
    ("One two three four. Five six.", ["One two three four.", "Five six."]),
    ("Yes. No. That is what I said.", ["Yes. No. That is what I said."]),
    ("One two| three four", ["One two", "three four"]),
]


@pytest.mark.parametrize(("text", "texts"), CUTS)
def test_cuts(text, texts):
    """A cue ends after a sentence that is long enough to read, and at a pause."""
    found = cues(Transcript((turn(text, pause_ms=800),)))

    assert texts == [cue for _, _, cue in found]


def test_limits():
    """No cue has more than two lines of 42 characters or lasts longer than 7 s."""
    found = cues(Transcript((turn("somewhat longish words " * 40, word_ms=450),)))

    lines = [cue.split("\n") for _, _, cue in found]
    assert 2 >= max(len(rows) for rows in lines)
    assert 42 >= max(len(row) for rows in lines for row in rows)
    assert 7000 >= max(end - start for start, end, _ in found)
    assert 120 == sum(len(row.split()) for rows in lines for row in rows)


def test_cues_never_overlap():
    """Each cue ends before the next begins."""
    found = cues(Transcript((turn("word " * 100), turn("more " * 50, 30_000))))

    times = [time for start, end, _ in found for time in (start, end)]
    assert times == sorted(times)


def test_turn_without_words():
    """A turn without words is one cue."""
    assert [(1000, 2500, "Yes.")] == cues(Transcript((Turn("Yes.", (), 1000, 2500),)))


def test_words_without_length():
    """A cue for a word of no length lasts a millisecond, so that players show it."""
    assert [(500, 501, "Yes.")] == cues(Transcript((Turn("Yes.", (Word("Yes.", 500, 500),)),)))


def test_no_times():
    """Without times the error names the setting."""
    with pytest.raises(ConfigError, match="include_word_timestamps=True"):
        Transcript((Turn("Yes."),)).to_srt()
