"""
Runs a batch as tasks on the workers of a Celery application.

One task does one group of items. The marker of a finished item is a file next to the outputs. So a
task that is delivered again, for example after its worker was killed, does only the items without a
marker.

Threads: a worker process has one client, which all of its tasks share. Each task runs its items on
the threads of :class:`BatchRunner`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from inworld_sync.batch.jobs import BatchItem, Jobs, Row, output_of, read_items, read_rows
from inworld_sync.batch.remote_results import RemoteResults
from inworld_sync.batch.runner import BatchRunner
from inworld_sync.batch.work import ItemWorker
from inworld_sync.errors import ConfigError, DeadlineExceeded
from inworld_sync.locks import Event, make_lock
from inworld_sync.models import checks
from inworld_sync.models.batch import BatchFailure, BatchProgress
from inworld_sync.models.settings import combine_settings
from inworld_sync.models.stt import TranscribeConfig
from inworld_sync.sessions.stt.service import Stt
from inworld_sync.sessions.tts.service import DEFAULTS, Tts

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["CeleryBatch", "CeleryRun"]

_LOOK_AGAIN_SECONDS = 0.5


class BatchClient(Protocol):
    """The part of a client that a batch uses."""

    @property
    def tts(self) -> Tts:
        """The text-to-speech service."""
        ...

    @property
    def stt(self) -> Stt:
        """The speech-to-text service."""
        ...

    def close(self) -> None:
        """Close all connections."""


class CeleryBatch:
    """
    A batch task of a Celery application.

    Create the object in the module that defines the application, so that workers and callers can
    import it::

        app = Celery("speech", broker="redis://localhost")
        batch = CeleryBatch(app, lambda: Inworld(limiter=RedisLimiter("redis://localhost/1")))

    Args:
        app: The Celery application, which gets the task.
        client: Creates the client of a worker process when the process runs its first task. The
            client is closed when the worker ends.
        name: The name of the task.
        storage_options: Options of fsspec for the outputs, such as credentials. They are not sent
            to the broker.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        app: Celery,
        client: Callable[[], BatchClient],
        *,
        name: str = "inworld_sync.batch",
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        if not callable(client):
            raise ConfigError(
                "client must be a function that makes a client, such as lambda: Inworld(), got "
                f"{type(client).__name__}"
            )
        self._make_client = client
        self._storage_options = storage_options
        self._lock = make_lock()
        self._clients: dict[int, BatchClient] = {}

        # A task whose worker is killed is delivered again.
        def do_group(**arguments: Any) -> None:
            self._do_group(**arguments)

        settings = {"acks_late": True, "reject_on_worker_lost": True, "ignore_result": True}
        self._task: Any = app.task(name=name, **settings)(do_group)
        _close_with_worker(self.close)

    def submit(
        self,
        jobs: Jobs,
        output: str,
        *,
        template: str | None = None,
        voice: str | None = None,
        model: str | None = None,
        language: str | None = None,
        group_size: int = 20,
        concurrency: int = 5,
        retries: int = 3,
        timeout: float = 60.0,
    ) -> CeleryRun:
        """
        Send to the workers all items that are not done yet, and return at once.

        Items that failed earlier are tried again.

        Args:
            jobs: As for ``Inworld.batch``.
            output: A folder that all workers can write, or an fsspec URL such as
                ``s3://bucket/out``. A relative path is relative to the caller's current folder.
            template: As for ``Inworld.batch``.
            voice: The voice of texts without a voice of their own.
            model: The model of texts without a model of their own.
            language: The language of texts and recordings without a language of their own.
            group_size: The number of items of one task, 1 to 10000.
            concurrency: How many items of a task are done at once, 1 to 1000.
            retries: The maximum number of retries of an item, 0 to 100. An item is tried again only
                after an error that may be temporary.
            timeout: The longest wait in seconds for a connection, and for each message of the
                service.

        Raises:
            ConfigError: An argument or an item is wrong. Nothing was sent.
            OSError: The jobs or the outputs cannot be read.
            Exception: The broker or the file system cannot be reached.
        """
        checks.require_whole("group_size", group_size, 1, 10_000)
        checks.require_whole("concurrency", concurrency, 1, 1000)
        checks.require_whole("retries", retries, 0, 100)
        checks.require_seconds("timeout", timeout)
        run, rows = self._run(jobs, output, template, voice, model, language)
        settings = {
            # A worker may have been started in another folder.
            "output": output if "://" in output else str(Path(output).expanduser().absolute()),
            "template": template,
            "voice": voice,
            "model": model,
            "language": language,
            "concurrency": concurrency,
            "retries": retries,
            "timeout": timeout,
        }
        left = run.left()
        todo = [row for item, row in zip(run.items, rows, strict=True) if item.key in left]
        for start in range(0, len(todo), group_size):
            self._task.apply_async(
                kwargs={"rows": todo[start : start + group_size], **settings}, serializer="json"
            )
        return run

    def watch(
        self,
        jobs: Jobs,
        output: str,
        *,
        template: str | None = None,
        voice: str | None = None,
        model: str | None = None,
        language: str | None = None,
    ) -> CeleryRun:
        """
        Return the run of a batch that this or another process has submitted with the same
        arguments.

        Raises:
            ConfigError: An argument or an item is wrong.
        """
        return self._run(jobs, output, template, voice, model, language)[0]

    def _run(
        self,
        jobs: Jobs,
        output: str,
        template: str | None,
        voice: str | None,
        model: str | None,
        language: str | None,
    ) -> tuple[CeleryRun, list[Row]]:
        if not isinstance(output, str) or not output:
            raise ConfigError(f"output must be a folder or a URL, got {output!r:.100}")
        rows = read_rows(jobs)
        items = _items(rows, template, voice, model, language)
        return CeleryRun(items, output, self._storage_options), rows

    def close(self) -> None:
        """Close the client of this process, if there is one. The next task creates a new client."""
        with self._lock:
            client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    # These methods run in a worker.

    def _do_group(
        self,
        rows: list[tuple[int, str, dict[str, str]]],
        output: str,
        template: str | None,
        voice: str | None,
        model: str | None,
        language: str | None,
        concurrency: int,
        retries: int,
        timeout: float,
    ) -> None:
        items = _items(rows, template, voice, model, language)
        with RemoteResults(output, self._storage_options) as results:
            try:
                client, stopped = self._client(), Event()
                worker = ItemWorker(client.tts, lambda: client.stt, timeout, stopped)
                runner = BatchRunner(
                    items, results, worker, stopped, concurrency=concurrency, retries=retries
                )
                runner.run(None)
            except Exception as error:
                # The failures show the caller why these items are missing.
                for item in results.left(items):
                    results.fail(item, _failure(item, error))
                raise

    def _client(self) -> BatchClient:
        with self._lock:
            client = self._clients.get(os.getpid())
            if client is None:
                client = self._clients[os.getpid()] = self._make_client()
            return client


