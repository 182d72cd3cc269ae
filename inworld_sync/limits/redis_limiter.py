"""
Limits the connections of an account over several processes and machines, with Redis.

Threads: the thread ``limiter``, which is a daemon, listens for messages of other processes and
renews the leases of this process's places every ``HEARTBEAT_SECONDS``.

Lock rule: ``_freed`` guards the places of this process and whether Redis can be reached. ``_freed``
is never held during a request to Redis.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import random
import secrets
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from inworld_sync.errors import ClosedError, ConfigError, ConnectError
from inworld_sync.limits import scripts
from inworld_sync.limits.limiter import DEFAULT_MAX_CONNECTIONS, ClientAwareLimiter
from inworld_sync.limits.redis_address import require_address
from inworld_sync.locks import Condition, Event
from inworld_sync.models import checks
from inworld_sync.secret import Secret

if TYPE_CHECKING:
    import redis

__all__ = ["RedisLimiter"]

# A place is free again this long after the last heartbeat of the process that holds the place.
LEASE_SECONDS: Final = 15.0
HEARTBEAT_SECONDS: Final = 5.0

# The timeout for connecting to Redis, and the timeout for each answer of Redis.
_REDIS_TIMEOUT_SECONDS: Final = 1.0

# How long the thread waits between two attempts to reach Redis again.
_AWAY_STEP_SECONDS: Final = 0.5

# With the policy "refuse", a call raises after this time without Redis. A restart takes less time.
_AWAY_SECONDS: Final = 10.0

# A refused process asks again after this time, or after a longer time if many processes are ahead.
# If a message of Redis arrives, the process asks at once.
_ASK_AGAIN_SECONDS: Final = 0.2
_ASK_AGAIN_PER_PROCESS_SECONDS: Final = 0.02
_ASK_AGAIN_MOST_SECONDS: Final = 2.0

# A process that does not ask again within this time loses its position in the queue.
_PATIENCE_SECONDS: Final = 5.0

# If no thread of this process has asked within this time, the process needs no further place.
_WANTED_SECONDS: Final = 1.0

# The thread notices close() and the end of a lease within this time.
_STEP_SECONDS: Final = 0.5

# Waits end at least this often, so that Ctrl-C is handled.
_LONGEST_WAIT_SECONDS: Final = 1.0

WhenAway = Literal["refuse", "local"]

_logger = logging.getLogger("inworld_sync")


class RedisLimiter(ClientAwareLimiter):
    """
    Limits the connections of an account over several processes and machines, with Redis.

    Pass the limiter as ``Inworld(limiter=...)``, and close it after the client. All processes that
    use the same Redis and the same *name* share *places* connections.

    A process renews its places with a message to Redis every 5 s. The places of a killed process
    are free within 15 s. Processes that asked earlier get free places earlier. While processes
    wait, other processes close idle connections. A process with more places than its share closes
    connections as soon as their utterances have ended.

    Args:
        url: The address of Redis, such as ``redis://localhost:6379/0``; ``rediss://`` uses TLS.
            Redis 5 or newer, or Valkey.
        places: The largest number of open connections of the account, at least 1. All processes
            must pass the same number.
        name: The name of the account in Redis. Use another name for each account.
        when_away: The policy while Redis cannot be reached. Places that are in use stay in use.
            ``refuse``: no process gets further places; calls wait, and raise
            :class:`~inworld_sync.ConnectError` after 10 s. ``local``: each process may use an equal
            share of the places, at least 1. The last known number of processes decides the share.
        logger: Receives the log; ``logging.getLogger("inworld_sync")`` by default.

    Raises:
        ConfigError: An argument is wrong.
        ModuleNotFoundError: The extra ``redis`` is not installed.

    Thread safety: every method may be called from any thread. A forked child of the process may use
    the limiter too; the child starts without the places of its parent.
    """

    def __init__(
        self,
        url: str,
        *,
        places: int = DEFAULT_MAX_CONNECTIONS,
        name: str = "default",
        when_away: WhenAway = "refuse",
        logger: logging.Logger | None = None,
    ) -> None:
        # A traceback may show the local variables. The address may have a password.
        url = Secret(url) if isinstance(url, str) else url
        require_address(url)
        if not isinstance(places, int) or isinstance(places, bool) or places < 1:
            raise ConfigError(f"places must be an integer of at least 1, got {places!r}")
        if not isinstance(name, str) or not name or set("{}:") & set(name):
            raise ConfigError(f"name must be a text without '{{', '}}' and ':', got {name!r}")
        if when_away not in get_args(WhenAway):
            raise ConfigError(f"when_away must be 'refuse' or 'local', got {when_away!r}")
        self._url = url
        self._places = places
        self._name = name
        self._when_away = when_away
        self._logger = logger or _logger
        # The braces keep all keys on one node of a cluster.
        self._prefix = f"inworld:{{{name}}}:"
        self._keys = [self._prefix + key for key in scripts.KEYS]
        self._is_closed = False
        try:
            self._connect().connection_pool.make_connection()
        except (TypeError, ValueError):
            wrong = True
        else:
            wrong = False
        if wrong:
            # This error is raised here, without the exception above, which may show the password.
            raise ConfigError("url has an option after '?' that redis-py does not accept")
        super().__init__()

    def _begin(self) -> None:
        super()._begin()
        self._freed = Condition()
        self._process = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._channel = self._prefix + self._process
        self._numbers = itertools.count(1)
        # The places of this process, the oldest first, and places whose release failed.
        self._held: dict[str, None] = {}
        self._unreleased: set[str] = set()
        self._client: redis.Redis | None = None
        self._thread: threading.Thread | None = None
        self._ending = Event()
        # Monotonic times: when Redis was lost, when this process may ask again, and when a thread
        # last asked for a place.
        self._away_since: float | None = None
        self._next_ask = -math.inf
        self._wanted_at = -math.inf
        # The number of processes when Redis was reached last.
        self._processes = 1

    @property
    def held(self) -> int:
        """The number of places that this process has."""
        with self._freed:
            return len(self._held)

    def acquire(self, timeout: float) -> bool:
        """
        Take a place, and return whether a place was free within *timeout* seconds.

        Raises:
            ConnectError: Redis cannot be reached and ``when_away`` is ``refuse``, or Redis does not
                accept the credential or the scripts.
            ClosedError: The limiter was closed.
        """
        checks.require_timeout(timeout)
        until = math.inf if timeout is None else time.monotonic() + timeout
        has_evicted = False
        while True:
            self._start()
            if self._may_ask() and self._ask():
                return True
            if not has_evicted:
                has_evicted = True
                self._evict_idle()
            with self._freed:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                # Wait for a message of Redis, but only until Redis must be asked again.
                pause = self._next_ask - time.monotonic()
                if pause > 0 and not self._is_closed:
                    self._freed.wait(min(left, pause, _LONGEST_WAIT_SECONDS))

    def release(self) -> None:
        """
        Return a place.

        Raises:
            ValueError: This process has no place.
        """
        with self._freed:
            if not self._held:
                raise ValueError("release() was called more often than acquire() returned True")
            place = next(iter(self._held))
            self._unreleased.add(place)
            del self._held[place]
            is_away = self._away_since is not None
            self._freed.notify()
        if not is_away:
            self._release([place])

    def close(self) -> None:
        """Return all places of this process, and end the thread. May be called twice."""
        with self._freed:
            self._is_closed = True
            thread, client = self._thread, self._client
            is_away = self._away_since is not None
            self._freed.notify_all()
        self._ending.set()
        if client is not None and not is_away:
            with contextlib.suppress(_redis().RedisError):
                # The message ends the thread's wait at once.
                client.publish(self._channel, "end")
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STEP_SECONDS + 2 * _REDIS_TIMEOUT_SECONDS)
        with self._freed:
            places = [*self._held, *self._unreleased]
            self._held.clear()
            self._unreleased.clear()
            is_away = self._away_since is not None
            self._client = None
        if client is not None:
            try:
                if not is_away:
                    self._run(scripts.LEAVE, *places, client=client)
            except _redis().RedisError as error:
                self._logger.warning("Redis frees the places when their leases end: %s", error)
            finally:
                client.close()

    def __enter__(self) -> RedisLimiter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RedisLimiter {self._name} places={self._places} held={len(self._held)}>"

    # Any thread runs these methods.

    def _start(self) -> None:
        """Open the client if there is no client, and start the thread if no thread runs."""
        with self._freed:
            if self._is_closed:
                raise ClosedError("the limiter was closed, make another")
            if self._client is None:
                self._client = self._connect()
            if self._thread is None or not self._thread.is_alive():
                # The thread has no reference to the limiter while it waits. So the thread ends if
                # the limiter is garbage-collected without being closed.
                arguments = (weakref.ref(self), self._client, self._ending)
                self._thread = threading.Thread(
                    target=_listen, args=arguments, name="inworld-limiter", daemon=True
                )
                self._thread.start()

    def _connect(self) -> redis.Redis:
        """Make a client, which connects later."""
        module = _redis()
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # A script can be repeated safely, since the caller chooses the name of a place. One retry
        # is enough if a connection was lost while it was idle.
        client: redis.Redis = module.Redis.from_url(
            str(self._url),
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1),
            protocol=2,  # Redis before version 6 has no other protocol
        )
        return client

    def _run(self, script: str, *arguments: str, client: redis.Redis | None = None) -> Any:
        client = client or self._client
        if client is None:
            raise ClosedError("the limiter was closed, make another")
        common = (self._prefix, self._process, self._places, int(LEASE_SECONDS * 1000))
        # redis-py sends only the hash of the script if Redis already has the script.
        return client.register_script(script)(self._keys, [*common, *arguments])

    def _may_ask(self) -> bool:
        """Return whether Redis is lost, or enough time has passed since Redis refused a place."""
        with self._freed:
            self._wanted_at = now = time.monotonic()
            return self._away_since is not None or now >= self._next_ask

    def _ask(self) -> bool:
        """Ask for a place once."""
        place = f"{self._process}:{next(self._numbers)}"
        with self._freed:
            away_since, held = self._away_since, len(self._held)
        if away_since is not None:
            return self._ask_while_away(place, away_since)
        is_known = False
        try:
            granted, ahead, pause_ms, processes = self._run(
                scripts.ACQUIRE, place, str(int(_PATIENCE_SECONDS * 1000)), str(held)
            )
            with self._freed:
                self._processes = processes
                if granted:
                    self._held[place] = None
                    is_known = True
                    return True
                is_known = True
                self._next_ask = time.monotonic() + _pause(ahead, pause_ms)
                return False
        except _redis().RedisError as error:
            is_known = True
            self._lose(error)
            with self._freed:  # Redis may have granted the place; a heartbeat returns it
                self._unreleased.add(place)
            return False
        finally:
            # A signal handler raised an exception. Redis may have granted the place.
            if not is_known:
                self._held.pop(place, None)
                self._release([place])
                # Redis may release the place before it grants the place, so release it again later.
                with self._freed:
                    self._unreleased.add(place)

    def _ask_while_away(self, place: str, away_since: float) -> bool:
        with self._freed:
            self._next_ask = time.monotonic() + _AWAY_STEP_SECONDS
            if self._when_away == "local":
                share = max(1, self._places // self._processes)
                if len(self._held) >= share:
                    return False
                # The next heartbeat that reaches Redis registers the place.
                self._held[place] = None
                return True
        seconds = time.monotonic() - away_since
        if seconds < _AWAY_SECONDS:
            return False
        raise ConnectError(
            f"the limiter has not reached Redis for {seconds:.0f} s: check that Redis runs and "
            "that its address is right, or use when_away='local'"
        )

    def _release(self, places: list[str]) -> None:
        if not places:
            return
        try:
            self._run(scripts.RELEASE, *places)
        except _redis().RedisError as error:
            # Without a heartbeat, the lease ends. If Redis is back earlier, the next heartbeat
            # releases the place.
            self._lose(error)
        except ClosedError:
            pass
        else:
            with self._freed:
                self._unreleased.difference_update(places)

    def _lose(self, error: Exception) -> None:
        """
        Record that Redis cannot be reached.

        Raises:
            ConnectError: Redis can be reached, but refuses the limiter.
        """
        module = _redis()
        is_refused = isinstance(
            error, (module.AuthenticationError, module.ResponseError)
        ) and not isinstance(error, (module.ReadOnlyError, module.BusyLoadingError))
        if is_refused:
            raise ConnectError(f"Redis refuses the limiter: {error}") from None
        with self._freed:
            if self._away_since is not None:
                return
            self._away_since = time.monotonic()
            self._next_ask = -math.inf
            self._freed.notify_all()
        self._logger.warning(
            "the limiter does not reach Redis (when_away=%s): %s", self._when_away, error
        )

    # The thread ``limiter`` runs these methods.

    def _record_loss(self, error: Exception) -> None:
        try:
            self._lose(error)
        except ConnectError as refused:
            # The next call to acquire() raises this error too.
            self._logger.warning("%s", refused)

    def _beat(self) -> None:
        """Renew the leases of all places, and register them if Redis was restarted."""
        with self._freed:
            held, unreleased = list(self._held), list(self._unreleased)
        if unreleased:
            self._run(scripts.RELEASE, *unreleased)
        processes = int(self._run(scripts.HEARTBEAT, *held))
        with self._freed:
            self._unreleased.difference_update(unreleased)
            # A place that was released during the request must not stay registered.
            released = [place for place in held if place not in self._held]
            self._processes = processes
            # A place that was taken by the policy "local" meanwhile must be registered first.
            is_behind = self._away_since is not None and not self._held.keys() <= set(held)
            was_away = self._away_since is not None and not is_behind
            if was_away:
                self._away_since = None
                self._next_ask = -math.inf
                self._freed.notify_all()
        if released:
            self._run(scripts.RELEASE, *released)
        if was_away:
            self._logger.info("the limiter reaches Redis again")
        if is_behind:
            self._beat()

    def _handle(self, data: bytes | str) -> None:
        text = data if isinstance(data, str) else data.decode()
        kind, _, number = text.partition(" ")
        if kind == "free":
            with self._freed:
                is_wanted = time.monotonic() - self._wanted_at < _WANTED_SECONDS
                self._next_ask = time.monotonic() + int(number) / 1000.0
                self._freed.notify()
            if not is_wanted:
                self._run(scripts.WITHDRAW)
        elif kind == "wanted":
            self._evict_idle()
            count = int(number)
            for client in self._attached():
                if count > 0:
                    count -= client.retire(count)


def _listen(reference: weakref.ref[RedisLimiter], client: Any, ending: Event) -> None:
    """Renew the leases of a limiter, and handle the messages of other processes."""
    module = _redis()
    subscription = None
    next_beat = -math.inf
    while not ending.is_set() and (limiter := reference()) is not None:
        try:
            if subscription is None:
                subscription = client.pubsub(ignore_subscribe_messages=True)
                subscription.subscribe(limiter._channel)  # noqa: SLF001 - of this file
                next_beat = -math.inf
            if time.monotonic() >= next_beat:
                limiter._beat()  # noqa: SLF001
                next_beat = time.monotonic() + HEARTBEAT_SECONDS
            del limiter
            wait = min(max(next_beat - time.monotonic(), 0.0), _STEP_SECONDS)
            message = subscription.get_message(timeout=wait)
            if message is not None and (limiter := reference()) is not None:
                limiter._handle(message["data"])  # noqa: SLF001
        except (module.RedisError, ConnectError, OSError, ValueError) as error:  # noqa: PERF203
            limiter = reference()
            if ending.is_set() or limiter is None:
                break
            limiter._record_loss(error)  # noqa: SLF001
            _close(subscription)
            subscription = limiter = None
            ending.wait(_AWAY_STEP_SECONDS)
    _close(subscription)


def _pause(ahead: int, pause_ms: int) -> float:
    """Return the seconds until a process asks again, with more seconds if many processes wait."""
    seconds = min(
        _ASK_AGAIN_SECONDS + ahead * _ASK_AGAIN_PER_PROCESS_SECONDS, _ASK_AGAIN_MOST_SECONDS
    )
    seconds = max(seconds, min(pause_ms / 1000.0, _ASK_AGAIN_MOST_SECONDS))
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


def _redis() -> Any:
    try:
        import redis
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "RedisLimiter needs redis-py: pip install 'inworld-sync[redis]'", name="redis"
        ) from None
    return redis


def _close(subscription: Any) -> None:
    if subscription is not None:
        with contextlib.suppress(OSError, ValueError, _redis().RedisError):
            subscription.close()
