"""The package reads and writes the same frames as the library ``websockets``."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, strategies as st
from websockets.frames import Close, Frame as ReferenceFrame, Opcode
from websockets.streams import StreamReader

from inworld_sync.audio.frame import build_frame
from inworld_sync.transport.frames import (
    FrameError,
    MessageBuffer,
    close_payload,
    parse_close,
    unmask,
)

from support.peers import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame

MAX_BYTES = 1_000_000


def feed(buffer: MessageBuffer, data: bytes, piece_bytes: int) -> list[tuple[int, bytes]]:
    """Pass *data* to the buffer in pieces, as a socket does, and return the messages."""
    messages = []
    while data:
        room = buffer.room()
        count = min(piece_bytes, len(room), len(data))
        room[:count] = data[:count]
        data = data[count:]
        found = buffer.pop(count)
        while found is not None:
            messages.append((found[0], bytes(found[1])))
            found = buffer.pop()
    return messages


TEXT_OPCODE, BINARY_OPCODE, PING_OPCODE = 0x1, 0x2, 0x9

# These sizes are near the limits of the three forms of the length field, and of the buffer.
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000]


@pytest.mark.parametrize("piece_bytes", [1, 7, 4096, 1 << 20])
def test_pieces(piece_bytes: int) -> None:
    """The messages are complete and in order, for every size of the pieces."""
    sizes = SIZES if piece_bytes > 100 else SIZES[:5]
    expected = [(BINARY_OPCODE, os.urandom(size)) for size in sizes] + [(PING_OPCODE, b"stamp")]
    data = b"".join(frame(0x80 | opcode, payload) for opcode, payload in expected)

    assert expected == feed(MessageBuffer(MAX_BYTES), data, piece_bytes)


@given(st.lists(st.binary(max_size=40_000), max_size=12), st.integers(1, 60_000))
def test_any_sizes(payloads: list[bytes], piece_bytes: int) -> None:
    """Messages of any sizes, in pieces of any size, are read correctly."""
    expected = [(BINARY_OPCODE, payload) for payload in payloads]
    data = b"".join(
        ReferenceFrame(Opcode.BINARY, payload).serialize(mask=False) for payload in payloads
    )

    assert expected == feed(MessageBuffer(MAX_BYTES), data, piece_bytes)


def test_received_with_the_upgrade() -> None:
    """A frame in the same TCP segment as the response to the upgrade is read."""
    buffer = MessageBuffer(MAX_BYTES, frame(TEXT, b"early"))

    found = buffer.pop()

    assert found is not None
    assert (TEXT_OPCODE, b"early") == (found[0], bytes(found[1]))


def test_message_above_the_usual_buffer() -> None:
    """A message of several MiB is read, and its memory is freed afterwards."""
    payload = os.urandom(5 << 20)
    buffer = MessageBuffer(8 << 20)

    messages = feed(buffer, frame(BINARY, payload), 1 << 16)

    assert [(BINARY_OPCODE, payload)] == messages
    assert len(buffer.room()) <= 1 << 20


@pytest.mark.parametrize("piece_bytes", [1, 3, 4096])
def test_fragments(piece_bytes: int) -> None:
    """Fragments are joined to one message. A ping between them is returned before the message."""
    data = b"".join(
        [
            frame(BINARY & 0x7F, b"one, "),
            frame(CONTINUATION & 0x7F, b"two, "),
            frame(PING, b"stamp"),
            frame(CONTINUATION, b"three"),
            frame(TEXT, b"next"),
        ]
    )

    assert [
        (PING_OPCODE, b"stamp"),
        (BINARY_OPCODE, b"one, two, three"),
        (TEXT_OPCODE, b"next"),
    ] == feed(MessageBuffer(MAX_BYTES), data, piece_bytes)


# (frames that a server may not send, close code of the client's answer, word of the error)
VIOLATIONS = [
    (frame(TEXT, b"x", mask=b"abcd"), 1002, "masked"),
    (frame(TEXT, b"x" * 200, mask=b"abcd"), 1002, "masked"),
    (frame(TEXT, b"x" * 70_000, mask=b"abcd"), 1002, "masked"),
    (frame(TEXT | 0x40, b"x"), 1002, "reserved"),
    (frame(TEXT | 0x10, b""), 1002, "reserved"),
    (frame(0x83, b""), 1002, "unknown opcode 0x3"),
    (frame(0x8B, b""), 1002, "unknown opcode 0xb"),
    (frame(CONTINUATION, b"x"), 1002, "mixed the fragments"),
    (frame(PING & 0x7F, b"x"), 1002, "fragmented a control frame"),
    (frame(PING, b"x" * 126), 1002, "125"),
    (frame(CLOSE, b"x" * 70_000), 1002, "125"),
    (bytes([TEXT, 127]) + (MAX_BYTES + 1).to_bytes(8, "big"), 1009, "max_message_bytes"),
    (bytes([TEXT, 127]) + b"\xff" * 8, 1009, "max_message_bytes"),
]


@pytest.mark.parametrize(("data", "code", "word"), VIOLATIONS)
def test_violations(data: bytes, code: int, word: str) -> None:
    """A frame that RFC 6455 forbids raises an error with the right close code."""
    header_bytes = min(len(data), 10)

    with pytest.raises(FrameError, match=word) as caught:
        feed(MessageBuffer(MAX_BYTES), data[:header_bytes], 1 << 20)

    assert code == caught.value.code


def test_mixed_fragments() -> None:
    """A new message before the last fragment of another message raises an error."""
    with pytest.raises(FrameError, match="mixed the fragments") as caught:
        feed(MessageBuffer(100), frame(TEXT & 0x7F, b"x") + frame(TEXT, b"y"), 1 << 20)

    assert caught.value.code == 1002


def test_limit_of_fragments() -> None:
    """The size of a message includes all fragments, but not the control frames between them."""
    fragments = frame(TEXT & 0x7F, b"x" * 41) + frame(PING, b"y" * 60)
    whole = fragments + frame(CONTINUATION, b"x" * 59)

    with pytest.raises(FrameError, match="101") as caught:
        feed(MessageBuffer(100), fragments + frame(CONTINUATION, b"x" * 60), 1 << 20)

    assert caught.value.code == 1009
    assert [(PING_OPCODE, b"y" * 60), (TEXT_OPCODE, b"x" * 100)] == feed(
        MessageBuffer(100), whole, 1 << 20
    )


def test_character_in_two_fragments() -> None:
    """A character may be divided between two fragments of a text."""
    text = "€".encode()
    data = frame(TEXT & 0x7F, text[:1]) + frame(CONTINUATION, text[1:])

    assert [(TEXT_OPCODE, text)] == feed(MessageBuffer(100), data, 1)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 65_537, 200_001])
def test_built_frames(size: int) -> None:
    """The library ``websockets`` reads the frames correctly. Each frame has a different mask."""
    payload = os.urandom(size)
    data = build_frame(0x1, payload)

    reader = StreamReader()
    reader.feed_data(data)
    steps = ReferenceFrame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as done:
        next(steps)

    assert ReferenceFrame(Opcode.TEXT, payload) == done.value.value
    assert payload == unmask(data)
    assert data != build_frame(0x1, payload) or not size


# (payload of a CLOSE, (code, reason)): no payload, only a code, a code with a reason, and the
# smallest and largest private codes.
CLOSES = [(b"", (1005, "")), (b"\x03\xe8", (1000, ""))] + [
    (Close(code, reason).serialize(), (code, reason))
    for code, reason in [(1000, "bye"), (1011, "größer"), (3000, ""), (4999, "x" * 123)]
]


@pytest.mark.parametrize(("payload", "expected"), CLOSES)
def test_close_payloads(payload: bytes, expected: tuple[int, str]) -> None:
    """The code and the reason of the server's CLOSE are returned unchanged."""
    assert expected == parse_close(memoryview(payload))


# (payload of a CLOSE, close code of the answer): one byte, forbidden codes, invalid UTF-8.
BAD_CLOSES = [
    (b"\x03", 1002),
    (b"\x00\x00", 1002),
    (b"\x03\xe7", 1002),
    (b"\x03\xed", 1002),
    (b"\x03\xf7", 1002),
    (b"\x13\x88", 1002),
    (b"\x03\xe8\xff\xfe", 1007),
]


@pytest.mark.parametrize(("payload", "code"), BAD_CLOSES)
def test_bad_close_payloads(payload: bytes, code: int) -> None:
    """An invalid payload of a CLOSE raises an error with the right close code."""
    with pytest.raises(FrameError) as caught:
        parse_close(memoryview(payload))

    assert code == caught.value.code


@pytest.mark.parametrize(
    ("reason", "kept"), [("", ""), ("bye", "bye"), ("ö" * 100, "ö" * 61), ("x" * 124, "x" * 123)]
)
def test_close_reasons_are_cut(reason: str, kept: str) -> None:
    """A reason that is too long for a control frame is cut between two characters."""
    payload = close_payload(1000, reason)

    assert b"\x03\xe8" + kept.encode() == payload
    assert len(payload) <= 125
