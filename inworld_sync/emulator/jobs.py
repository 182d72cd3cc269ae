"""
Runs jobs, which continue after the response to their HTTP request.

Threads: each running job has a thread, whose name begins with ``inworld-emulator-job``.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable

import attrs

from inworld_sync.emulator.status import INTERNAL, RESOURCE_EXHAUSTED, Refused, status

__all__ = ["Job", "Jobs"]

_logger = logging.getLogger("inworld_sync.emulator")
# Beyond this number of jobs, the oldest of the ended jobs is dropped.
_MAX_KEPT = 100


@attrs.define
class Job:
    """
    One job.

    Attributes:
        name: The id of the job.
        ticket: The secret with which a client without a credential gets the result.
        result: The result; None before the end and after a failure.
        error: The status with which the job failed, or None.
    """

    name: str
    ticket: str = attrs.field(factory=secrets.token_urlsafe, repr=False)
    result: object | None = None
    error: dict[str, object] | None = None

    @property
    def is_done(self) -> bool:
        """Whether the job has ended."""
        return self.result is not None or self.error is not None


class Jobs:
    """
    The jobs of one server.

    Thread safety: any thread may use this object; one lock guards the tables.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._threads: list[tuple[Job, threading.Thread]] = []

    def start(self, kind: str, limit: int, work: Callable[[], object]) -> Job:
        """
        Start a job.

        Args:
            kind: A part of the job's name, such as ``sttJobs``.
            limit: How many jobs, of all kinds, may run at a time.
            work: A function that returns the result. It may raise Refused.

        Raises:
            Refused: Too many jobs are running.
        """
        number = uuid.uuid4().hex
        job = Job(f"workspaces/local/{kind}/{number}/operations/{number}")
        thread = threading.Thread(
            target=self._run,
            args=(job, work),
            name=f"inworld-emulator-job-{number[:8]}",
            daemon=True,
        )
        with self._lock:
            # A job may be done before its thread has ended.
            self._threads = [each for each in self._threads if each[1].is_alive()]
            if sum(not each.is_done for each, _ in self._threads) >= limit:
                message = f"{limit} jobs are running, which is the limit of the plan"
                raise Refused(RESOURCE_EXHAUSTED, message, http_status=429)
            self._threads.append((job, thread))
            self._jobs[job.name] = job
            ended = [name for name, each in self._jobs.items() if each.is_done]
            for name in ended[: max(0, len(self._jobs) - _MAX_KEPT)]:
                del self._jobs[name]
            thread.start()
        return job

    def get(self, name: str) -> Job | None:
        """Return the job with this name, or None."""
        return self._jobs.get(name)

    def of_ticket(self, ticket: str) -> Job | None:
        """Return the job with this ticket, or None."""
        with self._lock:
            jobs = list(self._jobs.values())
        return next((job for job in jobs if secrets.compare_digest(job.ticket, ticket)), None)

    def join(self, seconds: float) -> None:
        """Wait until no job runs, for at most *seconds*. This call does not stop the jobs."""
        deadline = time.monotonic() + seconds
        with self._lock:
            threads = list(self._threads)
        for _, thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, job: Job, work: Callable[[], object]) -> None:
        try:
            job.result = work()
        except Refused as error:
            job.error = status(error.code, error.message)
        except Exception:
            # The work may call an engine of the user. The engine can raise any exception.
            _logger.exception("the job %s failed", job.name)
            job.error = status(INTERNAL, "internal error of the emulator")
