"""Server-sent events are read as in the standard, in any pieces. The size of events is limited."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.wire.sse import EventReader, ServerEvent


def events_of(*pieces: bytes, limit: int = 10_000) -> list[ServerEvent]:
    """Return the events of a stream that arrives in these pieces and then ends."""
    reader = EventReader(limit)
    found = [event for piece in pieces for event in reader.feed(piece)]
    last = reader.finish()
    return found if last is None else [*found, last]


CASES = {
    "one event": (b"data: a\n\n", [ServerEvent("a")]),
    "two events": (b"data: a\n\ndata: b\n\n", [ServerEvent("a"), ServerEvent("b")]),
    "no space": (b"data:a\n\n", [ServerEvent("a")]),
    "two spaces": (b"data:  a\n\n", [ServerEvent(" a")]),
    "colons": (b"data: a:b: c\n\n", [ServerEvent("a:b: c")]),
    "several lines": (b"data: a\ndata\ndata: b\n\n", [ServerEvent("a\n\nb")]),
    "crlf": (b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", [ServerEvent("a\nb"), ServerEvent("c")]),
    "cr": (b"data: a\r\rdata: b\r\r", [ServerEvent("a"), ServerEvent("b")]),
    "mixed ends": (b"data: a\r\n\ndata: b\n\r\n", [ServerEvent("a"), ServerEvent("b")]),
    "comments": (b": ping\n\n:\n\ndata: a\n: x\ndata: b\n\n", [ServerEvent("a\nb")]),
    "other fields": (b"id: 1\nretry: 5\nnew: x\ndata: a\n\n", [ServerEvent("a")]),
    "name": (b"event: error\ndata: a\n\n", [ServerEvent("a", "error")]),
    "name without data": (b"event: ping\n\ndata: a\n\n", [ServerEvent("a")]),
    "empty data": (b"data:\n\n", [ServerEvent("")]),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [ServerEvent("a")]),
    "later byte order mark": ("data: \ufeffa\n\n".encode(), [ServerEvent("\ufeffa")]),
    "no empty line at the end": (b"data: a\n\ndata: b", [ServerEvent("a"), ServerEvent("b")]),
    "utf-8": ("data: größer 🙂\n\n".encode(), [ServerEvent("größer 🙂")]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("name", CASES)
def test_events(name: str) -> None:
    """A stream has the same events, whether it arrives whole, in single bytes, or in two parts."""
    stream, events = CASES[name]

    assert events == events_of(stream)
    assert events == events_of(*(stream[at : at + 1] for at in range(len(stream))))
    for at in range(len(stream)):
        assert events == events_of(stream[:at], stream[at:])


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 500)),
)
def test_any_text_survives(texts: list[str], end: str, cuts: list[int]) -> None:
    """Any text is received unchanged, with each kind of line end, however the stream is cut."""
    stream = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    places = sorted({0, *(min(cut, len(stream)) for cut in cuts), len(stream)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]

    assert [ServerEvent(text) for text in texts] == events_of(*pieces)


@pytest.mark.parametrize(
    "data", [b"data: \xff\n\n", b"data: \xc3\n\n", b"event: \xff\ndata: a\n\n"]
)
def test_not_utf8(data: bytes) -> None:
    """Bytes that are not UTF-8 raise an error, because a replacement would change the text."""
    with pytest.raises(RemoteProtocolError, match="UTF-8"):
        events_of(data)


@pytest.mark.parametrize(
    "stream", [b"x" * 200, b": " + b"x" * 200, b"data: x\n" * 50, b"data\n" * 200]
)
def test_limit(stream: bytes) -> None:
    """A line or an event that is longer than the limit raises an error."""
    with pytest.raises(RemoteProtocolError, match="at most 100 bytes"):
        events_of(*(stream[at : at + 7] for at in range(0, len(stream), 7)), limit=100)


def test_limit_is_for_one_event() -> None:
    """The limit is for each event. The whole stream may be longer."""
    stream = b"data: abcdef\n\n: ping\n\n" * 50

    assert [ServerEvent("abcdef")] * 50 == events_of(stream, limit=20)
