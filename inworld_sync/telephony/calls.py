"""Defines the data of a call: the carrier's messages, the reason for the end, and the summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from inworld_sync.models.realtime import ConversationEntry, Message
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.telephony.formats import CallFormat

__all__ = [
    "Call",
    "CallAudio",
    "CallControl",
    "CallEnd",
    "CallStart",
    "CallStopped",
    "CallSummary",
    "CarrierFault",
    "CarrierMessage",
    "Connect",
    "FlowChanged",
    "KeyControl",
    "KeyPressed",
    "MarkReturned",
    "QueueReported",
    "WrongFormat",
]

CallEnd: TypeAlias = Literal[
    "caller_hung_up",
    "hung_up",
    "transferred",
    "silence",
    "max_duration",
    "voicemail",
    "drained",
    "carrier_lost",
    "stalled",
    "wrong_codec",
    "model_lost",
    "model_unavailable",
    "no_capacity",
    "failed",
]


class Call(Protocol):
    """
    A call in progress, for the program and its tools.

    Thread safety: every method may be called from any thread, and returns at once.
    """

    @property
    def start(self) -> CallStart | None:
        """The carrier's data about the call; None until the carrier begins the audio."""
        ...

    def hang_up(self, *, after_speech: bool = True) -> None:
        """
        End the call.

        Args:
            after_speech: Whether the assistant's present reply is heard first. If the caller begins
                to speak before the end of the reply, the call continues.
        """
        ...

    def transfer(self, target: str, *, after_speech: bool = True) -> None:
        """
        Connect the caller with another target.

        Args:
            target: A number such as ``+4930123456`` or a SIP address.
            after_speech: See :meth:`hang_up`.

        Raises:
            ConfigError: The call has no ``control``, which is an argument of the call's class.
        """
        ...

    def send_keys(self, digits: str) -> None:
        """
        Send the tones of phone keys, by a command to the carrier or as audio.

        Args:
            digits: ``0-9``, ``A-D``, ``*`` and ``#``; ``w`` is a pause of 0.5 s, ``W`` of 1 s.
        """
        ...

    def report_voicemail(self) -> None:
        """Report that a machine has answered a call that you made."""
        ...


@runtime_checkable
class CallControl(Protocol):
    """
    Commands of a carrier that are not part of the stream of audio, such as requests over HTTP.

    Each command runs on a thread of its own, so the methods may wait.
    """

    def hang_up(self, call_id: str) -> None:
        """End the call."""
        ...

    def transfer(self, call_id: str, target: str) -> None:
        """Connect the caller with another target."""
        ...


@runtime_checkable
class KeyControl(Protocol):
    """A :class:`CallControl` that can also send the tones of phone keys."""

    def send_keys(self, call_id: str, digits: str) -> None:
        """Send the tones of the keys *digits*."""
        ...


@attrs.frozen
class CallStart:
    """
    The carrier has connected the audio of a call.

    Attributes:
        call_id: The carrier's id of the call; "" if the carrier sent no id.
        stream_id: The carrier's id of the stream of audio; "" if the carrier sent no id.
        received: The format of the caller's audio.
        sent: The format of the audio to the caller.
        from_number: The caller's number, if the carrier sent it.
        to_number: The number that was called, if the carrier sent it.
        parameters: The parameters that the application set for the stream.
    """

    call_id: str
    stream_id: str
    received: CallFormat
    sent: CallFormat
    from_number: str = ""
    to_number: str = ""
    parameters: Mapping[str, str] = attrs.field(factory=dict)


Connect: TypeAlias = Callable[[CallStart], RealtimeSession]


@attrs.frozen
class CallAudio:
    """
    Audio of a call.

    Attributes:
        audio: Audio in the format of :attr:`CallStart.received`.
        chunk: The number of the piece; None if the carrier does not count pieces.
        timestamp_ms: When the piece begins in the stream; None if the carrier sends no times.
        is_caller: True for audio that the caller speaks; False for audio that the caller hears.
    """

    audio: bytes
    chunk: int | None = None
    timestamp_ms: int | None = None
    is_caller: bool = True


