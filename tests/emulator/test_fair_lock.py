"""The lock is given in the order in which it was asked for."""

import threading

import pytest

from inworld_sync.emulator.fair_lock import FairLock


def waiting(lock):
    """How many threads stand in line."""
    return len(lock._waiting)


def queue_up(lock, name, served):
    """Start a thread that takes the lock and notes its name, and wait until it is in line."""
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
    """Whoever asked first is served first, and the one who gave it back stands at the end."""
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
    """Whoever gives up leaves the line and keeps nobody waiting."""
    lock = FairLock()
    assert lock.acquire(0)

    assert not lock.acquire(0)

    assert 0 == waiting(lock)
    lock.release()
    assert lock.try_acquire()


def test_try():
    """Trying takes a free lock and leaves a held one alone."""
    lock = FairLock()

    assert lock.try_acquire()
    assert not lock.try_acquire()
    lock.release()
    assert lock.try_acquire()


def test_context_manager(monkeypatch):
    """As a context manager it is given back at the end, and gives up after its patience."""
    monkeypatch.setattr("inworld_sync.emulator.fair_lock._PATIENCE_SECONDS", 0.01)
    lock = FairLock()
    with lock, pytest.raises(TimeoutError, match="busy"), lock:
        pass

    assert lock.try_acquire()
