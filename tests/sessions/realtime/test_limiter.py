"""If the user's limiter raises an exception, the session continues."""

from __future__ import annotations

import pytest

from inworld_sync.sessions.realtime.events import SessionReconnected

from support.counting import CountingLimiter
from support.scripted_realtime import Service, realtime

PATIENCE_SECONDS = 30.0


def cut(service: Service) -> None:
    """Open the session, then cut the connection."""
    service.open()
    service.hang_up()


def idle(service: Service) -> None:
    service.open()
    service.until_left()


class FailsOnce(CountingLimiter):
    """A limiter that raises in the second acquire() and in the first release()."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = {"acquire": 0, "release": 0}

    def acquire(self, timeout: float) -> bool:
        self.calls["acquire"] += 1
        if self.calls["acquire"] == 2:
            raise RuntimeError("no Redis")
        return super().acquire(timeout)

    def release(self) -> None:
        super().release()
        self.calls["release"] += 1
        if self.calls["release"] == 1:
            raise RuntimeError("no Redis")


def test_a_limiter_that_fails_once(caplog: pytest.LogCaptureFixture) -> None:
    """If ``acquire`` raises, the client tries again. If ``release`` raises, the error is logged."""
    limiter = FailsOnce()
    with realtime(cut, idle, limiter=limiter) as iw, iw.realtime.connect() as rt:
        events = rt.events(timeout=PATIENCE_SECONDS)
        event = next(each for each in events if isinstance(each, SessionReconnected))

        assert 2 == event.attempts
        assert rt.ended is None
    assert 1 == caplog.text.count("the limiter's release() raised")
    assert 0 == limiter.taken
