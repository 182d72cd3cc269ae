"""Audio that is sent in small pieces is collected in blocks of 100 ms, without loss or change."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from inworld_sync.errors import ClosedError, ConfigError
from inworld_sync.models.realtime import InputAudioCommitted, ManualTurns, PcmFormat, Session
from inworld_sync.sessions.realtime.session import RealtimeSession

from support.scripted_realtime import Service, merge, realtime

PATIENCE_SECONDS = 30.0
BLOCK_BYTES = 4800
RAMP = np.arange(-12000, 12000, dtype="<i2").tobytes()


def blocks_of(act: Callable[[RealtimeSession], object]) -> list[bytes]:
    """Open a session, call *act* and commit. Return the blocks that the service received."""
    blocks: list[bytes] = []

    def script(service: Service) -> None:
        service.open()
        while (command := service.command())["type"] != "input_audio_buffer.commit":
            if command["type"] == "input_audio_buffer.append":
                blocks.append(base64.b64decode(command["audio"]))
            elif command["type"] == "session.update":
                merge(service.session, command["session"])
                service.event("session.updated", session=service.session)
        service.event("input_audio_buffer.committed", item_id="u1")
        service.until_left()

    with (
        realtime(script) as iw,
        iw.realtime.connect(Session(turn_detection=ManualTurns())) as rt,
    ):
        act(rt)
        rt.commit()
        events = rt.events(timeout=PATIENCE_SECONDS)
        assert any(isinstance(event, InputAudioCommitted) for event in events)
    return blocks


def pieces(audio: bytes, *sizes_bytes: int) -> Iterator[bytes]:
    """Divide audio into pieces of these sizes, and repeat the sizes."""
    start = 0
    for size_bytes in itertools.cycle(sizes_bytes):
        if start >= len(audio):
            return
        yield audio[start : start + size_bytes]
        start += size_bytes


@pytest.mark.parametrize(
    "sizes_bytes", [(960,), (1000,), (4800,), (9602,), (960, 1, 959), (3, 5), (960, 0, 12000)]
)
def test_pieces(sizes_bytes: tuple[int, ...]) -> None:
    """Pieces of any size arrive as whole blocks, although a piece may end inside a sample."""

    def act(rt: RealtimeSession) -> None:
        for piece in pieces(RAMP, *sizes_bytes):
            rt.send_audio(piece)

    blocks = blocks_of(act)

    assert RAMP == b"".join(blocks)
    assert [BLOCK_BYTES] * (len(RAMP) // BLOCK_BYTES) == [len(block) for block in blocks]


def test_pieces_of_several_kinds() -> None:
    """Bytes, arrays, and bytes with a rate or a timeout may follow each other within a block."""

    def act(rt: RealtimeSession) -> None:
        for number, piece in enumerate(pieces(RAMP, 960)):
            if number % 4 == 1:
                rt.send_audio(np.frombuffer(piece, "<i2"))
            elif number % 4 == 2:
                rt.send_audio(piece, 24000)
            else:
                rt.send_audio(piece, timeout=PATIENCE_SECONDS if number % 4 else None)

    assert RAMP == b"".join(blocks_of(act))


def test_another_rate_within_a_block() -> None:
    """If the rate of the audio changes, the audio before the change is sent first, unchanged."""

    def act(rt: RealtimeSession) -> None:
        for _ in range(2):
            for piece in pieces(RAMP[:1920], 960):
                rt.send_audio(piece)
            rt.send_audio(bytes(1920), 48000)

    blocks = blocks_of(act)

    assert [1920, 960] * 2 == [len(block) for block in blocks]
    assert RAMP[:1920] == blocks[0] == blocks[2]


def test_another_format_within_a_block() -> None:
    """If the format of the session changes, further audio is sent in the new format."""

    def act(rt: RealtimeSession) -> None:
        rt.send_audio(RAMP[:960])
        rt.send_audio(RAMP[960:1920])
        rt.update(Session(input_format=PcmFormat(48000)), timeout=PATIENCE_SECONDS)
        for piece in pieces(RAMP[:9600], 1920):
            rt.send_audio(piece)

    blocks = blocks_of(act)

    assert [RAMP[:1920], RAMP[:9600]] == blocks


def test_cleared_audio() -> None:
    """``clear`` drops the audio that was not sent yet."""

    def act(rt: RealtimeSession) -> None:
        rt.send_audio(RAMP[:960])
        rt.send_audio(RAMP[:960])
        rt.clear()
        rt.send_audio(RAMP[1920:2880])

    assert [RAMP[1920:2880]] == blocks_of(act)


def test_wrong_arguments_within_a_block() -> None:
    """Arguments are checked even if the audio is only buffered."""

    def act(rt: RealtimeSession) -> None:
        rt.send_audio(RAMP[:960])
        with pytest.raises(ConfigError, match="timeout must be"):
            rt.send_audio(RAMP[:960], timeout=-1)
        with pytest.raises(ConfigError, match="channels must be"):
            rt.send_audio(RAMP[:960], channels=0)

    assert [RAMP[:960]] == blocks_of(act)


def test_closed_within_a_block() -> None:
    """After close(), sending raises an error even if the audio would only be buffered."""

    def script(service: Service) -> None:
        service.open()
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        rt.send_audio(RAMP[:960])
        rt.send_audio(RAMP[:960])
        rt.close()
        with pytest.raises(ClosedError, match="was closed by the client"):
            rt.send_audio(RAMP[:960])
