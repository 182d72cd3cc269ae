"""
Runs fakeredis instead of a Redis server. fakeredis runs the same Lua scripts in this process.

``python tests/redis_limits.py`` tests the limiter with a real Redis.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import fakeredis
import pytest
import redis
from fakeredis.commands_mixins import server_mixin

URL = "redis://:hidden-password@redis.invalid:6379/0"


class FakeRedis:
    """
    A server without a socket. Each read of the server's clock advances the clock by 1 us.

    Attributes:
        now: The time of the server, in seconds.
        server: The server of fakeredis. Its ``connected`` decides whether clients can reach the
            server.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        self._runs_from: float | None = None
        self.server = fakeredis.FakeServer()
        monkeypatch.setattr(server_mixin, "time", SimpleNamespace(time=self._time))
        monkeypatch.setattr(redis.Redis, "from_url", self.client)

    def client(self, *_: object, **__: object) -> redis.Redis:
        """Return a client of the server."""
        return fakeredis.FakeRedis(server=self.server)

    def _time(self) -> float:
        self.now += 1e-6
        if self._runs_from is not None:
            return self.now + time.monotonic() - self._runs_from
        return self.now

    def run_clock(self) -> None:
        """Let the clock run in real time."""
        self._runs_from = time.monotonic()

    def pass_time(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += seconds

    def go_away(self) -> None:
        """Refuse every request until :meth:`come_back`."""
        self.server.connected = False

    def come_back(self) -> None:
        """Accept requests again."""
        self.server.connected = True
