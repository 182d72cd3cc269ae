r"""
Extracts audio from JSON messages. The base64 at one path is decoded, and the rest of the message is
returned as JSON text.

The C core reads the message once. If the core might read a message differently than a complete JSON
parser, for example because of an escape inside the base64 or a duplicate key,
:meth:`Splitter.split` returns None, and the caller uses a JSON parser.

>>> splitter = Splitter("result.audio", "result.id")
>>> found = splitter.split(b'{"result":{"id":"c1","audio":"AAEC"}}')
>>> found.audio, found.rest, found.picks
(b'\x00\x01\x02', b'{"result":{"id":"c1","audio":""}}', (b'c1',))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from inworld_sync._native import ffi, lib
from inworld_sync.audio._memory import U8, as_bytes, new_output, readable, writable
from inworld_sync.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Split", "Splitter"]

# A message with 100 ms of 48 kHz PCM has 13 KB. The memory grows for longer messages.
_FIRST_ROOM_BYTES: Final = 64 * 1024

# Reading an attribute of the library takes as long as splitting a short message. So the module
# reads each attribute once, when the module is imported.
_string: Final = ffi.string
_from_buffer: Final = ffi.from_buffer
_NULL: Final = ffi.NULL
_split_message: Final = lib.iw_split_message
_split_parts: Final = lib.iw_split_parts
_NO_AUDIO: Final = lib.IW_NO_AUDIO
_BYTES: Final = lib.IW_SPLIT_BYTES
_F32: Final = lib.IW_SPLIT_F32
_BETWEEN: Final = bytes([lib.IW_SPLIT_BETWEEN])
_NOTHING: Final = bytes([lib.IW_SPLIT_NOTHING])


class Split(NamedTuple):
    """
    The parts of a message.

    Attributes:
        audio: The decoded bytes; None if there is no string at the path of the audio.
        rest: The message with an empty string in place of the audio, for a JSON parser.
        picks: The values at the other paths. A value is the text inside the quotes, or the number
            or literal. The entry is None if there is no value, or if only a JSON parser can read
            the value.
    """

    audio: bytes | None
    rest: bytes
    picks: tuple[bytes | None, ...]


# A call of this function takes half the time of a call of the class.
_new_split: Final = tuple.__new__


class Splitter:
    """
    Splits the messages of one connection.

    Args:
        audio: The path of the base64 text, such as ``result.audioChunk.audioContent``. Dots join
            the keys.
        picks: Paths of other values to extract.

    Raises:
        ConfigError: There are more than 12 paths, or a path has more than 6 keys.

    Thread safety: one thread at a time may use an object. Each reader of a connection has its own
    splitter.
    """

    def __init__(self, audio: str, *picks: str) -> None:
        paths = (audio, *picks)
        plan = None
        if all(isinstance(path, str) and path.isascii() and "\0" not in path for path in paths):
            joined = b"".join(path.encode() + b"\0" for path in paths)
            plan = lib.iw_split_plan_create(joined, len(paths))
        if not plan:
            raise ConfigError(
                f"a Splitter accepts up to {lib.IW_SPLIT_MAX_PATHS} ASCII paths of up to "
                f"{lib.IW_SPLIT_MAX_DEPTH} keys, got {', '.join(map(repr, paths))}"
            )
        self._plan = ffi.gc(plan, lib.iw_split_plan_destroy)
        self._grow(_FIRST_ROOM_BYTES)

    def split(self, message: Buffer) -> Split | None:
        """
        Split a message into its audio, the picked values and the rest.

        Args:
            message: JSON text in UTF-8.

        Returns:
            The parts, or None if only a JSON parser can read the message.

        Raises:
            AudioError: *message* is not a contiguous buffer.
        """
        # The messages of a connection are views of the connection's buffer.
        is_view = type(message) is memoryview and message.c_contiguous
        source = _from_buffer(U8, message) if is_view else readable(message)
        size_bytes = len(source)
        if size_bytes > self._longest_bytes:
            self._grow(size_bytes)
        audio_bytes = _split_parts(self._room, self._plan, source, size_bytes, _BYTES)
        if audio_bytes >= 0:
            audio = as_bytes(self._audio, audio_bytes)
        elif audio_bytes == _NO_AUDIO:
            audio = None
        else:
            return None
        rest, *picks, nothing = _string(self._text).split(_BETWEEN)
        if nothing:
            return Split(audio, rest, tuple(map(_something, picks)))
        return _new_split(Split, (audio, rest, tuple(picks)))

    def split_into(self, message: Buffer, out: Buffer, *, floats: bool = False) -> int | None:
        """
        Decode only the audio of a message, and write the audio to the start of a buffer.

        Args:
            message: JSON text in UTF-8.
            out: A writable buffer.
            floats: Whether to convert the 16-bit samples to 32-bit floats.

        Returns:
            The number of bytes written; 0 if the message has no audio; None if only a JSON parser
            can read the message.

        Raises:
            AudioError: *out* is too small, or *message* or *out* is not a contiguous buffer.
        """
        source = message if type(message) is bytes else readable(message)
        room = writable(out)
        room_bytes = len(room)
        form = _F32 if floats else _BYTES
        written = _split_message(room, room_bytes, _NULL, self._plan, source, len(source), form)
        if written >= 0:
            return written
        if written == lib.IW_NO_ROOM:
            del room, source  # a traceback would keep both buffers locked
            raise AudioError(
                f"the audio of the message does not fit into the buffer of {room_bytes} bytes"
            )
        return None

    def _grow(self, size_bytes: int) -> None:
        self._longest_bytes = max(size_bytes, _FIRST_ROOM_BYTES)
        # The decoded audio is never longer than the message.
        self._audio = new_output(self._longest_bytes)
        text_bytes = 2 * self._longest_bytes + 2 * lib.IW_SPLIT_MAX_PATHS
        self._text = new_output(text_bytes)
        self._room = ffi.new(
            "struct iw_split_room *",
            {
                "audio": ffi.cast("uint8_t *", self._audio),
                "audio_bytes": self._longest_bytes,
                "text": ffi.cast("uint8_t *", self._text),
                "text_bytes": text_bytes,
            },
        )


def _something(pick: bytes) -> bytes | None:
    return None if pick == _NOTHING else pick
