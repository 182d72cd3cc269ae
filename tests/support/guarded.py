"""Memory between protected pages. An access one byte beyond the memory ends the process."""

from __future__ import annotations

import ctypes
import mmap

from inworld_sync import _native

_PAGE = mmap.PAGESIZE
_NO_ACCESS = 0


class GuardedBytes:
    """
    A block of memory with a protected page before and after it.

    ``at_end`` returns a pointer to bytes that end at the protected page after the block.
    ``at_start`` returns a pointer to bytes that begin after the protected page before the block.
    """

    def __init__(self, room_bytes: int) -> None:
        self._room = -(-room_bytes // _PAGE) * _PAGE
        self._map = mmap.mmap(-1, self._room + 2 * _PAGE)
        self._view = (ctypes.c_char * len(self._map)).from_buffer(self._map)
        self._address = ctypes.addressof(self._view)
        self._protect(self._address, _NO_ACCESS)
        self._protect(self._address + _PAGE + self._room, _NO_ACCESS)

    def close(self) -> None:
        """Make the protected pages accessible, and free the memory."""
        for address in (self._address, self._address + _PAGE + self._room):
            self._protect(address, mmap.PROT_READ | mmap.PROT_WRITE)
        del self._view
        self._map.close()

    def at_end(self, size_bytes: int) -> _native.ffi.CData:
        """Return a pointer to the last bytes before the inaccessible page."""
        return self._pointer(self._address + _PAGE + self._room - size_bytes)

    def at_start(self) -> _native.ffi.CData:
        """Return a pointer to the first bytes after the inaccessible page."""
        return self._pointer(self._address + _PAGE)

    @staticmethod
    def _pointer(address: int) -> _native.ffi.CData:
        return _native.ffi.cast("uint8_t *", address)

    @staticmethod
    def _protect(address: int, protection: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        pointer = ctypes.c_void_p(address)
        if libc.mprotect(pointer, ctypes.c_size_t(_PAGE), ctypes.c_int(protection)) != 0:
            raise OSError(ctypes.get_errno(), "mprotect failed")