@attrs.frozen
class KeyPressed:
    """The caller has pressed a key: ``0`` to ``9``, ``A`` to ``D``, ``*`` or ``#``."""

    digit: str


@attrs.frozen
class MarkReturned:
    """The carrier returns a mark, because the audio before the mark was played or cleared."""

    name: str


@attrs.frozen
class QueueReported:
    """The number of milliseconds of audio that the carrier has not played yet."""

    queued_ms: float


@attrs.frozen
class FlowChanged:
    """The carrier's queue is full, so nothing may be sent; or the queue has room again."""

    is_paused: bool


@attrs.frozen
class CallStopped:
    """The call, or its stream of audio, has ended."""


@attrs.frozen
class WrongFormat:
    """The audio has an unsupported format, or a format other than the announced format."""

    reason: str


@attrs.frozen
class CarrierFault:
    """The carrier reports an error. The call continues."""

    reason: str


CarrierMessage: TypeAlias = (
    CallStart
    | CallAudio
    | KeyPressed
    | MarkReturned
    | QueueReported
    | FlowChanged
    | CallStopped
    | WrongFormat
    | CarrierFault
)


@attrs.frozen(kw_only=True)
class CallSummary:
    """
    A call that has ended.

    Attributes:
        end: Why the call ended:

            - ``caller_hung_up``: The carrier ended the call or its stream.
            - ``hung_up``, ``transferred``: The program or the model ended the call.
            - ``silence``, ``max_duration``, ``voicemail``: A rule of the options ended the call.
            - ``drained``: :func:`drain` ended the call.
            - ``carrier_lost``: The connection to the carrier ended, without a message that ends the
              call.
            - ``stalled``: For too long, the carrier sent nothing, accepted nothing, or did not
              begin the audio.
            - ``wrong_codec``: The audio of the call has a format that cannot be used.
            - ``model_lost``: The realtime session ended.
            - ``model_unavailable``: The realtime session could not be opened.
            - ``no_capacity``: The account or the limiter allows no further session.
            - ``failed``: An unexpected error ended the call; see *error*.
        error: The error that ended the call; None for a normal end.
        call_id: The carrier's id of the call; "" if the call never started.
        duration: Seconds from the start of the audio to the end.
        heard_ms: How many milliseconds of audio the caller has heard.
        conversation: The items of the session's conversation.
        keys: All keys that the caller has pressed.
        interruptions: How often the caller has interrupted the assistant.
        lost_chunks: How many pieces of the caller's audio never arrived.
        late_chunks: How many pieces arrived too late to be used, or arrived twice.
        lost_input_ms: How many milliseconds of the caller's audio could not be sent to the model.
        stale_marks: How many marks returned too early, or after their audio was cleared.
        target: The target of a transfer; None without a transfer.
        recording: The file with the recording; None without a recording.
    """

    end: CallEnd
    error: Exception | None = None
    call_id: str = ""
    duration: float = 0.0
    heard_ms: float = 0.0
    conversation: tuple[ConversationEntry, ...] = attrs.field(default=(), repr=False)
    keys: str = attrs.field(default="", repr=False)
    interruptions: int = 0
    lost_chunks: int = 0
    late_chunks: int = 0
    lost_input_ms: float = 0.0
    stale_marks: int = 0
    target: str | None = None
    recording: Path | None = None

    @property
    def transcript(self) -> str:
        """The conversation as text, one line for each turn, such as ``user: Hello``."""
        lines = []
        for entry in self.conversation:
            item = entry.item
            if isinstance(item, Message) and item.role in ("user", "assistant") and item.text:
                lines.append(f"{item.role}: {item.text}")
        return "\n".join(lines)
