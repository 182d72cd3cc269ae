"""Frames out of bytes and into bytes; the other side of each comparison is ``websockets``."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, strategies as st
from websockets.frames import Close, Frame as ReferenceFrame, Opcode
from websockets.streams import StreamReader

from inworld_sync.audio.frame import build_frame
from inworld_sync.transport.frames import (
    FrameBuffer,
    FrameError,
    close_payload,
    parse_close,
    unmask,
)

from support.peers import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame

MAX_BYTES = 1_000_000


def feed(buffer: FrameBuffer, data: bytes, piece_bytes: int) -> list[tuple[int, bytes]]:
    """Give *data* to the buffer in pieces as a socket would, and take out what is whole."""
    frames = []
    while data:
        room = buffer.room()
        count = min(piece_bytes, len(room), len(data))
        room[:count] = data[:count]
        buffer.received(count)
        data = data[count:]
        while (found := buffer.frame()) is not None:
            frames.append((found[0], bytes(found[1])))
    return frames


# Payload sizes: the ends of each of the three ways to write a length, and of the buffer's sizes.
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000]


@pytest.mark.parametrize("piece_bytes", [1, 7, 4096, 1 << 20])
def test_pieces(piece_bytes: int) -> None:
    """Frames come out whole, in order, however the network cuts them."""
    sizes = SIZES if piece_bytes > 100 else SIZES[:5]
    expected = [(TEXT, os.urandom(size)) for size in sizes] + [(PING, b"stamp")]
    data = b"".join(frame(first, payload) for first, payload in expected)

    assert expected == feed(FrameBuffer(MAX_BYTES), data, piece_bytes)


@given(st.lists(st.binary(max_size=40_000), max_size=12), st.integers(1, 60_000))
def test_any_sizes(payloads: list[bytes], piece_bytes: int) -> None:
    """No mixture of sizes confuses the buffer."""
    data = b"".join(
        ReferenceFrame(Opcode.TEXT, payload).serialize(mask=False) for payload in payloads
    )

    assert [(TEXT, each) for each in payloads] == feed(FrameBuffer(MAX_BYTES), data, piece_bytes)


def test_received_with_the_upgrade() -> None:
    """A frame that came in the same segment as the answer to the upgrade is not lost."""
    buffer = FrameBuffer(MAX_BYTES, frame(TEXT, b"early"))

    found = buffer.frame()

    assert found is not None
    assert (TEXT, b"early") == (found[0], bytes(found[1]))


def test_message_above_the_usual_buffer() -> None:
    """A message of several MiB is taken whole, and its memory is given back after it."""
    payload = os.urandom(5 << 20)
    buffer = FrameBuffer(8 << 20)

    frames = feed(buffer, frame(TEXT, payload), 1 << 16)

    assert [(TEXT, payload)] == frames
    assert len(buffer.room()) <= 1 << 20


# What a server may not send, the close code to answer with, and a word of the error.
VIOLATIONS = [
    (frame(TEXT, b"x", mask=b"abcd"), 1002, "masked"),
    (frame(TEXT, b"x" * 200, mask=b"abcd"), 1002, "masked"),
    (frame(TEXT, b"x" * 70_000, mask=b"abcd"), 1002, "masked"),
    (frame(TEXT | 0x40, b"x"), 1002, "reserved"),
    (frame(TEXT | 0x10, b""), 1002, "reserved"),
    (frame(0x83, b""), 1002, "unknown kind 0x3"),
    (frame(0x8B, b""), 1002, "unknown kind 0xb"),
    (frame(BINARY, b"x"), 1003, "binary"),
    (frame(PING & 0x7F, b"x"), 1002, "fragmented a control frame"),
    (frame(PING, b"x" * 126), 1002, "125"),
    (frame(CLOSE, b"x" * 70_000), 1002, "125"),
    (bytes([TEXT, 127]) + (MAX_BYTES + 1).to_bytes(8, "big"), 1009, "max_message_bytes"),
    (bytes([TEXT, 127]) + b"\xff" * 8, 1009, "max_message_bytes"),
]


@pytest.mark.parametrize(("data", "code", "word"), VIOLATIONS)
def test_violations(data: bytes, code: int, word: str) -> None:
    """What breaks RFC 6455 is refused from the header alone, with the code it asks for."""
    header_bytes = min(len(data), 10)

    with pytest.raises(FrameError, match=word) as caught:
        feed(FrameBuffer(MAX_BYTES), data[:header_bytes], 1 << 20)

    assert code == caught.value.code


def test_limit_over_fragments() -> None:
    """The limit of a message counts the fragments before."""
    buffer = FrameBuffer(100, frame(CONTINUATION, b"x" * 60))

    with pytest.raises(FrameError, match="101"):
        buffer.frame(message_bytes=41)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 65_537, 200_001])
def test_built_frames(size: int) -> None:
    """A built frame reads back, masked by a key of its own each time."""
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


# Close payloads: none, a code alone, with a reason, and private codes at both ends.
CLOSES = [(b"", (1005, "")), (b"\x03\xe8", (1000, ""))] + [
    (Close(code, reason).serialize(), (code, reason))
    for code, reason in [(1000, "bye"), (1011, "größer"), (3000, ""), (4999, "x" * 123)]
]


@pytest.mark.parametrize(("payload", "expected"), CLOSES)
def test_close_payloads(payload: bytes, expected: tuple[int, str]) -> None:
    """The server's code and reason are kept as it gave them."""
    assert expected == parse_close(memoryview(payload))


# One byte; codes below, between and above those that may be sent; a reason that is not UTF-8.
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
    """A close frame that makes no sense is an error with the right code, not a crash."""
    with pytest.raises(FrameError) as caught:
        parse_close(memoryview(payload))

    assert code == caught.value.code


@pytest.mark.parametrize(
    ("reason", "kept"), [("", ""), ("bye", "bye"), ("ö" * 100, "ö" * 61), ("x" * 124, "x" * 123)]
)
def test_close_reasons_are_cut(reason: str, kept: str) -> None:
    """A long reason is cut at a character, to what a control frame holds."""
    payload = close_payload(1000, reason)

    assert b"\x03\xe8" + kept.encode() == payload
    assert len(payload) <= 125
