"""Threads acquire the lock in the order of their requests."""

import threading

import pytest

from inworld_sync.emulator.fair_lock import FairLock


def waiting(lock):
    """Return the number of waiting threads."""
    return len(lock._waiting)


def queue_up(lock, name, served):
    """Start a thread that acquires the lock and records *name*. Wait until the thread is queued."""
    before = waiting(lock)

    def work():
        assert lock.acquire(30)
        served.append(name)
        lock.release()

    thread = threading.Thread(target=work)
    thread.start()
    deadline = threading.Event()
    while waiting(lock) == before:
        assert not deadline.wait(0.001)
    return thread


def test_order():
    """Threads get the lock in the order of requests. After a release, a thread must queue again."""
    lock, served = FairLock(), []
    assert lock.acquire(0)
    threads = [queue_up(lock, number, served) for number in range(5)]

    lock.release()
    assert lock.acquire(30)
    served.append("again")
    lock.release()

    for thread in threads:
        thread.join(30)
    assert [0, 1, 2, 3, 4, "again"] == served


def test_timeout():
    """A thread that times out leaves the queue and delays no other thread."""
    lock = FairLock()
    assert lock.acquire(0)

    assert not lock.acquire(0)

    assert 0 == waiting(lock)
    lock.release()
    assert lock.try_acquire()


def test_try():
    """try_acquire acquires a free lock and does nothing if the lock is held."""
    lock = FairLock()

    assert lock.try_acquire()
    assert not lock.try_acquire()
    lock.release()
    assert lock.try_acquire()


def test_context_manager(monkeypatch):
    """A with statement that cannot get the lock raises an error. Its end releases a held lock."""
    monkeypatch.setattr("inworld_sync.emulator.fair_lock._PATIENCE_SECONDS", 0.01)
    lock = FairLock()
    with lock, pytest.raises(TimeoutError, match="busy"), lock:
        pass

    assert lock.try_acquire()
