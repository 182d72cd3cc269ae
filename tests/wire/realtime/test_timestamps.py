"""Times in audio deltas are read in two spellings. Times of later segments are shifted."""

import json

import pytest
from hypothesis import given, strategies as st

from inworld_sync.models import realtime as rt
from inworld_sync.models.tts import CharacterTime, Phoneme, WordTime
from inworld_sync.wire.realtime.events import read_object
from inworld_sync.wire.realtime.timestamps import SegmentTimes, shifted

from support.realtime_wire import read

SNAKE = {
    "word_alignment": {
        "words": ["Hi", " ", "you", "!"],
        "word_start_time_seconds": [0, 0.25, 0.25, 0.5],
        "word_end_time_seconds": [0.25, 0.25, 0.5, 0.5],
        "phonetic_details": [
            {
                "word_index": 2,
                "phones": [
                    {
                        "phone_symbol": "j",
                        "viseme_symbol": "cdgknstxyz",
                        "start_time_seconds": 0.25,
                        "duration_seconds": 0.125,
                    },
                    {"phone_symbol": "u", "start_time_seconds": 0.375, "duration_seconds": 0.125},
                ],
            }
        ],
    },
    "character_alignment": {
        "characters": ["H", "i"],
        "character_start_time_seconds": [0.0, 0.125],
        "character_end_time_seconds": [0.125, 0.25],
    },
}
WORDS = (WordTime("Hi", 0, 250), WordTime("you!", 250, 500))
CHARACTERS = (CharacterTime("H", 0, 125), CharacterTime("i", 125, 250))
PHONEMES = (Phoneme("j", "cdgknstxyz", 250, 375, 1), Phoneme("u", "", 375, 500, 1))


def camel(value):
    """Convert the names in a JSON value to camelCase."""
    if isinstance(value, dict):
        names = {name: name.split("_") for name in value}
        return {
            first + "".join(word.capitalize() for word in rest): camel(value[name])
            for name, (first, *rest) in names.items()
        }
    return [camel(each) for each in value] if isinstance(value, list) else value


def delta(info=None, name="timestamp_info", **fields):
    """Return an audio delta with times."""
    body = {"type": "response.output_audio.delta", "response_id": "r1", "item_id": "a1", **fields}
    return body if info is None else {**body, name: info}


@pytest.mark.parametrize(
    ("name", "info"), [("timestamp_info", SNAKE), ("timestampInfo", camel(SNAKE))]
)
@pytest.mark.parametrize("audio", [None, b"\0\0"], ids=["base64", "decoded"])
def test_both_spellings(name, info, audio):
    """Words, characters and phonemes are returned as objects, and are not in ``extra``."""
    warnings = []
    event = read_object(delta(info, name, delta="AAA=", new=1), audio, warnings)

    assert (WORDS, CHARACTERS, PHONEMES) == (event.words, event.characters, event.phonemes)
    assert (b"\0\0", {"new": 1}, []) == (event.audio, event.extra, warnings)


@pytest.mark.parametrize("fields", [{}, {"delta": None}, {"delta": ""}])
def test_times_without_audio(fields):
    """The times of a delta are read even if the delta has no audio."""
    event = read(json.dumps(delta(SNAKE, **fields)))

    assert (b"", WORDS) == (event.audio, event.words)


# (timestamp_info, warnings, words, characters): only the malformed times are missing.
MALFORMED = [
    (None, [], (), ()),
    ({}, [], (), ()),
    ("x", ["timestamp_info"], (), ()),
    ({**SNAKE, "word_alignment": 5}, ["word_alignment"], (), CHARACTERS),
    (
        {**SNAKE, "word_alignment": {**SNAKE["word_alignment"], "words": ["Hi"]}},
        ["words"],
        (),
        CHARACTERS,
    ),
    (
        {
            **SNAKE,
            "word_alignment": {
                **SNAKE["word_alignment"],
                "word_end_time_seconds": [0.25, "0.25", 0.5, 0.5],
            },
        },
        ["words"],
        (),
        CHARACTERS,
    ),
    (
        {**SNAKE, "character_alignment": {"characters": ["H"]}},
        ["characters"],
        WORDS,
        (),
    ),
    (
        {**SNAKE, "word_alignment": {**SNAKE["word_alignment"], "phonetic_details": [{}]}},
        ["phonetic_details"],
        WORDS,
        CHARACTERS,
    ),
]


