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

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from inworld_sync._native import ffi, hold
from inworld_sync.audio._memory import U8, as_bytes, new_output
from inworld_sync.audio.output import OutputBuffer
from inworld_sync.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from inworld_sync._native._core import CData

__all__ = ["Split", "Splitter"]

# A message of 100 ms of 48 kHz PCM is 13 KB; grown for longer ones.
_FIRST_ROOM_BYTES: Final = 64 * 1024

# Bound here, since a look-up in the library costs as much as a short walk.
_from_buffer: Final = ffi.from_buffer
_read_cells: Final = cast("Callable[[CData, int], list[int]]", ffi.unpack)
_split_message: Final = hold.iw_split_message
_OK: Final = hold.IW_OK
_BYTES: Final = hold.IW_SPLIT_BYTES
_F32: Final = hold.IW_SPLIT_F32
_TEXT: Final = hold.IW_SPLIT_TEXT
_PLAIN: Final = (hold.IW_SPLIT_TEXT, hold.IW_SPLIT_LITERAL)

# In the result: the size of the audio, then three cells for each path.
_CELLS: Final = ffi.typeof("size_t *")


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
        plan = hold.iw_split_plan_create(
            b"".join(path.encode() + b"\0" for path in paths), len(paths)
        )
        if not plan:
            raise ConfigError(
                f"a splitter takes up to {hold.IW_SPLIT_MAX_PATHS} paths of up to "
                f"{hold.IW_SPLIT_MAX_DEPTH} keys, got {', '.join(map(repr, paths))}"
            )
        self._plan = ffi.gc(plan, hold.iw_split_plan_destroy)
        self._result = ffi.new("struct iw_split_result *")
        self._cells = ffi.cast(_CELLS, self._result)
        self._cell_count = 1 + 3 * len(paths)
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
        text = memoryview(message)
        size_bytes = len(source)
        if size_bytes > self._room_bytes:
            self._grow(size_bytes)
        room = self._room
        status = _split_message(
            room, self._room_bytes, self._result, self._plan, source, size_bytes, _BYTES
        )
        if status != _OK:
            return None
        audio_bytes, start, text_bytes, kind, *spans = _read_cells(self._cells, self._cell_count)
        is_found = kind == _TEXT
        rest = b"".join((text[:start], text[start + text_bytes :])) if is_found else bytes(text)
        audio = as_bytes(room, audio_bytes) if is_found else None
        return _new_split(Split, (audio, rest, _picked(rest, spans) if spans else ()))

    def split_into(
        self, message: Buffer, out: Buffer | OutputBuffer, *, floats: bool = False
    ) -> int | None:
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
        room = out.memory if type(out) is OutputBuffer else _from_buffer(U8, out, True)
        room_bytes = len(room)
        form = _F32 if floats else _BYTES
        status = _split_message(
            room, room_bytes, self._result, self._plan, source, len(source), form
        )
        if status == _OK:
            written: int = self._cells[0]
            return written
        if status == hold.IW_NO_ROOM:
            del room, source  # a traceback would keep both buffers locked
            raise AudioError(f"the message's audio is longer than the buffer of {room_bytes} bytes")
        return None

    def _grow(self, size_bytes: int) -> None:
        # Decoded, a message is shorter than itself.
        self._room_bytes = max(size_bytes, _FIRST_ROOM_BYTES)
        self._room = new_output(self._room_bytes)


def _picked(rest: bytes, spans: list[int]) -> tuple[bytes | None, ...]:
    cells = iter(spans)
    return tuple(
        [
            rest[start : start + size_bytes] if kind in _PLAIN else None
            for start, size_bytes, kind in zip(cells, cells, cells, strict=True)
        ]
    )
