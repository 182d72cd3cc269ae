"""Limits how many conversations each user may have."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator

import attrs

from inworld_sync.errors import ConfigError, QuotaError
from inworld_sync.locks import make_lock
from inworld_sync.models.checks import require_seconds, require_whole

__all__ = ["UserLimit"]

_MAX_CONVERSATIONS = 1_000_000


@attrs.define
class _Usage:
    """The conversations of one user: how many are open, and when they began."""

    count: int = 0
    began: deque[float] = attrs.field(factory=deque)


class UserLimit:
    """
    Limits how many conversations one user may have at once, and in a period.

    The limit counts the conversations of this process. The limiter of the client also applies, and
    limits the connections of the whole account.

    Args:
        at_once: How many conversations one user may have at the same time. With 1, a page that is
            reloaded may be refused, because its earlier conversation has not ended yet.
        per_period: How many conversations one user may begin in *period* seconds; None for no
            limit.
        period: The period in seconds.

    Raises:
        ConfigError: An argument is out of its range.

    Thread safety:
        Every method may be called from any thread.
    """

    def __init__(
        self, at_once: int = 2, *, per_period: int | None = None, period: float = 3600.0
    ) -> None:
        require_whole("at_once", at_once, 1, _MAX_CONVERSATIONS)
        if per_period is not None:
            require_whole("per_period", per_period, 1, _MAX_CONVERSATIONS)
        require_seconds("period", period)
        self.at_once, self.per_period, self.period = at_once, per_period, period
        self._lock = make_lock()
        self._users: dict[str, _Usage] = {}
        self._cleaned_at = time.monotonic()

    @contextlib.contextmanager
    def hold(self, user: str) -> Iterator[None]:
        """
        Count a conversation of a user while the block runs.

        Args:
            user: The user's name or id in your program. This value is not sent anywhere.

        Raises:
            QuotaError: The user has too many conversations. The ``code`` is ``user_limit``. If
                *per_period* is reached, ``retry_after`` has the seconds until another conversation
                is allowed.
            ConfigError: *user* is not a text, or is empty.
        """
        if not isinstance(user, str) or not user:
            raise ConfigError(f"user must be a text that is not empty, got {user!r}")
        has_begun = False
        try:
            has_begun = self._begin(user)
            yield
        finally:
            if has_begun:
                self._end(user)

    def count(self, user: str) -> int:
        """Return how many conversations a user has now."""
        with self._lock:
            usage = self._users.get(user)
            return 0 if usage is None else usage.count

    def _begin(self, user: str) -> bool:
        now = time.monotonic()
        with self._lock:
            self._forget_old(now)
            usage = self._users.setdefault(user, _Usage())
            self._drop_old(usage, now)
            if usage.count >= self.at_once:
                raise QuotaError(
                    f"the user has {usage.count} conversations, and at most {self.at_once} are "
                    "allowed at once: end one first, or raise at_once",
                    code="user_limit",
                )
            if self.per_period is not None and len(usage.began) >= self.per_period:
                wait = usage.began[0] + self.period - now
                raise QuotaError(
                    f"the user has begun {len(usage.began)} conversations in {self.period:g} s, "
                    f"and at most {self.per_period} are allowed: wait {wait:.0f} s",
                    code="user_limit",
                    retry_after=max(wait, 0.0),
                )
            usage.count += 1
            if self.per_period is not None:
                usage.began.append(now)
            return True

    def _end(self, user: str) -> None:
        with self._lock:
            usage = self._users[user]
            usage.count -= 1
            self._drop_old(usage, time.monotonic())
            if not usage.count and not usage.began:
                del self._users[user]

    def _drop_old(self, usage: _Usage, now: float) -> None:
        while usage.began and now - usage.began[0] >= self.period:
            usage.began.popleft()

    def _forget_old(self, now: float) -> None:
        """Remove users without present or recent conversations, at most once in a period."""
        if now - self._cleaned_at < self.period:
            return
        self._cleaned_at = now
        for name, usage in list(self._users.items()):
            self._drop_old(usage, now)
            if not usage.count and not usage.began:
                del self._users[name]