@pytest.mark.parametrize(("info", "names", "words", "characters"), MALFORMED)
def test_malformed_times(info, names, words, characters):
    """Malformed times are ignored with a warning. The audio and the other times are returned."""
    warnings = []
    event = read_object({**delta(delta="AAA="), "timestamp_info": info}, None, warnings)

    assert (b"\0\0", words, characters) == (event.audio, event.words, event.characters)
    assert [f"response.output_audio.delta.{name}" for name in names] == warnings
    assert ("timestamp_info" in event.extra) == bool(names)


def test_deep_times():
    """If the times are nested very deeply, the audio is still returned."""
    info = {}
    for _ in range(20_000):
        info = {"wordAlignment": info}
    event = read_object(delta(info, delta="AAA="), b"\0\0")

    assert b"\0\0" == event.audio


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*SNAKE, *SNAKE["word_alignment"]]), inner, max_size=3)
    ),
)


@given(JSON)
def test_any_times_keep_the_audio(info):
    """For any JSON as times, the audio is returned."""
    assert b"\0\0" == read_object(delta(info, delta="AAA="), b"\0\0").audio


def timed(*words, audio=b"\0\0", item_id="a1"):
    """Return a delta with words. Each word is (text, start, end), in milliseconds."""
    return rt.AudioDelta("r1", item_id, audio, words=tuple(WordTime(*word) for word in words))


def starts(*deltas):
    """Return the start of each word after the shift. Each delta has 1000 ms of audio."""
    times = SegmentTimes()
    events = [times.add(each, 1000.0 if each.audio else 0.0) for each in deltas]
    return [word.start_ms for event in events for word in event.words]


# name: (deltas, starts of the words)
SEGMENTS = {
    "one segment": ([timed(("a", 0, 300)), timed(("b", 300, 900), ("c", 900, 950))], [0, 300, 900]),
    "two segments": (
        [
            timed(("a", 0, 300), ("b", 300, 900)),
            timed(),
            timed(("c", 0, 400)),
            timed(("d", 400, 500)),
        ],
        [0, 300, 2000, 2400],
    ),
    "segments of one word": ([timed(("a", 0, 300)), timed(("a", 0, 300))], [0, 1000]),
    "overlapping words": ([timed(("a", 0, 305)), timed(("b", 300, 600))], [0, 300]),
    "times after their audio": (
        [timed(), timed(("a", 0, 300), audio=b""), timed(("b", 0, 400), audio=b"")],
        [0, 300],
    ),
    "two items": (
        [timed(("a", 0, 300)), timed(("b", 0, 300), item_id="a2"), timed(("c", 300, 500))],
        [0, 0, 300],
    ),
}


@pytest.mark.parametrize(("deltas", "expected"), SEGMENTS.values(), ids=SEGMENTS)
def test_segments(deltas, expected):
    """The times of a segment are shifted by the start of the segment's audio."""
    assert expected == starts(*deltas)


def test_all_times_are_shifted():
    """Words, characters and phonemes are shifted by the same time."""
    event = shifted(
        rt.AudioDelta("r1", "a1", b"", words=WORDS, characters=CHARACTERS, phonemes=PHONEMES), 100
    )

    assert [100, 350] == [word.start_ms for word in event.words]
    assert [225, 350] == [character.end_ms for character in event.characters]
    assert [(350, 475), (475, 600)] == [(each.start_ms, each.end_ms) for each in event.phonemes]
