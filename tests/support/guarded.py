"""Memory between two protected pages. An access to a protected page ends the process."""

from __future__ import annotations

import ctypes
import mmap

from inworld_sync import _native

_PAGE = mmap.PAGESIZE
_NO_ACCESS = 0


class GuardedBytes:
    """
    A block of memory between two protected pages.

    The bytes of ``at_start`` begin directly after the first protected page.
    The bytes of ``at_end`` end directly before the second protected page.
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
        """Return a pointer to the last *size_bytes* bytes of the block."""
        return self._pointer(self._address + _PAGE + self._room - size_bytes)

    def at_start(self) -> _native.ffi.CData:
        """Return a pointer to the first byte of the block."""
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
