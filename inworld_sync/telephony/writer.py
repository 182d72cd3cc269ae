"""
Sends everything to a carrier, on one thread for each call.

Threads: ``inworld-call-...-out``. No other thread sends on the socket of the call.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from inworld_sync.errors import ConnectionLost
from inworld_sync.telephony.codec import Codec
from inworld_sync.telephony.output import CallOutput
from inworld_sync.telephony.transport import Message, Transport

__all__ = ["Writer"]

_WAIT_SECONDS = 0.5


class Writer:
    """
    The thread that sends.

    Args:
        name: The name of the call.
        transport: Sends the messages.
        codec: Makes the messages.
        output: Provides the audio.

    Attributes:
        error: Why no more messages can be sent; None while messages can be sent.
    """

    def __init__(self, name: str, transport: Transport, codec: Codec, output: CallOutput) -> None:
        self._transport, self._codec, self._output = transport, codec, output
        self.error: Exception | None = None
        self._last: deque[Message] = deque()
        self._is_over = False
        self._sending_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"inworld-{name}-out", daemon=True)
        self._thread.start()

    def stalled_seconds(self, now: float) -> float:
        """Return how many seconds ago the sending of the present message began."""
        since = self._sending_since
        return 0.0 if since is None else now - since

    def finish(self, message: Message | None, timeout: float) -> None:
        """Send a last message, and end the thread; wait at most *timeout* seconds."""
        if message is not None:
            self._last.append(message)
        self._is_over = True
        self._output.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._send(self._codec.begin())
            while not self._is_over:
                frame = self._output.next_frame(_WAIT_SECONDS)
                if frame is None:
                    continue
                if frame.is_clear:
                    self._send(self._codec.clear())
                if frame.audio:
                    self._send(self._codec.media(frame.audio))
                if frame.mark is not None:
                    self._send(self._codec.report(frame.mark))
            while self._last:
                self._send(self._last.popleft())
        except BaseException as error:  # noqa: BLE001 - each framework has its own errors
            self.error = error if isinstance(error, Exception) else RuntimeError(repr(error))
            lost = ConnectionLost(f"the carrier accepts no audio: {type(error).__name__}: {error}")
            lost.__cause__ = error
            self._output.fail(lost)

    def _send(self, message: Message | None) -> None:
        if message is not None:
            self._sending_since = time.monotonic()
            self._transport.send(message)
            self._sending_since = None
