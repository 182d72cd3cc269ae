"""Lists the open sockets and pipes of this process, and the test that opened each socket."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import weakref
from pathlib import Path
from types import FrameType

__all__ = ["describe", "open_descriptors", "record_sockets"]

_DESCRIPTORS = Path("/proc/self/fd")
_FRAMES = 6
_DNS_PORT = 53

_opened: weakref.WeakKeyDictionary[socket.socket, str] = weakref.WeakKeyDictionary()


def record_sockets() -> None:
    """From now on, record the test, the thread and the code that open each socket of Python."""
    sys.addaudithook(_record)


def _record(event: str, arguments: tuple[object, ...]) -> None:
    if event != "socket.__new__" or not isinstance(arguments[0], socket.socket):
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "no test")
    thread = threading.current_thread().name
    _opened[arguments[0]] = f"opened in {test}, thread {thread}, by {_callers(sys._getframe(1))}"


def _callers(frame: FrameType | None) -> str:
    names: list[str] = []
    while frame is not None and len(names) < _FRAMES:
        names.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(names)


def open_descriptors() -> dict[str, int]:
    """Map the name of each open socket and pipe of this process to its number (Linux)."""
    found: dict[str, int] = {}
    for path in list(_DESCRIPTORS.iterdir()) if _DESCRIPTORS.exists() else ():
        try:
            target = str(path.readlink())
        except OSError:
            continue  # this descriptor was closed after the folder was listed
        number = int(path.name)
        is_socket = target.startswith("socket:") and not _is_name_lookup(number)
        if is_socket or target.startswith("pipe:"):
            found[target] = number
    return found


def _is_name_lookup(number: int) -> bool:
    """
    Return whether a descriptor is a socket of the system's resolver.

    A lookup of a name cannot be interrupted. If a connect ends earlier, the lookup continues until
    the timeout of the resolver. So the lookup may still run during another test.
    """
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as twin:
        return twin.type == socket.SOCK_DGRAM and twin.getpeername()[1] == _DNS_PORT
    return False


def describe(name: str, number: int) -> str:
    """Return a text with the addresses of a descriptor and the code that opened the descriptor."""
    facts = [name, f"descriptor {number}"]
    if name.startswith("socket:"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as twin:
            facts.append(f"{twin.family.name} {twin.type.name}, local {twin.getsockname()!r}")
            with contextlib.suppress(OSError):
                facts.append(f"peer {twin.getpeername()!r}")
        owners = [text for sock, text in list(_opened.items()) if sock.fileno() == number]
        facts += owners or ["not opened by Python code"]
    return ", ".join(facts)
