"""
Runs a batch on several threads.

Threads: the threads named ``batch`` do the items. The calling thread starts and joins these
threads, and calls the user's function.

Lock rule: ``_finished`` guards the remaining items and the outcomes. No function of the user is
called while ``_finished`` is held.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from inworld_sync.batch.jobs import BatchItem, Jobs, read_items, read_rows
from inworld_sync.batch.journal import Journal
from inworld_sync.batch.results import LocalResults, Results
from inworld_sync.batch.work import ItemResult, ItemWorker, is_item_error
from inworld_sync.errors import AuthError, ConfigError, InworldError, ServiceError, TransportError
from inworld_sync.locks import Condition, Event
from inworld_sync.models import checks
from inworld_sync.models.batch import BatchFailure, BatchProgress, BatchSummary
from inworld_sync.models.options import Options
from inworld_sync.models.stt import TranscribeConfig
from inworld_sync.models.tts import ContextConfig
from inworld_sync.sessions.stt.service import Stt
from inworld_sync.sessions.tts.service import Tts
from inworld_sync.transport.backoff import Backoff

__all__ = ["BatchRunner", "run_batch"]

# The upper bound of the delay before the first retry of an item. The bound doubles with each retry,
# up to the second number.
_FIRST_DELAY_SECONDS = 0.5
_MAX_DELAY_SECONDS = 30.0

_PROGRESS_SECONDS = 0.25
# After an error that ends the batch, the call waits this long for its threads. A thread that is
# waiting for a transcription may end later.
_JOIN_SECONDS = 5.0
# The rate is measured over at most this many of the latest items.
_RATE_ITEMS = 200


@attrs.frozen
class _Outcome:
    result: ItemResult | None = None
    failure: BatchFailure | None = None
    at: float = attrs.field(factory=time.monotonic)


def run_batch(
    jobs: Jobs,
    output: str | os.PathLike[str],
    *,
    template: str | None,
    speech: ContextConfig,
    transcript: TranscribeConfig,
    options: Options,
    tts: Tts,
    stt: Callable[[], Stt],
    concurrency: int,
    retries: int,
    timeout: float,
    overwrite: bool,
    on_progress: Callable[[BatchProgress], object] | None,
) -> BatchSummary:
    """Check the arguments of :meth:`Inworld.batch`, and run the batch."""
    for name, value, low, high in (
        ("concurrency", concurrency, 1, 1000),
        ("retries", retries, 0, 100),
    ):
        if type(value) is not int or not low <= value <= high:
            raise ConfigError(f"{name} must be an integer from {low} to {high}, got {value!r}")
    checks.require_seconds("timeout", timeout)
    if on_progress is not None and not callable(on_progress):
        raise ConfigError(f"on_progress must be callable, got {on_progress!r}")
    if not isinstance(output, (str, os.PathLike)):
        raise ConfigError(f"output must be the path of a folder, got {output!r:.100}")
    items = read_items(
        read_rows(jobs),
        template=template,
        speech=speech,
        transcript=transcript,
        service=options.service_name,
    )
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    stopped = Event()
    with Journal(folder, options.logger) as journal:
        runner = BatchRunner(
            items,
            LocalResults(folder, journal, overwrite=overwrite),
            ItemWorker(tts, stt, timeout, stopped),
            stopped,
            concurrency=concurrency,
            retries=retries,
        )
        return runner.run(on_progress)


class BatchRunner:
    """
    Does the items of a batch that are not done yet.

    Args:
        items: All items.
        results: Stores the outputs, and records which items are done.
        worker: Does one item.
        stopped: An event. When the event is set, *worker* ends its item.
        concurrency: How many items are done at once.
        retries: The maximum number of retries of an item.
    """

    def __init__(
        self,
        items: Sequence[BatchItem],
        results: Results,
        worker: ItemWorker,
        stopped: Event,
        *,
        concurrency: int,
        retries: int,
    ) -> None:
        self._items = items
        self._results = results
        self._worker = worker
        self._stopped = stopped
        self._concurrency = concurrency
        self._retries = retries
        self._finished = Condition()
        self._outcomes: deque[_Outcome] = deque()
        self._left: Iterator[BatchItem] = iter(())
        self._fatal: Exception | None = None
        self._running = 0

    def run(self, on_progress: Callable[[BatchProgress], object] | None) -> BatchSummary:
        """
        Do the items, and return when each item is done or has failed.

        Raises:
            ConfigError: An output exists that is not in the journal.
            AuthError: The service refuses the credential.
            OSError: An output cannot be written.
            Exception: The exception that *on_progress* raised.
        """
        began = time.monotonic()
        todo = self._results.left(self._items)
        skipped = len(self._items) - len(todo)
        self._left = iter(todo)
        progress = _Counter(BatchProgress(total=len(self._items), skipped=skipped))
        threads = [
            threading.Thread(target=self._work, name=f"inworld-batch-{number}", daemon=True)
            for number in range(min(self._concurrency, len(todo)))
        ]
        try:
            if on_progress is not None:
                on_progress(progress.value)
            for thread in threads:
                with self._finished:
                    self._running += 1
                thread.start()
            while self._collect(progress):
                if on_progress is not None:
                    on_progress(progress.value)
        finally:
            self._worker.stop()
            deadline = time.monotonic() + _JOIN_SECONDS
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, deadline - time.monotonic()))
        if self._fatal is not None:
            raise self._fatal
        if on_progress is not None:
            on_progress(progress.value)
        return progress.summary(time.monotonic() - began)

    def _collect(self, progress: _Counter) -> bool:
        """Wait for outcomes and count them. Return whether any items are left."""
        until = time.monotonic() + _PROGRESS_SECONDS
        while True:
            with self._finished:
                self._finished.wait_for(
                    lambda: not self._running or self._fatal is not None,
                    max(0.0, until - time.monotonic()),
                )
                outcomes, self._outcomes = self._outcomes, deque()
                is_over = not self._running or self._fatal is not None
            for outcome in outcomes:
                progress.add(outcome)
            return not is_over

    # These methods run on the threads of the batch.

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._finished:
                    item = next(self._left, None)
                if item is None:
                    return
                outcome = self._outcome(item)
                with self._finished:
                    self._outcomes.append(outcome)
        except Exception as error:  # noqa: BLE001 - raised again by run()
            with self._finished:
                # Errors after stop() are a result of stop().
                if self._fatal is None and not self._stopped.is_set():
                    self._fatal = error
        finally:
            with self._finished:
                self._running -= 1
                self._finished.notify_all()

    def _outcome(self, item: BatchItem) -> _Outcome:
        """Do an item, with retries, and record the outcome in the results."""
        backoff = Backoff(_FIRST_DELAY_SECONDS, _MAX_DELAY_SECONDS)
        partial = self._results.partial(item)
        while True:
            try:
                result = self._worker.write(item, partial)
                self._results.commit(item, result)
                return _Outcome(result=result)
            except (InworldError, OSError) as error:
                partial.unlink(missing_ok=True)
                if (
                    self._stopped.is_set()
                    or isinstance(error, AuthError)
                    or not is_item_error(error, item)
                ):
                    raise
                if not _may_retry(error) or backoff.attempts >= self._retries:
                    return _Outcome(failure=self._fail(item, error, backoff.attempts + 1))
                delay = backoff.next_delay(error if isinstance(error, InworldError) else None)
            self._stopped.wait(delay)

    def _fail(self, item: BatchItem, error: Exception, attempts: int) -> BatchFailure:
        failure = BatchFailure(
            id=item.id,
            output=item.output,
            kind=type(error).__name__,
            message=str(error),
            attempts=attempts,
        )
        self._results.fail(item, failure)
        return failure


def _may_retry(error: Exception) -> bool:
    if isinstance(error, ServiceError):
        return error.retryable
    return isinstance(error, TransportError)


class _Counter:
    """Counts the outcomes of a run, and measures the rate."""

    def __init__(self, value: BatchProgress) -> None:
        self.value = value
        self._times: deque[float] = deque([time.monotonic()], _RATE_ITEMS + 1)
        self._failures: list[BatchFailure] = []
        self._audio_seconds = 0.0
        self._characters = 0

    def add(self, outcome: _Outcome) -> None:
        self._times.append(outcome.at)
        if outcome.failure is not None:
            self._failures.append(outcome.failure)
        if outcome.result is not None:
            self._audio_seconds += outcome.result.audio_seconds
            self._characters += outcome.result.characters
        value = self.value
        failed = len(self._failures)
        done = value.done + (outcome.result is not None)
        seconds = self._times[-1] - self._times[0]
        rate = (len(self._times) - 1) / seconds if seconds > 0 else 0.0
        left = value.total - value.skipped - done - failed
        self.value = attrs.evolve(
            value,
            done=done,
            failed=failed,
            items_per_second=rate,
            remaining_seconds=left / rate if rate else None,
        )

    def summary(self, seconds: float) -> BatchSummary:
        return BatchSummary(
            total=self.value.total,
            skipped=self.value.skipped,
            done=self.value.done,
            failures=tuple(self._failures),
            seconds=seconds,
            audio_seconds=self._audio_seconds,
            characters=self._characters,
        )
