"""Tests of the audio and messages for a page, in simulated time."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from inworld_sync import MulawFormat, PcmFormat
from inworld_sync.errors import ConnectionLost, DeadlineExceeded
from inworld_sync.web import relay_output
from inworld_sync.web.relay_output import PageOutput

from support.clock import Clock

PCM = PcmFormat(24000)
PER_MS = 48


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(relay_output, "time", clock)
    return clock


def output_of(lead_ms: float = 1000) -> PageOutput:
    """Return an output whose ``clear`` never waits."""
    output = PageOutput(lead_ms)
    output.reader = threading.current_thread()
    return output


def sent(output: PageOutput) -> list[Any]:
    """Return all messages that are due. Audio is returned as (item, milliseconds)."""
    found: list[Any] = []
    while messages := output.next_messages(0):
        for message in messages:
            if isinstance(message, bytes):
                number, size = int.from_bytes(message[:4], "little"), len(message) - 4
                if found and isinstance(found[-1], tuple) and found[-1][0] == number:
                    size += round(found.pop()[1] * PER_MS)
                found.append((number, size / PER_MS))
            else:
                found.append(json.loads(message))
    return found


def test_audio_is_sent_one_lead_ahead(clock: Clock) -> None:
    """The output is ahead of the playback by at most lead_ms of audio and one message."""
    output = output_of(1000)
    output.push("a", bytes(3000 * PER_MS), PCM, end=True)

    assert [{"type": "item", "item": 1, "item_id": "a"}, (1, 1100)] == sent(output)
    clock.now += 0.5
    assert [(1, 500)] == sent(output)
    clock.now += 1
    assert [(1, 1000)] == sent(output)
    clock.now += 1
    assert [(1, 400), {"type": "item_end", "item": 1, "ms": 3000}] == sent(output)


def test_small_pieces_are_joined(clock: Clock) -> None:
    """Small pieces are joined to messages of 100 ms, unless the page has little audio left."""
    output = output_of(1000)
    for _ in range(10):
        output.push("a", bytes(20 * PER_MS), PCM)
    messages = [message for message in output.next_messages(0) if isinstance(message, bytes)]
    assert [100 * PER_MS + 4] == [len(message) for message in messages]
    assert [(1, 100)] == sent(output)
    output.push("a", bytes(20 * PER_MS), PCM)
    assert [(1, 20)] == sent(output), "only 200 ms are buffered"


def test_the_page_keeps_the_order_of_items(clock: Clock) -> None:
    """An item ends when the next item begins. A message has the audio of only one item."""
    output = output_of()
    output.push("a", bytes(30 * PER_MS), PCM)
    output.push("b", bytes(30 * PER_MS), PCM)
    output.push("a", bytes(30 * PER_MS), PCM)  # too late
    output.push("b", b"", PCM, end=True)
    output.push("c", b"", PCM, end=True)  # nothing is played

    kinds = [each if isinstance(each, tuple) else each["type"] for each in sent(output)]
    assert ["item", "item", (1, 30), "item_end", (2, 30), "item_end"] == kinds


@pytest.mark.parametrize(
    ("audio_format", "per_second", "heard_ms"),
    [(PCM, 48000, 333), (PcmFormat(44100), 88200, 333), (MulawFormat(), 8000, 333)],
)
def test_the_item_is_truncated_at_the_millisecond_of_the_page(
    clock: Clock, audio_format: Any, per_second: int, heard_ms: int
) -> None:
    """
    At every sample rate, the item is truncated at the whole millisecond that the page reports.
    """
    output = output_of(3000)
    output.push("a", bytes(per_second), audio_format)
    sent(output)
    output.begin_clear()
    assert "answer" == output.handle_stop(1, heard_ms)
    samples = output.clear()["a"]

    assert heard_ms == samples * 1000 // audio_format.sample_rate_hz


@pytest.mark.parametrize("is_reported", [True, False])
def test_positions_of_all_items(clock: Clock, is_reported: bool) -> None:
    """Items before the present item count as heard, and later items as not heard."""
    output = output_of(9000)
    for name in "abc":
        output.push(name, bytes(1000 * PER_MS), PCM, end=True)
    sent(output)
    if is_reported:
        output.handle_finished(1)
    output.begin_clear()
    output.handle_stop(2, 400)

    assert {"a": 24000, "b": 9600, "c": 0} == output.clear()
    assert 1400 == output.heard_ms
    assert {} == output.clear()
    assert output.is_idle


@pytest.mark.parametrize(("heard_ms", "samples"), [(999.2, 24000), (998.9, 23974)])
def test_a_rounded_position_at_the_end(clock: Clock, heard_ms: float, samples: int) -> None:
    """A reported position within 1 ms of the end of an item counts as the end."""
    output = output_of(3000)
    output.push("a", bytes(1000 * PER_MS), PCM, end=True)
    sent(output)
    output.begin_clear()
    output.handle_stop(1, heard_ms)
    assert {"a": samples} == output.clear()


def test_a_page_cannot_hear_more_than_was_sent(clock: Clock) -> None:
    """A position that a page reports is limited to the audio that was sent."""
    output = output_of(1000)
    output.push("a", bytes(3000 * PER_MS), PCM)
    sent(output)
    assert output.handle_heard(1, 86_000_000)
    assert not output.handle_finished(1)
    assert not output.handle_heard(2, 1)
    assert not output.handle_heard(0, 1)
    assert not output.handle_finished(2)
    assert "wrong" == output.handle_stop(2, 1)
    assert "stopped" == output.handle_stop(1, 86_000_000)
    assert {"a": 1100 * 24} == output.clear()
    assert 1100 == output.heard_ms


def test_without_an_answer_the_time_decides(clock: Clock) -> None:
    """If the page does not answer, the position is the last report plus the time since then."""
    output = output_of(3000)
    output.push("a", bytes(2000 * PER_MS), PCM)
    sent(output)
    clock.now += 0.3
    output.handle_heard(1, 200)
    clock.now += 0.1
    assert {"a": 300 * 24} == output.clear()
    assert 1 == output.late_answers

    assert "stale" == output.handle_stop(1, 250), "the answer comes too late"


def test_item_0_means_that_nothing_is_played(clock: Clock) -> None:
    """If the page answers with item 0, only the finished items were heard."""
    output = output_of(3000)
    output.push("a", bytes(100 * PER_MS), PCM, end=True)
    output.push("b", bytes(100 * PER_MS), PCM, end=True)
    sent(output)
    output.handle_finished(1)
    output.begin_clear()
    output.handle_stop(0, 0)
    assert {"a": 2400, "b": 0} == output.clear()


def test_audio_is_dropped_while_the_page_answers(clock: Clock) -> None:
    """After a clear, no audio or text of the old reply is sent."""
    output = output_of(1000)
    output.push("a", bytes(3000 * PER_MS), PCM)
    sent(output)
    assert output.begin_clear()
    assert output.begin_clear()
    assert output.push("a", bytes(1000 * PER_MS), PCM, end=True)
    output.send_about("a", "text", delta="old")
    clock.now += 0.5
    assert [{"type": "clear", "item": 1}] == sent(output)
    output.handle_stop(1, 10)
    output.clear()
    output.push("b", bytes(100 * PER_MS), PCM)
    assert [{"type": "item", "item": 2, "item_id": "b"}, (2, 100)] == sent(output)
    assert 1 == output.interruptions


def test_a_stop_before_the_newest_item(clock: Clock) -> None:
    """The page gets a clear for an item that was on its way when the user pressed stop."""
    output = output_of(3000)
    output.push("a", bytes(100 * PER_MS), PCM, end=True)
    output.push("b", bytes(100 * PER_MS), PCM, end=True)
    sent(output)
    assert "stopped" == output.handle_stop(1, 50)
    assert {"a": 1200, "b": 0} == output.clear()
    assert ["clear"] == [message["type"] for message in sent(output)]
    assert "stale" == output.handle_stop(0, 0)


def test_a_page_that_never_reports_the_end(clock: Clock) -> None:
    """If the page never reports the end of an item, the item counts as heard 2 s after its end."""
    output = output_of(3000)
    output.push("a", bytes(1000 * PER_MS), PCM, end=True)
    assert not output.is_idle
    sent(output)
    clock.now += 2.9
    assert not output.is_idle
    clock.now += 0.2
    assert output.is_idle
    assert {"a": 24000} == output.clear()
    assert ["clear"] == [message["type"] for message in sent(output)], "it may still play"


def test_other_formats_are_converted(clock: Clock) -> None:
    """Audio of another rate becomes 24 kHz PCM of the same duration."""
    output = output_of(9000)
    output.push("a", b"\x55" * 4000, MulawFormat())
    output.push("a", b"\x55" * 4000, MulawFormat(), end=True)
    messages = sent(output)
    assert (1, 1000) == messages[1]
    assert 1000 == messages[2]["ms"]


def test_memory_is_limited(clock: Clock) -> None:
    """
    The session waits while two minutes of audio are queued. A page that reads nothing is detected.
    """
    output = output_of()
    assert output.push("a", bytes(121_000 * PER_MS), PCM)
    assert not output.push("a", bytes(PER_MS), PCM)
    for number in range(1100):
        output.send_about(f"item-{number}", "text", delta="x")
    assert output.is_overfull
    assert len(output._texts) <= 1002
    assert len(output._numbers) <= 1000


def test_a_failure_and_the_end(clock: Clock) -> None:
    """After a failure, no audio is sent, and drain() raises the error."""
    output = output_of()
    output.push("a", bytes(4800), PCM)
    with pytest.raises(DeadlineExceeded):
        output.drain(0)
    output.fail(ConnectionLost("gone"))
    with pytest.raises(ConnectionLost):
        output.drain(1)
    assert output.push("a", bytes(4800), PCM)
    output.send("state", state="listening")
    assert ["item"] == [each["type"] for each in sent(output)]


def test_a_clear_waits_for_the_page() -> None:
    """On a thread other than the relay's, clear() waits until the page has answered."""
    output = PageOutput(1000)
    output.push("a", bytes(4800), PCM)
    output.next_messages(0)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(output.clear()))
    thread.start()
    while output.is_clear_answered:
        pass
    output.handle_stop(1, 40)
    thread.join()
    assert [{"a": 960}] == found
    assert 0 == output.late_answers


def test_closing_ends_a_clear() -> None:
    """After close(), no thread waits for an answer of the page."""
    output = PageOutput(1000)
    output.push("a", bytes(4800), PCM)
    thread = threading.Thread(target=output.clear)
    thread.start()
    while output.is_clear_answered:
        pass
    output.close()
    thread.join(30)
    assert not thread.is_alive()
