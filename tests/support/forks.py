"""Runs a function in a forked child that cannot hang the tests, with the parent's locks held."""

from __future__ import annotations

import faulthandler
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from inworld_sync import locks

__all__ = ["all_locks_held", "in_child"]

# A child that needs more time hangs.
_PATIENCE_SECONDS = 60.0


def in_child(
    use: Callable[[], object],
    during_fork: AbstractContextManager[object] | None = None,
    seconds: float = _PATIENCE_SECONDS,
) -> str:
    """
    Call *use* in a forked child, and wait for the end of the child.

    Args:
        use: The function. The child ends after this call, and runs nothing else of the test.
        during_fork: The parent forks inside this context.
        seconds: A child that runs longer prints its stack and ends.

    Returns:
        The class and the text of the exception that *use* raised; the stack of a child that
        hangs; "" if *use* returned.
    """
    with tempfile.TemporaryFile() as output:
        with during_fork or nullcontext():
            child = os.fork()
            if not child:
                # A thread in C watches the child, even if the child waits for a lock.
                faulthandler.dump_traceback_later(seconds, exit=True, file=output)
                try:
                    use()
                except BaseException as error:
                    os.write(output.fileno(), f"{type(error).__name__}: {error}".encode())
                finally:
                    os._exit(0)
        os.waitpid(child, 0)
        output.seek(0)
        return output.read().decode("utf-8", "replace")


@contextmanager
def all_locks_held() -> Iterator[None]:
    """Let other threads hold all locks of the package."""
    are_held, may_release = threading.Event(), threading.Event()

    def hold() -> None:
        # A lock that is not free is already held by another thread.
        every = [*locks._plain_locks, *locks._conditions]
        held = [lock for lock in every if lock.acquire(blocking=False)]
        are_held.set()
        may_release.wait()
        for lock in held:
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    are_held.wait()
    try:
        yield
    finally:
        may_release.set()
        holder.join()
