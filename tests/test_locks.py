"""Conditions and events work as in `threading`, also after an exception of a signal handler."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from inworld_sync.locks import Condition, Event, Part

from support.interrupts import interrupted, returns


def enter(lock: Condition) -> None:
    with lock:
        pass


@pytest.mark.parametrize("makes_part", [False, True], ids=["condition", "part"])
def test_notified(makes_part: bool) -> None:
    """A waiting thread continues when it is notified. The thread then holds the lock again."""
    lock = Condition()
    condition: Part = lock.part() if makes_part else lock
    seen: list[str] = []

    def wait() -> None:
        with lock:
            seen.append("waits")
            assert condition.wait(30)
            seen.append("continues")

    thread = threading.Thread(target=wait)
    thread.start()
    while not condition.waiters:
        time.sleep(0.001)
    with lock:
        condition.notify()
        seen.append("notified")
    thread.join(30)

    assert ["waits", "notified", "continues"] == seen


def test_notify_wakes_one_thread_and_notify_all_the_others() -> None:
    """notify() wakes up the thread that has waited longest. notify_all() wakes up all others."""
    lock = Condition()
    woken: list[int] = []

    def wait(number: int) -> None:
        with lock:
            assert lock.wait(30)
            woken.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(3)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(lock.waiters) <= number:
            time.sleep(0.001)
    with lock:
        lock.notify()
    threads[0].join(30)
    assert [0] == woken
    with lock:
        lock.notify_all()
    for thread in threads:
        thread.join(30)
    assert {0, 1, 2} == set(woken)


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 0.01, 1e-9])
def test_wait_times_out(timeout: float) -> None:
    """wait() and wait_for() return False after the timeout. The lock is then held as before."""
    lock = Condition()
    with lock, lock:
        assert not lock.wait(timeout)
        assert not lock.wait_for(lambda: False, timeout)
        assert lock.wait_for(lambda: True, timeout)
    assert not lock.waiters
    assert returns(lambda: enter(lock))


def test_endless_timeout() -> None:
    """A timeout that is too long for the system raises no error."""
    event = Event()
    threading.Timer(0.01, event.set).start()
    assert event.wait(1e30)


def test_wait_without_the_lock() -> None:
    """Waiting without holding the lock raises an error, as with `threading.Condition`."""
    with pytest.raises(RuntimeError):
        Condition().wait(0.0)


def test_run_unlocked() -> None:
    """During run_unlocked(), other threads can acquire the lock. Later, the caller has it again."""
    lock = Condition()
    with lock, lock:
        assert lock.run_unlocked(lambda: returns(lambda: enter(lock)))
        with pytest.raises(ZeroDivisionError):
            lock.run_unlocked(lambda: 1 // 0)
        assert threading.current_thread()
    assert returns(lambda: enter(lock))


def test_event() -> None:
    """An event wakes up every thread that waits, and stays set."""
    event = Event()
    assert not event.is_set()
    assert not event.wait(0.0)
    threads = [threading.Thread(target=event.wait, args=(30,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    event.set()
    event.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert event.is_set()
    assert event.wait(0.0)


def test_interrupted_anywhere() -> None:
    """After an exception of a signal handler at any point, no lock is held and no thread waits."""
    for point in itertools.count():
        lock, event = Condition(), Event()
        part = lock.part()

        def use(lock: Condition = lock, part: Part = part, event: Event = event) -> None:
            with lock:
                lock.wait(0.0)
                with lock:
                    part.wait_for(lambda: False, 1e-6)
                    lock.run_unlocked(lambda: None)
                part.notify_all()
                lock.notify()
            event.wait(1e-6)
            event.set()

        was_interrupted = interrupted(use, point)

        assert returns(lambda lock=lock: enter(lock)), point  # type: ignore[misc]
        assert returns(event.set), point
        assert not lock.waiters, point
        assert not part.waiters, point
        if not was_interrupted:
            break
    assert point > 20


def test_no_python_function_enters_a_lock() -> None:
    """``with`` calls C methods of the lock. Inside a Python method, a signal handler could run."""
    assert Condition.__enter__ is type(threading.RLock()).__enter__
    assert Condition.__exit__ is type(threading.RLock()).__exit__
