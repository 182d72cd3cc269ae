"""Runs the reader thread and the writer thread of a link, as the sessions do."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

from inworld_sync.models.options import Options
from inworld_sync.transport.websocket import Link, LinkEnd

PATIENCE_SECONDS = 90.0

# Even a busy machine does not exceed these timeouts.
PATIENT = Options(close_timeout=30.0, ping_timeout=60.0, send_timeout=60.0)


class Driver:
    """
    A link with its two threads.

    Attributes:
        on_message: Called on the reader thread for each message, before :meth:`next` returns it.
        on_timer: Called on the writer thread, see :meth:`Link.run_writer`.
    """

    def __init__(
        self,
        link: Link,
        on_message: Callable[[bytes], object] | None = None,
        on_timer: Callable[[], None] | None = None,
    ) -> None:
        self.link = link
        self.messages: queue.Queue[bytes | None] = queue.Queue()
        self._on_message = on_message
        self.reader = threading.Thread(target=self._read, name="inworld-test-reader", daemon=True)
        self.writer = threading.Thread(
            target=link.run_writer, args=(on_timer,), name="inworld-test-writer", daemon=True
        )
        self.writer.start()
        self.reader.start()

    def _read(self) -> None:
        while (message := self.link.receive()) is not None:
            if self._on_message:
                self._on_message(bytes(message))
            self.messages.put(bytes(message))
        self.messages.put(None)

    def next(self) -> bytes:
        """Return the next message."""
        message = self.messages.get(timeout=PATIENCE_SECONDS)
        assert message is not None, f"the link is over: {self.link.end}"
        return message

    def ended(self) -> LinkEnd:
        """Wait until both threads have returned, and return the end of the link."""
        self.join()
        assert self.link.end is not None
        return self.link.end

    def join(self) -> None:
        for thread in (self.reader, self.writer):
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), f"{thread.name} does not end"


@contextlib.contextmanager
def driven(
    url: str,
    options: Options,
    *,
    headers: dict[str, str] | None = None,
    on_message: Callable[[bytes], object] | None = None,
    on_timer: Callable[[], None] | None = None,
) -> Iterator[Driver]:
    """Open a link to *url*, run the threads of the link during the block, and release the link."""
    link = Link.open(url, headers=headers or {}, options=options, name="test-1")
    with driving(link, on_message=on_message, on_timer=on_timer) as driver:
        yield driver


@contextlib.contextmanager
def driving(
    link: Link,
    *,
    on_message: Callable[[bytes], object] | None = None,
    on_timer: Callable[[], None] | None = None,
) -> Iterator[Driver]:
    """Run the threads of *link* during the block, and release the link."""
    driver = Driver(link, on_message, on_timer)
    try:
        yield driver
    finally:
        link.abort("the test is over")
        driver.join()
        link.release()
