r"""
Builds a WebSocket text frame from audio in one call. The call converts the audio, encodes it as
base64 in JSON, and masks the frame.

>>> builder = FrameBuilder('{"audio":"', '"}')
>>> frame = builder.build(b"\x00\x01\x02")
>>> len(frame), frame[0]  # FIN and opcode 1
(22, 129)
"""

from __future__ import annotations

import enum
import os
from typing import TYPE_CHECKING, Final

from inworld_sync._native import lib
from inworld_sync.audio._memory import as_bytes, new_output, readable, readable_samples
from inworld_sync.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from inworld_sync._native._core import CData
    from inworld_sync.audio.samples import AudioData

__all__ = ["FrameBuilder", "FrameForm", "build_frame"]

# Reading an attribute of the library takes as long as a short call. So the module reads each
# attribute once, when the module is imported.
_frame_text: Final = lib.iw_frame_text
_frame_plain: Final = lib.iw_frame_plain
_MAX_OPCODE: Final = 15
_HEADER_BYTES: Final = lib.IW_FRAME_HEADER_BYTES
_random_bytes: Final = os.urandom


def build_frame(opcode: int, payload: bytes) -> bytes:
    """
    Build one whole frame, masked with a new random key.

    Source: RFC 6455, sections 5.2 and 5.3. Each frame of a client has its own unpredictable key.

    Args:
        opcode: The opcode of the frame, 0 to 15.
        payload: The payload before masking.

    Raises:
        ConfigError: An argument is out of range or of another type.

    Thread safety: any thread may call the function at any time.
    """
    if (
        not isinstance(payload, bytes)
        or not isinstance(opcode, int)
        or not 0 <= opcode <= _MAX_OPCODE
    ):
        raise ConfigError(
            f"a frame needs an opcode of 0 to {_MAX_OPCODE} and a payload of bytes, got "
            f"{opcode!r} and {type(payload).__name__}"
        )
    size_bytes = len(payload)
    room_bytes = size_bytes + _HEADER_BYTES
    room = new_output(room_bytes)
    written = _frame_plain(room, room_bytes, opcode, payload, size_bytes, _random_bytes(4))
    return as_bytes(room, written)


class FrameForm(enum.Enum):
    """The sample formats of a builder's input and of the message."""

    BYTES = lib.IW_FRAME_BYTES
    """Bytes, sent unchanged."""
    S16_FROM_F32 = lib.IW_FRAME_S16_FROM_F32
    """32-bit floats, sent as 16-bit samples."""
    ULAW_FROM_S16 = lib.IW_FRAME_ULAW_FROM_S16
    """16-bit samples, sent as mu-law."""
    ALAW_FROM_S16 = lib.IW_FRAME_ALAW_FROM_S16
    """16-bit samples, sent as A-law."""


class FrameBuilder:
    """
    Builds the frames of one kind of message.

    Args:
        head: The JSON text before the base64, including the opening quote.
        tail: The JSON text after the base64, including the closing quote.
        form: The conversion from the audio that :meth:`build` receives.

    Raises:
        ConfigError: A text cannot be encoded, or *form* is not a :class:`FrameForm`.

    Thread safety: any thread may call :meth:`build` at any time.
    """

    def __init__(self, head: str, tail: str, form: FrameForm = FrameForm.BYTES) -> None:
        try:
            self._head, self._tail = head.encode(), tail.encode()
            self._form: int = FrameForm(form).value
        except (AttributeError, ValueError) as error:
            raise ConfigError(
                f"FrameBuilder needs two texts in UTF-8 and a FrameForm, got {head!r}, {tail!r} "
                f"and {form!r}"
            ) from error
        self._source = "f32" if form is FrameForm.S16_FROM_F32 else "s16"
        self._head_bytes, self._tail_bytes = len(self._head), len(self._tail)
        self._around_bytes = _HEADER_BYTES + self._head_bytes + self._tail_bytes

    def build(self, audio: AudioData) -> bytes:
        """
        Build a frame that is ready to be sent, masked with a new random key.

        Args:
            audio: Whole samples in the input format of *form* as bytes, or an array of samples.

        Raises:
            AudioError: The last sample is incomplete, or *audio* is not audio.
        """
        source = audio if type(audio) is bytes else self._samples(audio)
        size_bytes = len(source)
        room_bytes = self._around_bytes + (size_bytes + 2) // 3 * 4
        room = new_output(room_bytes)
        written = _frame_text(
            room,
            room_bytes,
            self._head,
            self._head_bytes,
            source,
            size_bytes,
            self._form,
            self._tail,
            self._tail_bytes,
            _random_bytes(4),
        )
        if written < 0:
            del source  # a traceback would keep the buffer locked
            raise AudioError(
                f"{FrameForm(self._form).name} needs whole samples, got {size_bytes} bytes: the "
                "last sample is cut"
            )
        return as_bytes(room, written)

    def _samples(self, audio: AudioData) -> bytes | CData:
        # An array of bytes has encoded audio, such as mu-law, which is sent unchanged.
        dtype = getattr(audio, "dtype", None)
        if dtype is not None and self._form == lib.IW_FRAME_BYTES and dtype.char == "B":
            return readable(audio)
        return readable_samples(audio, self._source)
