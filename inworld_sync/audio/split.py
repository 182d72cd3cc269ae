r"""
Audio out of JSON messages in one call: the base64 at one path decoded, the rest handed back.

The C core walks the message once. What it cannot take to the same result as a whole JSON reader,
such as an escape inside the base64 or a key that stands twice, it leaves to one: then
:meth:`Splitter.split` gives None.

>>> splitter = Splitter("result.audio", "result.id")
>>> found = splitter.split(b'{"result":{"id":"c1","audio":"AAEC"}}')
>>> found.audio, found.rest, found.picks
(b'\x00\x01\x02', b'{"result":{"id":"c1","audio":""}}', (b'c1',))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from inworld_sync._native import ffi, lib
from inworld_sync.audio._memory import U8, as_bytes, new_output
from inworld_sync.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Split", "Splitter"]

# A message of 100 ms of 48 kHz PCM is 13 KB; grown for longer ones.
_FIRST_ROOM_BYTES: Final = 64 * 1024

# Bound here, since a look-up in the library costs as much as a short walk.
_from_buffer: Final = ffi.from_buffer
_string: Final = ffi.string
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
    What a message held.

    Attributes:
        audio: The decoded bytes; None where nothing, or no text, stands at the audio's path.
        rest: The message with an empty text in the audio's place, for a JSON reader.
        picks: For each further path what stands there: the text inside the quotes, or the
            number or word; None where nothing stands, or only a JSON reader can read it.
    """

    audio: bytes | None
    rest: bytes
    picks: tuple[bytes | None, ...]


# Half of what the class itself takes for it.
_new_split: Final = tuple.__new__


class Splitter:
    """
    Splits the messages of one connection.

    Args:
        audio: The path of the base64 text, keys joined by dots, such as
            ``result.audioChunk.audioContent``.
        picks: Paths of values to be picked out beside it.

    Raises:
        ConfigError: More than 12 paths, or one of more than 6 keys.

    Thread safety: one thread at a time; a connection's reader owns one.
    """

    def __init__(self, audio: str, *picks: str) -> None:
        paths = (audio, *picks)
        plan = lib.iw_split_plan_create(
            b"".join(path.encode() + b"\0" for path in paths), len(paths)
        )
        if not plan:
            raise ConfigError(
                f"a splitter takes up to {lib.IW_SPLIT_MAX_PATHS} paths of up to "
                f"{lib.IW_SPLIT_MAX_DEPTH} keys, got {', '.join(map(repr, paths))}"
            )
        self._plan = ffi.gc(plan, lib.iw_split_plan_destroy)
        self._grow(_FIRST_ROOM_BYTES)

    def split(self, message: Buffer) -> Split | None:
        """
        Take a message apart.

        Args:
            message: JSON text in UTF-8; not kept.

        Returns:
            None where only a whole JSON reader can tell; nothing was taken then.
        """
        source = message if type(message) is bytes else _from_buffer(U8, message)
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
        Decode a message's audio straight into a buffer, and nothing else.

        Args:
            message: JSON text in UTF-8; not kept.
            out: Writable; its front takes the audio.
            floats: Turn 16-bit samples into 32-bit floats on the way.

        Returns:
            The bytes written, 0 where the message holds no audio, None as :meth:`split`.

        Raises:
            AudioError: *out* is too small.
        """
        source = message if type(message) is bytes else _from_buffer(U8, message)
        room = _from_buffer(U8, out, True)
        room_bytes = len(room)
        form = _F32 if floats else _BYTES
        written = _split_message(room, room_bytes, _NULL, self._plan, source, len(source), form)
        if written >= 0:
            return written
        if written == lib.IW_NO_ROOM:
            del room, source  # a traceback would keep both buffers locked
            raise AudioError(f"the message's audio is longer than the buffer of {room_bytes} bytes")
        return None

    def _grow(self, size_bytes: int) -> None:
        self._longest_bytes = max(size_bytes, _FIRST_ROOM_BYTES)
        # Decoded, a message is shorter than itself.
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
