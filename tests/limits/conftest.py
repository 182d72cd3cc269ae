"""Each test gets a stand-in for Redis, and limiters that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync import RedisLimiter

from support.fake_redis import URL, FakeRedis


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRedis:
    return FakeRedis(monkeypatch)


@pytest.fixture
def process(fake: FakeRedis) -> Iterator[Callable[..., RedisLimiter]]:
    """Yield a function that makes a limiter as another process would. Close all limiters."""
    fake.run_clock()
    made: list[RedisLimiter] = []

    def make(**settings: Any) -> RedisLimiter:
        made.append(RedisLimiter(URL, **settings))
        return made[-1]

    yield make
    for limiter in made:
        limiter.close()