class CeleryRun:
    """
    A batch that workers run. :class:`CeleryBatch` returns this object to the caller.

    The state is read from the outputs, so Celery needs no result backend.

    Thread safety: one thread at a time.
    """

    def __init__(
        self, items: Sequence[BatchItem], output: str, options: dict[str, Any] | None
    ) -> None:
        self.items = items
        self._keys = {item.key for item in items}
        self._output = output
        self._options = options
        self._began = time.monotonic()
        with self._results() as results:
            self._skipped = len(results.finished()[0] & self._keys)

    def left(self) -> set[str]:
        """Return the keys of the items that are not done, and forget the errors of these items."""
        with self._results() as results:
            done, failed = results.finished()
            left = self._keys - done
            results.forget_failures(failed & left)
            # A changed item has a new key. Its output will be replaced, so the marker with the old
            # key is removed.
            outputs = {output_of(key) for key in left}
            results.forget_outputs(key for key in done - self._keys if output_of(key) in outputs)
            return left

    def progress(self) -> BatchProgress:
        """
        Return the progress of the batch.

        Raises:
            OSError: The outputs cannot be read.
        """
        with self._results() as results:
            done, failed = (len(keys & self._keys) for keys in results.finished())
        seconds = time.monotonic() - self._began
        finished = done - self._skipped + failed
        rate = finished / seconds if seconds > 0 else 0.0
        left = len(self.items) - done - failed
        return BatchProgress(
            total=len(self.items),
            skipped=self._skipped,
            done=done - self._skipped,
            failed=failed,
            items_per_second=rate,
            remaining_seconds=left / rate if rate else None,
        )

    def failures(self) -> tuple[BatchFailure, ...]:
        """Return the items that have failed so far."""
        with self._results() as results:
            failed = results.finished()[1]
            return tuple(results.failure(item.key) for item in self.items if item.key in failed)

    def wait(self, timeout: float | None = None) -> BatchProgress:
        """
        Wait until each item is done or has failed.

        Args:
            timeout: The longest wait in seconds; None means no limit.

        Raises:
            DeadlineExceeded: Items are left after *timeout* seconds. The workers continue.
            OSError: The outputs cannot be read.
        """
        checks.require_timeout(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            progress = self.progress()
            left = progress.total - progress.skipped - progress.done - progress.failed
            if not left:
                return progress
            if until is not None and time.monotonic() >= until:
                raise DeadlineExceeded(
                    f"{left} of {progress.total} items are not done after {timeout:g} s; the "
                    "workers continue"
                )
            time.sleep(_LOOK_AGAIN_SECONDS)

    @contextlib.contextmanager
    def _results(self) -> Iterator[RemoteResults]:
        with RemoteResults(self._output, self._options) as results:
            yield results


def _items(
    rows: list[Row],
    template: str | None,
    voice: str | None,
    model: str | None,
    language: str | None,
) -> list[BatchItem]:
    given = {"voice": voice, "model": model, "language": language}
    return read_items(
        rows,
        template=template,
        speech=combine_settings(None, DEFAULTS, given),
        transcript=combine_settings(None, TranscribeConfig(), {"language": language}),
        # The caller does not know which service the workers use, so this part of a key is fixed.
        service="celery",
    )


def _failure(item: BatchItem, error: Exception) -> BatchFailure:
    return BatchFailure(
        id=item.id, output=item.output, kind=type(error).__name__, message=str(error)
    )


def _close_with_worker(close: Callable[[], None]) -> None:
    """Call *close* when the process of a worker ends."""
    from celery import signals

    def on_end(**_: object) -> None:
        close()

    signals.worker_process_shutdown.connect(on_end, weak=False)
    signals.worker_shutdown.connect(on_end, weak=False)
