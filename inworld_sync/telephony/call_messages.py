"""Makes the messages to a carrier from the audio of a call."""

from __future__ import annotations

from collections.abc import Iterable

from inworld_sync.errors import InworldError
from inworld_sync.telephony.codec import Codec
from inworld_sync.telephony.output import CallOutput
from inworld_sync.transport.framework_socket import Message

__all__ = ["CallMessages"]


class CallMessages:
    """
    The messages to the carrier of one call, in order.

    Args:
        codec: The codec of the carrier, which makes the messages.
        output: The output of the call, which provides the audio.
    """

    def __init__(self, codec: Codec, output: CallOutput) -> None:
        self._codec, self._output = codec, output
        self._has_begun = False

    def next_messages(self, timeout: float) -> Iterable[Message]:
        """Wait until messages are due, and return them; return () after *timeout* seconds."""
        if not self._has_begun:
            self._has_begun = True
            return _present(self._codec.begin())
        frame = self._output.next_frame(timeout)
        if frame is None:
            return ()
        return _present(
            self._codec.clear() if frame.is_clear else None,
            self._codec.media(frame.audio) if frame.audio else None,
            None if frame.mark is None else self._codec.report(frame.mark),
        )

    def notify(self) -> None:
        """End a wait of :meth:`next_messages`."""
        self._output.notify()

    def fail(self, error: InworldError) -> None:
        """Stop, because the carrier does not accept audio."""
        self._output.fail(error)


def _present(*messages: Message | None) -> list[Message]:
    return [message for message in messages if message is not None]
