"""Subtitles of transcripts are valid files with cues that are easy to read."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, strategies as st

from inworld_sync.errors import ConfigError
from inworld_sync.models.stt import Transcript
from inworld_sync.models.turns import Turn, Word


def turn(text, start_ms=0, word_ms=300, pause_ms=0):
    """Return a turn of words with equal durations. A pause follows each word that ends in |."""
    words, at = [], start_ms
    for written in text.split():
        words.append(Word(written.rstrip("|"), at, at + word_ms))
        at += word_ms + (pause_ms if written.endswith("|") else 0)
    return Turn(text.replace("|", ""), tuple(words))


def cues(transcript):
    """Return the start in ms, the end in ms and the text of each cue of the WebVTT file."""
    found = re.findall(
        r"\n(\d\d):(\d\d):(\d\d)\.(\d{3}) --> (\d\d):(\d\d):(\d\d)\.(\d{3})\n((?:.+\n)+)",
        transcript.to_vtt(),
    )
    clock = lambda h, m, s, ms: ((int(h) * 60 + int(m)) * 60 + int(s)) * 1000 + int(ms)  # noqa: E731
    return [(clock(*row[:4]), clock(*row[4:8]), row[8].rstrip("\n")) for row in found]


def test_srt():
    """SubRip has cues numbered from 1, a comma in times, and a blank line between cues."""
    transcript = Transcript((turn("Good morning."), turn("Is it late?", 3_723_004)))

    assert (
        "1\n00:00:00,000 --> 00:00:00,600\nGood morning.\n"
        "\n"
        "2\n01:02:03,004 --> 01:02:03,904\nIs it late?\n"
    ) == transcript.to_srt()


def test_vtt():
    """WebVTT has a header, a point in times, and escaped special characters."""
    transcript = Transcript((turn("Fish & <chips> -->"),))

    assert (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.200\nFish &amp; &lt;chips&gt; --&gt;\n"
    ) == transcript.to_vtt()


# (words, texts of the cues). The words have long sentences, short sentences, and pauses.
CUTS = [
    ("One two three four. Five six.", ["One two three four.", "Five six."]),
    ("Yes. No. That is what I said.", ["Yes. No. That is what I said."]),
    ("One two| three four", ["One two", "three four"]),
]


@pytest.mark.parametrize(("text", "texts"), CUTS)
def test_cuts(text, texts):
    """A cue ends at a pause, and after a sentence that is long enough to read."""
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
    """No cue ends after the beginning of the next cue."""
    found = cues(Transcript((turn("word " * 100), turn("more " * 50, 30_000))))

    times = [time for start, end, _ in found for time in (start, end)]
    assert times == sorted(times)


def timed(texts, word_ms=100):
    """Return words that all have the same duration, without pauses between them."""
    return tuple(
        Word(text, word_ms * number, word_ms * (number + 1)) for number, text in enumerate(texts)
    )


# (text of a turn, words into which a service has split the text)
SPELLINGS = [
    ("今天天气很好，我们去公园吧。", list("今天天气很好，我们去公园吧。")),
    ("วันนี้อากาศดี", ["วันนี้", "อากาศ", "ดี"]),
    ("Hello, world. OK?", ["Hello", ",", "world", ".", "OK", "?"]),
    ("Hello walking fast", ["Hel", "lo", " walk", "ing", " fast"]),
    ("Hello, world", ["Hello", ",", " ", "world"]),
    ("In 2024 we met", ["in", "twenty", "twenty-four", "we", "met"]),
    ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
    ("我用Python写code。", ["我", "用", "python", "写", "code", "。"]),
]


@pytest.mark.parametrize(("text", "words"), SPELLINGS)
def test_text_of_the_turn(text, words):
    """A cue has the text of the turn, even if the words of the service are written differently."""
    found = cues(Transcript((Turn(text, timed(words)),)))

    assert [(0, 100 * len(words), text)] == found


def test_times_of_repeated_words():
    """If a word occurs twice in a turn, each occurrence has its own time."""
    words = (Word("no", 0, 300), Word("no", 2000, 2300), Word("never", 2300, 2900))
    found = cues(Transcript((Turn("No. No, never.", words),)))

    assert [(0, 300, "No."), (2000, 2900, "No, never.")] == found


@pytest.mark.parametrize(
    "text",
    [
        "somewhat longish words " * 40,
        "今天天气很好，我们去公园吧。" * 20,
        "วันนี้อากาศดีมาก" * 20,
        "https://example.com/" + "x" * 300,
        "👩\u200d👩\u200d👧" * 200,
    ],
)
def test_limits_without_words(text):
    """Even if words have no times, cues keep their limits in every script and for long words."""
    found = cues(Transcript((Turn(text, (), 1000, 121_000),)))

    lines = [row for _, _, cue in found for row in cue.split("\n")]
    assert 2 >= max(cue.count("\n") + 1 for _, _, cue in found)
    assert 42 >= max(columns(row) for row in lines)
    assert 7000 >= max(end - start for start, end, _ in found)
    assert (1000, "".join(text.split())) == (found[0][0], "".join("".join(lines).split()))


def columns(line):
    """Return the width of a line in columns, by the Unicode properties of its characters."""
    return sum(
        0 if unicodedata.combining(each) or unicodedata.category(each) in {"Mn", "Cf"}
        else 2 if unicodedata.east_asian_width(each) in {"W", "F"} else 1
        for each in line
    )  # fmt: skip


def test_punctuation_begins_no_line():
    """A line of Chinese text does not begin with a punctuation mark."""
    text = "一二三四五六七八九十一二三四五六七八九十一，二三四五"
    (_, _, cue), = cues(Transcript((Turn(text, (), 0, 5000),)))  # fmt: skip

    assert ["一二三四五六七八九十一二三四五六七八九十", "一，二三四五"] == cue.split("\n")


def test_control_characters():
    """Control characters and arrows in a transcript do not make the file invalid."""
    transcript = Transcript((Turn("a\x00b\x1b[31m\n\nc --> d\u202e", (), 0, 1000),))

    assert "1\n00:00:00,000 --> 00:00:01,000\nab[31m c -> d\n" == transcript.to_srt()
    assert "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nab[31m c --&gt; d\n" == transcript.to_vtt()


@pytest.mark.parametrize("text", ["", " ", "\x00"])
def test_empty_turns(text):
    """A turn without text has no cue."""
    assert [] == cues(Transcript((Turn(text, (), 0, 1000), Turn(text, timed(["a"])))))


times = st.integers(-1000, 100_000)
spoken_words = st.builds(Word, st.text("ab,. 漢ก-\u0301", max_size=6), times, times)
turns = st.builds(
    Turn,
    st.text("ab,. 漢ก。-\u0301", max_size=200),
    st.lists(spoken_words, max_size=20).map(tuple),
    times,
    times,
)


@given(st.lists(turns, max_size=4))
def test_any_times(some):
    """For any times of words, the file is valid and has exactly the text of the transcript."""
    transcript = Transcript(tuple(some))
    found = cues(transcript)

    assert all(start < end for start, end, _ in found)
    assert all(7001 >= end - start for start, end, _ in found)
    marks = [time for start, end, _ in found for time in (start, end)]
    assert marks == sorted(marks)
    written = "".join(cue for _, _, cue in found)
    assert sorted("".join(turn.text for turn in some).replace(" ", "")) == sorted(
        written.replace(" ", "").replace("\n", "")
    )


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["One.", "Two."], "One. Two."),
        (["今天天气很好。", "我们去公园吧。"], "今天天气很好。我们去公园吧。"),
        (["Say", "你好", "now"], "Say你好now"),
        (["สวัสดี", "ครับ"], "สวัสดีครับ"),
        (["안녕", "하세요"], "안녕 하세요"),
        (["नमस्ते।", "दुनिया"], "नमस्ते। दुनिया"),
        (["One. ", "Two."], "One. Two."),
        ([], ""),
    ],
)
def test_text_of_several_turns(texts, joined):
    """The texts of turns are joined with a space, if their script uses spaces."""
    assert joined == Transcript(tuple(Turn(text) for text in texts)).text


def test_turn_without_words():
    """A turn without words is one cue."""
    assert [(1000, 2500, "Yes.")] == cues(Transcript((Turn("Yes.", (), 1000, 2500),)))


def test_words_without_duration():
    """The cue of a word without duration lasts a millisecond, because players skip empty cues."""
    assert [(500, 501, "Yes.")] == cues(Transcript((Turn("Yes.", (Word("Yes.", 500, 500),)),)))


def test_no_times():
    """If a transcript has no times, the error names the setting that requests times."""
    with pytest.raises(ConfigError, match="include_word_timestamps=True"):
        Transcript((Turn("Yes."),)).to_srt()


# Separate channels.


def in_channel(channel, text, start_ms=0, word_ms=300):
    return turn(text, start_ms, word_ms).in_channel(channel)


def test_channels_are_named():
    """Each cue begins with the name of its channel. WebVTT has the name in a <v> tag."""
    transcript = Transcript((in_channel(0, "Hello there."), in_channel(1, "Hi & bye.", 2000)))

    assert "\nchannel 0: Hello there.\n" in transcript.to_srt()
    assert "\nchannel 1: Hi & bye.\n" in transcript.to_srt()
    assert "\n<v channel 0>Hello there.\n" in transcript.to_vtt()
    assert "\n<v channel 1>Hi &amp; bye.\n" in transcript.to_vtt()


def test_names_count_as_text():
    """The name of the channel counts toward the limit of a line."""
    words = " ".join(["always"] * 60)
    lines = Transcript((in_channel(0, words),)).to_srt().splitlines()
    texts = [line for line in lines if "always" in line]

    assert max(map(len, texts)) <= 42
    assert sum(line.count("always") for line in texts) == 60
    assert sum(line.startswith("channel 0: ") for line in lines) == lines.count("") + 1


def test_a_cue_ends_when_the_other_channel_begins():
    """If two speakers speak at the same time, the first cue ends when the second speaker begins."""
    long, short = "one two three four five six seven eight nine ten", "Yes, I see."
    transcript = Transcript((in_channel(0, long, 0, 600), in_channel(1, short, 2000)))

    first, second = cues(transcript)[:2]
    assert (0, 2000) == first[:2]
    assert (2000, 2900) == second[:2]


def test_cues_at_the_same_time():
    """
    If two speakers begin together, one cue follows the other. Each cue is as long as its words.
    """
    transcript = Transcript((in_channel(0, "Hello to you."), in_channel(1, "Good morning.", 100)))

    assert [(0, 900), (900, 1500)] == [cue[:2] for cue in cues(transcript)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60_000), st.integers(1, 30)), max_size=12)
)
def test_any_channels(some):
    """Cues of several channels do not overlap, are not empty, and keep the limits."""
    turns = [in_channel(n, " ".join(["word"] * count), at, 200) for n, at, count in some]
    transcript = Transcript(tuple(turns))
    end_ms = 0
    for start, end, text in cues(transcript):
        assert end_ms <= start < end <= start + 7000
        assert text
        end_ms = end
    assert all(len(line) <= 42 for line in transcript.to_srt().splitlines())
