"""For any pushes and reads, a playout loses no audio and repeats no audio."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
from hypothesis import given, settings, strategies as st

from inworld_sync.audio.playout_events import (
    PlayoutEventKind,
    PlayoutPart,
    PlayoutPartKind,
    PlayoutState,
    PushResult,
)

from support.playing import PER_MS, Player

# The pieces of an item. Each piece has its count of frames, and the ms since the previous piece.
arrivals = st.lists(st.tuples(st.integers(1, 2500), st.integers(0, 400)), min_size=1, max_size=20)
blocks_ms = st.lists(st.sampled_from([1 / PER_MS, 1, 7.5, 10, 30, 300]), min_size=1, max_size=4)
modes = st.sampled_from(["burst", "live"])

MERGE = 5 * PER_MS


def speech_like(frames: int) -> np.ndarray:
    """Return voiced speech, noise and pauses. Each kind of audio needs its own time scaling."""
    random = np.random.default_rng(frames)
    time = np.arange(frames)
    voiced = np.sin(time * 0.08) + 0.4 * np.sin(time * 0.16)
    envelope = np.clip(np.sin(time * 0.0009) * 2, 0, 1)
    wave = 9000 * envelope * voiced + random.standard_normal(frames) * (40 + 900 * (envelope > 0.9))
    return wave.astype(np.int16)


def drive(
    player: Player, pieces: list[tuple[int, int]], blocks: list[float], *, end: bool = True
) -> np.ndarray:
    """Push the pieces at their times, and read until everything is played."""
    source = speech_like(sum(frames for frames, _ in pieces))
    due: list[tuple[float, np.ndarray]] = []
    at, when = 0, player.now_ms
    for frames, wait_ms in pieces:
        when += wait_ms
        due.append((when, source[at : at + frames]))
        at += frames
    limit_ms = when + 2 * len(source) / PER_MS + 3000
    turn = 0
    while player.now_ms < limit_ms:
        while due and due[0][0] <= player.now_ms:
            _, piece = due.pop(0)
            assert player.push(piece.tobytes(), end=end and not due)
        player.read(blocks[turn % len(blocks)], 300)
        turn += 1
        if not due and player.playout.stats().state is PlayoutState.DRAINED:
            break
    return source


def played(player: Player) -> list[PlayoutPart]:
    return [part for part in player.parts if part.kind is PlayoutPartKind.PLAYED]


@settings(max_examples=60, deadline=None)
@given(modes, arrivals, blocks_ms)
def test_every_sample_is_played_once(
    mode: str, pieces: list[tuple[int, int]], blocks: list[float]
) -> None:
    """Without time scaling, every sample is played once, in order and unchanged."""
    player = Player(mode=mode, time_scaling=False, max_delay_ms=10_000)

    source = drive(player, pieces, blocks)

    place = offset = since_made_up = 0
    output = np.frombuffer(player.output, np.int16)
    for part in player.parts:
        sound = output[offset : offset + part.output_frames]
        offset += part.output_frames
        if part.kind is not PlayoutPartKind.PLAYED:
            since_made_up = 0
            continue
        assert (part.position_frames, part.source_frames) == (place, part.output_frames)
        # The first 5 ms after concealment are a mix of the source and the concealment.
        first = min(len(sound), max(0, MERGE - since_made_up)) if place else 0
        expected = source[place + first : place + len(sound)]
        assert expected.tolist() == sound[first:].tolist()
        since_made_up += part.output_frames
        place += part.source_frames
    assert len(source) == place


@settings(max_examples=60, deadline=None)
@given(modes, arrivals, blocks_ms)
def test_time_scaling_leaves_no_gap(
    mode: str, pieces: list[tuple[int, int]], blocks: list[float]
) -> None:
    """With time scaling, the source is played from the first to the last sample, without a gap."""
    player = Player(mode=mode, max_delay_ms=10_000)

    source = drive(player, pieces, blocks)

    place = 0
    for part in played(player):
        assert part.position_frames == place
        place += part.source_frames
    assert len(source) == place
    stats = player.playout.stats()
    stretched = stats.inserted_frames - stats.removed_frames
    assert stats.played_frames == len(source) + stretched
    if mode == "burst":
        assert stats.removed_frames == 0


@settings(max_examples=40, deadline=None)
@given(modes, arrivals, blocks_ms)
def test_position_only_grows(mode: str, pieces: list[tuple[int, int]], blocks: list[float]) -> None:
    """The position never decreases. The last position is the end of the item."""
    player = Player(mode=mode)
    positions = []
    read = player.read

    def watched(ms: float, block_ms: float) -> bytes:
        result = read(ms, block_ms)
        positions.append(player.playout.position_ms("item"))
        return result

    player.push(struct.pack("<h", 0))
    player.read = watched  # type: ignore[method-assign]
    source = drive(player, pieces, blocks)

    assert all(before <= after for before, after in pairwise(positions))
    assert positions[-1] == (1 + len(source)) / PER_MS


@settings(max_examples=40, deadline=None)
@given(arrivals, blocks_ms, st.lists(st.integers(0, 2000), max_size=10))
def test_every_mark_is_reported_once(
    pieces: list[tuple[int, int]], blocks: list[float], offsets_ms: list[int]
) -> None:
    """Each mark is reported once, in order of position, after its position was played."""
    player = Player()
    reported: list[int] = []
    read = player.read

    def watched(ms: float, block_ms: float) -> bytes:
        result = read(ms, block_ms)
        for event in player.playout.poll():
            if event.kind is PlayoutEventKind.MARK:
                end_ms = sum(frames for frames, _ in pieces) / PER_MS
                assert player.playout.position_ms("item") >= min(offsets_ms[event.tag], end_ms)
                reported.append(event.tag)
        return result

    for tag, offset_ms in enumerate(offsets_ms):
        player.playout.mark("item", offset_ms, tag)
    player.read = watched  # type: ignore[method-assign]
    drive(player, pieces, blocks)

    assert sorted(range(len(offsets_ms)), key=lambda tag: offsets_ms[tag]) == reported


@settings(max_examples=60, deadline=None)
@given(modes, arrivals, blocks_ms, st.integers(0, 1500), st.booleans())
def test_clear_is_final(
    mode: str, pieces: list[tuple[int, int]], blocks: list[float], when_ms: int, scaling: bool
) -> None:
    """A clear returns exactly how much is heard, including at most 5 ms of fade."""
    player = Player(mode=mode, time_scaling=scaling, max_delay_ms=10_000)
    source = speech_like(sum(frames for frames, _ in pieces))
    player.push(source.tobytes())
    turn = 0
    while player.now_ms < 1000 + when_ms:
        player.read(blocks[turn % len(blocks)], 300)
        turn += 1
    before = sum(part.source_frames for part in played(player))

    cleared = player.playout.clear()
    player.parts.clear()
    after = player.read(50, 50)

    fade = sum(p.source_frames for p in player.parts if p.kind is PlayoutPartKind.FADED)
    assert cleared["item"].heard_ms * PER_MS == before + fade
    assert player.frames(PlayoutPartKind.FADED) <= MERGE
    assert set(after[2 * MERGE :]) <= {0}
    assert player.push(source.tobytes()) is PushResult.STALE
    assert player.playout.position_ms("item") == cleared["item"].heard_ms


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=40), st.integers(10, 200))
def test_memory_is_bounded(sizes: list[int], capacity_ms: int) -> None:
    """The queue never exceeds the capacity. A push is accepted completely or not at all."""
    player = Player(capacity_ms=capacity_ms)
    queued = 0
    for size in sizes:
        if size > capacity_ms * PER_MS:
            continue
        result = player.push(bytes(2 * size))
        fits = queued + size <= capacity_ms * PER_MS
        assert result is (PushResult.ACCEPTED if fits else PushResult.FULL)
        queued += size if fits else 0
        assert player.playout.stats().queued_ms == queued / PER_MS


# Numbers of packets of 20 ms in the order of arrival. Numbers may be missing or occur twice.
deliveries = st.lists(st.integers(0, 30), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None)
@given(deliveries, st.integers(0, 2**32 - 1), st.booleans())
def test_any_delivery_is_played_in_order(numbers: list[int], first: int, scaling: bool) -> None:
    """For any order of arrival, each packet is played at most once, in the order of sending."""
    player = Player(mode="live", time_scaling=scaling)
    source = speech_like(31 * 320)
    for number in numbers:
        piece = source[number * 320 : (number + 1) * 320]
        player.push(piece.tobytes(), timestamp=first + number * 320)
        player.read(20)
    player.read(1500)

    ranges = player.played_ranges()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ranges))
    stats = player.playout.stats()
    heard = sum(end - begin for begin, end in ranges)
    assert stats.received_frames == 320 * len(numbers)
    assert heard + stats.late_frames + stats.duplicate_frames == stats.received_frames
