"""The clock that measures what a caller has heard, in simulated time."""

from __future__ import annotations

from inworld_sync.telephony.heard import HeardClock

RATE_HZ = 8000


def ms(value: float) -> int:
    return int(value * RATE_HZ / 1000)


def clock(reports: str = "marks", delay: float = 0.0) -> HeardClock:
    return HeardClock(RATE_HZ, delay, reports)  # type: ignore[arg-type]


def test_time_limits_what_was_heard() -> None:
    """If 10 s of audio are sent within 1 s, the audio counts as heard in real time."""
    heard = clock("none")
    for each in range(10):
        heard.send(ms(1000), 100.0 + each / 10)

    assert ms(2000) == heard.heard(102.0)
    assert ms(10000) == heard.heard(150.0)


def test_the_delay_of_marks_is_subtracted() -> None:
    """If a mark returns 150 ms late, the caller hears all later audio 150 ms late."""
    heard = clock()
    heard.send(ms(200), 100.0)
    name = heard.request_report(100.0)
    heard.send(ms(800), 100.1)
    assert ms(200) == heard.heard(100.34), "the mark has not returned"

    assert heard.handle_mark(name, 100.35)

    assert ms(200) == heard.heard(100.35)
    assert ms(650) == heard.heard(100.8)


def test_a_mark_is_due_every_200_ms_and_at_the_end() -> None:
    """At most one mark is sent for each 200 ms of audio, and one at the end of the audio."""
    heard = clock()
    due = []
    for number in range(25):
        heard.send(ms(20), 100.0 + number * 0.02)
        if heard.is_report_due(100.0, is_last=number == 24):
            heard.request_report(100.0)
            due.append(number)

    assert [9, 19, 24] == due
    assert not heard.is_report_due(100.0, is_last=True), "an empty queue needs no mark"


def test_a_cleared_mark_was_not_heard() -> None:
    """A mark that returns after a clear changes nothing."""
    heard = clock()
    heard.send(ms(1000), 100.0)
    name = heard.request_report(100.0)

    assert ms(300) == heard.clear(100.3)
    assert not heard.handle_mark(name, 100.31)

    assert 1 == heard.stale
    heard.send(ms(1000), 101.0)
    generation = heard.request_report(101.0).split(":")[1]
    assert "1" == generation, "each clear has another generation"
    assert not heard.handle_mark("iw:0:16000", 102.5)
    assert ms(1000) + ms(100) == heard.heard(101.1)


def test_a_mark_before_its_time_was_not_heard() -> None:
    """If a mark returns before the carrier can have played its audio, the mark is only counted."""
    heard = clock()
    heard.send(ms(1000), 100.0)
    name = heard.request_report(100.0)

    assert not heard.handle_mark(name, 100.2)

    assert 1 == heard.early
    assert ms(250) == heard.heard(100.25)


def test_a_pause_begins_a_new_run() -> None:
    """A pause between two runs of audio does not count as heard audio."""
    heard = clock("none")
    heard.send(ms(100), 100.0)
    heard.send(ms(500), 105.0)

    assert ms(100) == heard.heard(104.0)
    assert ms(300) == heard.heard(105.2)


def test_the_tail_of_a_run_is_late_too() -> None:
    """With a delay, the caller hears the end of a run after the next run was sent."""
    heard = clock("none", delay=0.2)
    heard.send(ms(1000), 100.0)
    heard.send(ms(1000), 101.0)

    assert ms(900) == heard.heard(101.1)


def test_the_queue_of_the_carrier() -> None:
    """The queue length of the carrier gives the delay. A clear makes a requested report invalid."""
    heard = clock("queue")
    heard.send(ms(1000), 100.0)
    assert heard.is_report_due(100.0, is_last=False)
    heard.request_report(100.0)
    assert not heard.is_report_due(100.1, is_last=False)

    assert heard.handle_queue(ms(500), 100.6), "500 ms were played in 600 ms"
    assert ms(700) == heard.heard(100.8)

    heard.request_report(100.8)
    heard.clear(100.8)
    assert not heard.handle_queue(0, 100.9)


def test_a_lost_mark_does_not_hold_the_clock() -> None:
    """If a mark never returns, the audio counts as heard 2 s after its end."""
    heard = clock()
    heard.send(ms(500), 100.0)
    heard.request_report(100.0)

    assert not heard.is_drained(102.0)
    assert heard.is_drained(102.6)


def test_foreign_marks() -> None:
    """Marks with names that this side did not send are ignored."""
    heard = clock()
    heard.send(ms(100), 100.0)

    for name in ("", "greeting", "iw:0:x", "iw:-1:5", "iw:0:99999999999999999999", "iw:٣:٤"):
        assert not heard.handle_mark(name, 101.0)
