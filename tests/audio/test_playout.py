"""A playout plays items, reports marks, and handles clears, devices and errors."""

from __future__ import annotations

import itertools
import random
import struct

import numpy as np
import pytest

from inworld_sync import _native
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout
from inworld_sync.audio.playout_events import (
    Cleared,
    PlayoutEvent,
    PlayoutEventKind,
    PlayoutPartKind,
    PlayoutState,
    PushResult,
)
from inworld_sync.errors import AudioError, ClosedError, ConfigError, LocalProtocolError

from support.interrupts import interrupted, returns
from support.playing import PER_MS, RATE_HZ, Player, counting, samples_of, tone

Kind = PlayoutEventKind


def kinds(events: list[PlayoutEvent]) -> list[Kind]:
    return [event.kind for event in events]


# ---- input and output -------------------------------------------------------------------------

# (sample rate, channels, input format, output format): all formats, lowest and highest rates.
FORMATS = [
    (8000, 1, "s16", "s16"),
    (16000, 2, "s16", "f32"),
    (24000, 1, "f32", "s16"),
    (44100, 2, "s16", "s16"),
    (48000, 2, "f32", "f32"),
]


@pytest.mark.parametrize(("rate_hz", "channels", "input_format", "output_format"), FORMATS)
def test_audio_is_not_changed(
    rate_hz: int, channels: int, input_format: str, output_format: str
) -> None:
    """A complete item is played without a change of any sample."""
    levels = np.arange(-32768, 32768, 13, dtype=np.int16)
    levels = levels[: len(levels) // 2 * 2]
    sound = {"s16": levels, "f32": levels.astype(np.float32) / 32768}
    playout = Playout(rate_hz, channels, input_format=input_format, output_format=output_format)
    playout.push(sound[input_format].tobytes(), item="a", end=True)
    out = bytearray(sound[output_format].nbytes)

    playout.read(out)

    assert sound[output_format].tobytes() == out


def test_items_follow_one_another() -> None:
    """Items are played in the order of their first push."""
    player = Player()
    player.push(counting(0, 500), "a", end=True)
    player.push(counting(500, 500), "b", end=True)

    output = player.read(1000 / PER_MS)

    assert counting(0, 1000) == output


def test_any_buffer_is_accepted() -> None:
    """
    The input may be bytes, bytearray, memoryview or an array.

    The output is a writable buffer.
    """
    playout = Playout(RATE_HZ)
    pcm = counting(0, 100)
    for data in (pcm, bytearray(pcm), memoryview(pcm), np.frombuffer(pcm, np.int16)):
        playout.push(data, item="a")
    playout.end("a")
    out = np.zeros(400, np.int16)

    playout.read(out)

    assert pcm * 4 == out.tobytes()


def test_numpy() -> None:
    """numpy() returns an array in the output format, with one column for each channel."""
    playout = Playout(RATE_HZ, 2, output_format="f32")
    playout.push(struct.pack("<4h", 16384, -16384, 8192, -8192), end=True)

    array = playout.numpy(3)

    assert array.dtype == np.float32
    assert [[0.5, -0.5], [0.25, -0.25], [0, 0]] == array.tolist()


def test_floats_are_clipped() -> None:
    """Floats beyond full scale are clipped, and NaN becomes silence."""
    playout = Playout(RATE_HZ, input_format="f32")
    playout.push(struct.pack("<4f", 2.0, -2.0, float("nan"), float("inf")), end=True)
    out = bytearray(8)

    playout.read(out)

    assert [32767, -32768, 0, 0] == samples_of(out)


# ---- burst: when an item starts, stalls and ends ------------------------------------------------


def test_short_item_starts_at_once() -> None:
    """A complete item starts at once, even if it is short."""
    player = Player()
    player.push(counting(0, 10), end=True)

    assert counting(0, 10) == player.read(1)[:20]


def test_incomplete_item_waits_for_the_threshold() -> None:
    """An incomplete item starts when start_ms of its audio are queued."""
    player = Player(start_ms=100, time_scaling=False)
    player.push(counting(0, 99 * PER_MS))

    before = player.read(20)
    player.push(counting(99 * PER_MS, PER_MS))
    after = player.read(20)

    assert bytes(len(before)) == before
    assert counting(0, 20 * PER_MS) == after


def test_draining_is_no_stall() -> None:
    """After the end of a complete item, the output is silent and no stall is counted."""
    player = Player()
    player.push(tone(100), end=True)

    tail = player.read(200)[2 * 100 * PER_MS :]

    assert bytes(len(tail)) == tail
    assert player.playout.stats().stalls == 0
    assert player.playout.stats().state is PlayoutState.DRAINED


def test_late_end_is_not_a_stall() -> None:
    """If the end of an item arrives after all its audio was played, no stall is counted."""
    player = Player(start_ms=50, time_scaling=False)
    player.push(tone(100))
    player.read(120)
    assert player.playout.stats().stalls == 1

    player.playout.end("item", now_ns=player.now_ns)
    player.read(20)

    assert player.playout.stats().stalls == 0
    assert player.playout.stats().state is PlayoutState.DRAINED


def test_stall_is_concealed_for_100_ms() -> None:
    """Missing audio is concealed. The concealment fades out and is silent after 100 ms."""
    player = Player(start_ms=50, time_scaling=False)
    player.push(tone(100))
    player.read(100)

    filling = samples_of(player.read(130))

    loud = max(samples_of(tone(100)))
    assert max(filling[: 20 * PER_MS]) > 0.9 * loud
    assert 0 < max(filling[80 * PER_MS : 90 * PER_MS]) < 0.4 * loud
    assert {0} == set(filling[100 * PER_MS :])
    assert player.frames(PlayoutPartKind.CONCEALED) == 130 * PER_MS


def test_without_concealment_a_stall_fades_at_once() -> None:
    """With conceal=False a stall is silent after 5 ms."""
    player = Player(start_ms=50, time_scaling=False, conceal=False)
    player.push(tone(100))
    player.read(100)

    filling = samples_of(player.read(20))

    assert {0} == set(filling[5 * PER_MS :])


def test_stall_ends_when_enough_is_queued() -> None:
    """A stall ends when 80 ms of audio are queued, and no audio is lost."""
    player = Player(start_ms=50, time_scaling=False)
    player.push(counting(0, 100 * PER_MS))
    player.read(110)
    player.push(counting(100 * PER_MS, 79 * PER_MS))
    player.read(10)
    assert player.playout.stats().state is PlayoutState.STALLED

    player.push(counting(179 * PER_MS, PER_MS))
    player.read(10)

    assert player.playout.stats().state is PlayoutState.PLAYING
    assert kinds(player.playout.poll())[-2:] == [Kind.STALL, Kind.RESUME]
    assert player.played_ranges()[-1] == (100 * PER_MS, 110 * PER_MS)


def test_low_buffer_slows_down() -> None:
    """With little queued audio of an incomplete item, the audio is played up to 12 % slower."""
    player = Player(start_ms=100)
    player.push(tone(240))

    player.read(200)

    stats = player.playout.stats()
    assert 0.05 * 200 * PER_MS < stats.inserted_frames < 0.13 * 200 * PER_MS
    assert stats.removed_frames == 0


def test_stops_in_a_pause_when_low() -> None:
    """With little queued audio of an incomplete item, the playout stops in a speech pause."""
    player = Player(start_ms=50, time_scaling=True)
    player.push(tone(60) + bytes(2 * 55 * PER_MS))

    player.read(200)

    stats = player.playout.stats()
    assert stats.stalls == 0
    assert stats.held_frames > 50 * PER_MS
    assert stats.queued_ms > 20


def test_empty_playout_is_silent() -> None:
    """A read of an empty playout returns zeros and counts no frame as audio."""
    out = bytearray(b"\xff" * 640)

    assert Playout(RATE_HZ).read(out) == 0
    assert bytes(640) == out


# ---- live: packets that are late, duplicated, reordered or lost ---------------------------------


def live_player(**settings: object) -> Player:
    return Player(mode="live", time_scaling=False, **settings)


def test_lost_packet_is_concealed_in_its_place() -> None:
    """A lost packet is replaced by concealment of the same length."""
    player = live_player()
    for number in (0, 1, 2, 4, 5, 6, 7, 8, 9):
        player.push(tone(20), timestamp=number * 320)
    player.read(300)

    lost = [part for part in player.parts if part.kind is PlayoutPartKind.CONCEALED]
    begin = player.played_ranges()[0][0]
    assert lost[0].position_frames == begin + 3 * 320
    assert sum(part.source_frames for part in lost) == 320
    assert player.playout.stats().lost_frames == 320


# Orders of ten packets: as sent, neighbors swapped, one packet far behind, and reversed.
ORDERS = [
    list(range(10)),
    [1, 0, 3, 2, 5, 4, 7, 6, 9, 8],
    [0, 1, 2, 4, 5, 6, 7, 8, 3, 9],
    list(range(9, -1, -1)),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("numbering", ["timestamp", "sequence"])
@pytest.mark.parametrize("first", [0, -5])
def test_packets_are_put_in_order(order: list[int], numbering: str, first: int) -> None:
    """Packets are played in the order of sending, even if the sequence numbers wrap around."""
    player = live_player()
    for number in order:
        place = (first + number) * (320 if numbering == "timestamp" else 1)
        player.push(counting(number * 320, 320), **{numbering: place})

    player.playout.end("item", now_ns=player.now_ns)
    player.read(400)

    assert counting(0, 3200) in player.output


def test_duplicates_are_played_once() -> None:
    """A duplicate packet is played once and counted."""
    player = live_player()
    for number in (0, 0, 1, 2, 1, 3):
        player.push(counting(number * 320, 320), timestamp=number * 320)
    player.playout.end("item", now_ns=player.now_ns)

    player.read(200)

    assert counting(0, 4 * 320) in player.output
    assert player.playout.stats().duplicate_frames == 2 * 320


def test_late_packet_is_dropped() -> None:
    """A packet that arrives too late is not played. It is counted as late."""
    player = live_player()
    for number in (0, 1, 2, 4, 5, 6):
        player.push(counting(number * 320, 320), timestamp=number * 320)
    player.read(170)
    player.push(counting(3 * 320, 320), timestamp=3 * 320)
    player.read(100)

    stats = player.playout.stats()
    assert stats.late_frames == 320
    assert stats.lost_frames == 320


def test_jump_of_timestamps_starts_a_new_time_base() -> None:
    """A jump of timestamps by more than 5 s starts a new time base and is not concealed."""
    player = live_player()
    player.push(counting(0, 1600), timestamp=0)
    player.push(counting(1600, 1600), timestamp=10 * RATE_HZ)
    player.playout.end("item", now_ns=player.now_ns)

    player.read(300)

    assert counting(0, 3200) in player.output
    assert player.playout.stats().resyncs == 1


def test_live_delay_follows_the_network() -> None:
    """The delay increases after late packets, and decreases when no more packets are late."""
    player = Player(mode="live")
    targets = []
    for number in range(6000):
        late_ms = 120 if 1000 < number < 2000 and number % 50 == 0 else 0
        player.now_ms = 1000 + 20 * number + late_ms
        player.push(bytes(640), timestamp=number * 320)
        player.now_ms = 1000 + 20 * number
        player.read(20)
        targets.append(player.playout.stats().target_delay_ms)

    assert max(targets[:1000]) <= 60
    assert max(targets[1000:2000]) >= 120
    assert targets[-1] <= 60


@pytest.mark.parametrize(
    ("profile", "limit_s"), [("interactive", 10), ("balanced", 15), ("smooth", 25)]
)
def test_live_delay_falls_within_seconds(profile: str, limit_s: int) -> None:
    """*limit_s* after 10 s of jitter, the delay is at most 20 ms above its earlier value."""
    chance = random.Random(1)
    sent = [(20 * number, number) for number in range(3000)]
    disturbed = [(ms + chance.uniform(0, 120), number) for ms, number in sent[1000:1500]]
    arrivals = sorted([*sent[:1000], *disturbed, *sent[1500:]])
    player = Player(mode="live", profile=profile)
    targets = {}
    for now_ms in range(0, 60_000, 20):
        while arrivals and arrivals[0][0] <= now_ms:
            arrival_ms, number = arrivals.pop(0)
            player.now_ms = 1000 + arrival_ms
            player.push(bytes(640), timestamp=number * 320)
        player.now_ms = 1000 + now_ms
        player.read(20)
        targets[now_ms] = player.playout.stats().target_delay_ms

    quiet = [target for ms, target in targets.items() if 10_000 <= ms < 20_000]
    after = [target for ms, target in targets.items() if ms >= 30_000 + 1000 * limit_s]
    assert max(targets.values()) >= 120
    assert max(after) <= max(quiet) + 20


def test_live_source_may_pause() -> None:
    """If a source without timestamps is silent for 10 s, no later audio is skipped."""
    player = live_player()
    for number in range(200):
        player.now_ms += 10_000 if number == 100 else 0
        player.push(counting(number * 320, 320))
        player.read(20)

    stats = player.playout.stats()
    assert stats.skipped_frames == 0
    assert stats.delay_ms < 150
    assert stats.resyncs == 1


def test_live_overrun_is_skipped() -> None:
    """If more than max_delay_ms of audio arrives at once, audio is skipped."""
    player = Player(mode="live", max_delay_ms=500, time_scaling=False)
    for number in range(10):
        player.push(tone(20), timestamp=number * 320)
        player.read(20)
    player.now_ms += 3000
    for number in range(10, 160):
        player.push(tone(20), timestamp=number * 320)
    player.read(20)

    stats = player.playout.stats()
    assert stats.skipped_frames > 1000 * PER_MS
    assert Kind.SKIP in kinds(player.playout.poll())


# ---- position and marks -------------------------------------------------------------------------


def test_position_counts_played_audio() -> None:
    """The position of an item increases with each read, up to the end of the item."""
    player = Player()
    player.push(counting(0, 1600), "a", end=True)
    player.push(counting(0, 1600), "b", end=True)

    positions = []
    for _ in range(5):
        positions.append((player.playout.position_ms("a"), player.playout.position_ms("b")))
        player.read(50)

    assert [(0, 0), (50, 0), (100, 0), (100, 50), (100, 100)] == positions


def test_position_without_the_latency_of_the_device() -> None:
    """Audio that the device has read but not played is not part of the position."""
    player = Player()
    player.push(counting(0, 1600), "a", end=True)
    player.read(60)

    assert player.playout.position_ms("a", latency_ms=20) == 40
    assert player.playout.position_ms("a", latency_ms=500) == 0


def test_position_of_an_unknown_item() -> None:
    """The position of an item that was never pushed raises an error that names the item."""
    with pytest.raises(LocalProtocolError, match="'nobody' is unknown"):
        Playout(RATE_HZ).position_ms("nobody")


def test_marks_are_reported_once_and_in_order() -> None:
    """Marks may be set in any order. Each mark is reported when its position was played."""
    player = Player()
    for offset_ms in (30, 10, 20, 10):
        player.playout.mark("a", offset_ms, f"at {offset_ms}")
    player.push(counting(0, 800), "a", end=True)

    reported = []
    for _ in range(6):
        events = player.playout.poll()
        reported.append([event.tag for event in events if event.kind is Kind.MARK])
        player.read(10)

    assert [[], ["at 10", "at 10"], ["at 20"], ["at 30"], [], []] == reported


def test_mark_after_the_end_is_reported_at_the_end() -> None:
    """A mark after the last sample of an item is reported at the end of the item."""
    player = Player()
    player.push(counting(0, 160), "a", end=True)
    player.playout.mark("a", 500, "late word")
    player.push(counting(0, 1600), "b", end=True)

    player.read(20)

    found = [(event.kind, event.item) for event in player.playout.poll()]
    assert [
        (Kind.ITEM_STARTED, "a"),
        (Kind.MARK, "a"),
        (Kind.ITEM_DONE, "a"),
        (Kind.ITEM_STARTED, "b"),
    ] == found


def test_item_without_sound_is_done() -> None:
    """An item without audio is reported as done, and its marks are reported."""
    player = Player()
    player.playout.mark("a", 0, "word")
    player.playout.end("a", now_ns=player.now_ns)
    player.read(10)

    assert [Kind.MARK, Kind.ITEM_DONE] == kinds(player.playout.poll())


def test_next_item_ends_the_current_item() -> None:
    """An item that was not ended is done when the next item starts."""
    player = Player()
    player.push(counting(0, 160), "a")
    player.push(counting(0, 160), "b", end=True)
    player.read(30)

    done = [event.item for event in player.playout.poll() if event.kind is Kind.ITEM_DONE]

    assert ["a", "b"] == done


def test_events_of_an_item() -> None:
    """The start, the end and the drain are reported in order, with positions and times."""
    player = Player()
    player.push(counting(0, 800), "a", end=True)
    player.read(100)

    events = player.playout.poll()

    assert [Kind.ITEM_STARTED, Kind.ITEM_DONE, Kind.DRAIN] == kinds(events)
    assert events[1].position_ms == 50
    assert events[2].time_ns == 1050 * 1_000_000
    assert player.playout.poll() == []


def test_unpolled_items_do_not_fill_the_playout() -> None:
    """Any number of items can be played, even if poll() is never called."""
    player = Player()
    for number in range(1000):
        assert player.push(counting(0, 16), number, end=True)
        player.read(1)


# ---- clear --------------------------------------------------------------------------------------


def test_clear_returns_the_heard_duration() -> None:
    """clear() returns the heard duration of each item. The fade of the current item is heard."""
    player = Player(start_ms=20, time_scaling=False)
    player.push(tone(200), "a", end=True)
    player.push(tone(100), "b")
    player.playout.mark("a", 30, "reached")
    player.playout.mark("a", 150, "cancelled")
    player.read(50)

    cleared = player.playout.clear()

    assert {
        "a": Cleared(heard_ms=55, received_ms=200, cancelled_marks=1),
        "b": Cleared(heard_ms=0, received_ms=100, cancelled_marks=0),
    } == cleared
    assert cleared["a"].audio_end_ms == 55
    assert [
        (Kind.ITEM_STARTED, "a", None),
        (Kind.MARK, "a", "reached"),
        (Kind.ITEM_CLEARED, "a", None),
        (Kind.MARK_CANCELLED, "a", "cancelled"),
        (Kind.ITEM_CLEARED, "b", None),
    ] == [(event.kind, event.item, event.tag) for event in player.playout.poll()]


@pytest.mark.parametrize("block_ms", [1, 5, 10, 40])
def test_clear_fades_to_silence(block_ms: int) -> None:
    """After a clear, the output falls to silence within 5 ms."""
    player = Player(time_scaling=False)
    player.push(struct.pack("<3200h", *[10000] * 3200), "a", end=True)
    player.read(40)

    player.playout.clear()
    after = samples_of(player.read(40, block_ms))

    fade = after[: 5 * PER_MS]
    assert fade == sorted(fade, reverse=True)
    assert 9800 < fade[0] <= 10000
    assert 0 < fade[-1] < 200
    assert {0} == set(after[5 * PER_MS :])


def test_cleared_item_accepts_no_audio() -> None:
    """A push for a cleared item returns STALE, and the pushed frames are counted as stale."""
    player = Player()
    player.push(tone(100), "a")
    player.playout.clear()

    assert player.push(tone(20), "a") is PushResult.STALE
    with pytest.raises(LocalProtocolError, match="'a' was cleared"):
        player.playout.mark("a", 10, "word")
    assert player.playout.stats().stale_frames == 20 * PER_MS


def test_next_item_starts_at_its_first_sample() -> None:
    """An item that is pushed after a clear is played from its first sample."""
    player = Player()
    player.push(tone(500), "a")
    player.read(100)
    player.playout.clear()
    player.push(counting(0, 1600), "b", end=True)

    output = player.read(200)

    assert counting(0, 1600) in output


def test_two_clears_without_a_read_between() -> None:
    """An item that is pushed and cleared between two reads has no heard audio."""
    player = Player(time_scaling=False)
    player.push(tone(200), "a", end=True)
    player.read(50)
    player.playout.clear()
    player.push(tone(200), "b", end=True)

    assert player.playout.clear() == {"b": Cleared(heard_ms=0, received_ms=200, cancelled_marks=0)}
    assert player.playout.position_ms("a") == 55


def test_clear_with_a_stopped_device() -> None:
    """With latency_ms, neither the fade nor the audio in the device counts as heard."""
    player = Player(time_scaling=False)
    player.push(tone(200), "a", end=True)
    player.read(100)

    cleared = player.playout.clear(latency_ms=30)

    assert cleared["a"].heard_ms == 70
    assert bytes(640) == player.read(20)


def test_finished_item_is_not_cleared() -> None:
    """The result of a clear leaves out items that were heard to their end."""
    player = Player()
    player.push(tone(50), "a", end=True)
    player.read(100)

    assert player.playout.clear() == {}


def test_items_without_a_name() -> None:
    """After a clear or an end, a push with the item None starts a new item."""
    player = Player()
    player.push(tone(100), None)
    player.playout.clear()

    assert player.push(tone(100), None, end=True)
    assert player.push(tone(100), None)
    assert player.playout.position_ms() == 0


# ---- limits -------------------------------------------------------------------------------------


def test_full_playout_refuses_a_push() -> None:
    """A push that does not fit returns FULL. The same push is accepted when there is room."""
    player = Player(capacity_ms=100, start_ms=10, time_scaling=False)
    assert player.push(tone(80))

    assert player.push(tone(30)) is PushResult.FULL
    player.read(20)
    assert player.push(tone(30)) is PushResult.ACCEPTED
    assert player.playout.stats().refused_frames == 30 * PER_MS


def test_ended_item_accepts_no_audio() -> None:
    """A push to an item returns STALE if the item has ended or another item has started."""
    player = Player()
    player.push(tone(10), "a")
    player.push(tone(10), "b", end=True)

    assert player.push(tone(10), "a") is PushResult.STALE
    assert player.push(tone(10), "b") is PushResult.STALE


def test_only_accepted_is_true() -> None:
    """Of all results of a push, only ACCEPTED is true."""
    assert [True, False, False] == [bool(result) for result in PushResult]


# (settings, part of the error's message)
BAD_SETTINGS = [
    ({"sample_rate_hz": 7999}, "sample_rate_hz must be 8000 to 48000, got 7999"),
    ({"channels": 3}, "channels must be 1 to 2"),
    ({"mode": "fast"}, "mode must be one of burst, live, got 'fast'"),
    ({"profile": "best"}, "profile must be one of interactive, balanced, smooth"),
    ({"input_format": "s24"}, "input_format must be one of s16, f32"),
    ({"min_delay_ms": 200, "max_delay_ms": 100}, "max_delay_ms must be 200 to 10000"),
    ({"start_ms": 0}, "start_ms must be 1 to 10000"),
    ({"capacity_ms": 5}, "capacity_ms must be 10 to 3600000"),
    ({"fade_ms": 11}, "fade_ms must be 1 to 10"),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    """A setting out of range raises an error with the name and the range of the setting."""
    with pytest.raises(ConfigError, match=message):
        Playout(**{"sample_rate_hz": RATE_HZ, **settings})


def test_cut_frames() -> None:
    """A cut frame raises an error, in push() and in read()."""
    playout = Playout(RATE_HZ, 2)
    out = bytearray(6)

    with pytest.raises(AudioError, match="a frame has 4 bytes, got 6 bytes"):
        playout.push(bytes(6))
    with pytest.raises(AudioError, match="a frame has 4 bytes, got a buffer of 6"):
        playout.read(out)
    out.append(0)  # works because the buffer is not locked any more


def test_push_beyond_the_capacity() -> None:
    """A push that is larger than the capacity raises an error."""
    with pytest.raises(AudioError, match="200 ms are longer than the capacity of 100 ms"):
        Playout(RATE_HZ, capacity_ms=100).push(tone(200))


def test_two_places_for_a_packet() -> None:
    """A push with both a timestamp and a sequence number raises an error."""
    with pytest.raises(LocalProtocolError, match="timestamp or sequence, got both"):
        Playout(RATE_HZ).push(tone(20), timestamp=0, sequence=0)


# ---- pause, devices, closing --------------------------------------------------------------------


def test_pause_loses_nothing() -> None:
    """A pause begins and ends with a fade, is silent, and skips no sample."""
    player = Player()
    player.push(struct.pack("<3200h", *[10000] * 3200), "a", end=True)
    player.read(50)
    player.playout.pause()
    fading = samples_of(player.read(10))
    silent = player.read(50)
    position_ms = player.playout.position_ms("a")
    player.playout.resume()
    rising = samples_of(player.read(10))

    assert (fading[0], 100 > fading[-1] > 0) == (10000, True)
    assert bytes(len(silent)) == silent
    assert position_ms == 60
    assert (100 > rising[0] > 0, rising[-1]) == (True, 10000)
    assert player.played_ranges()[-1][1] == 70 * PER_MS


def test_device_reads_by_address() -> None:
    """A C callback with the two addresses of a playout gets the same audio as a read."""
    player = Player()
    player.push(counting(0, 160), "a", end=True)
    function, argument = player.playout.attach()
    ffi = _native.ffi
    pull = ffi.cast("size_t (*)(void *, uint8_t *, size_t, uint64_t)", function)
    out = ffi.new("uint8_t[]", 320)

    sound = pull(ffi.cast("void *", argument), out, 160, player.now_ns)
    player.playout.detach()

    assert sound == 160
    assert counting(0, 160) == ffi.buffer(out)[:]


def test_one_reader_at_a_time() -> None:
    """While a device is attached to a playout, read() and close() of the playout raise an error."""
    playout = Playout(RATE_HZ)
    playout.attach()

    with pytest.raises(LocalProtocolError, match="only one thread or device may read"):
        playout.read(bytearray(2))
    with pytest.raises(LocalProtocolError, match="only one thread or device may read"):
        playout.attach()
    with pytest.raises(LocalProtocolError, match="stop the device and call detach"):
        playout.close()
    playout.detach()
    playout.detach()
    assert playout.read(bytearray(2)) == 0
    playout.close()


def test_closed_playout() -> None:
    """
    After close(), every call raises an error that says what to do.

    close() may be called twice.
    """
    with Playout(RATE_HZ) as playout:
        playout.push(tone(20))
    playout.close()

    for call in (
        lambda: playout.push(tone(20)),
        lambda: playout.read(bytearray(2)),
        lambda: playout.numpy(1),
        playout.parts,
        playout.clear,
        playout.position_ms,
        playout.poll,
        playout.stats,
        playout.pause,
        playout.resume,
        playout.attach,
        lambda: playout.mark("a", 0, None),
    ):
        with pytest.raises(ClosedError, match="the playout is closed"):
            call()
    assert repr(playout) == "<Playout closed>"


def test_repr_has_the_state() -> None:
    """The repr of a playout has its state and the length of its queue."""
    player = Player(start_ms=500)
    player.push(tone(120))
    player.read(10)

    assert repr(player.playout) == "<Playout 16000 Hz prebuffering 120 ms>"


# ---- determinism --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["burst", "live"])
def test_output_depends_only_on_the_arrivals(mode: str) -> None:
    """Two playouts with the same pushes at the same times have the same output."""
    outputs = set()
    for _ in range(2):
        player = Player(mode=mode)
        for number in range(200):
            player.now_ms += (number * 7919) % 41
            player.push(tone(20, 100 + number), timestamp=number * 320 if mode == "live" else None)
            player.read(20)
        outputs.add(bytes(player.output))

    assert len(outputs) == 1


def test_reader_is_interrupted() -> None:
    """After an exception of a signal handler at any point of a read, the playout can be read."""
    for point in itertools.count():
        playout, mixer = Playout(24000), Mixer(24000)

        def use(playout: Playout = playout, mixer: Mixer = mixer) -> None:
            playout.push(bytes(480))
            playout.read(bytearray(480))
            playout.parts()
            playout.clear()
            mixer.read(bytearray(480))

        was_interrupted = interrupted(use, point)

        assert returns(lambda playout=playout: playout.read(bytearray(480))), point  # type: ignore[misc]
        playout.read(bytearray(480))
        playout.parts()
        playout.clear()
        playout.close()
        mixer.read(bytearray(480))
        mixer.close()
        if not was_interrupted:
            break
    assert point > 20
