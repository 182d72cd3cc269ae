"""Looks up names and opens TCP connections, under one deadline."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import queue
import selectors
import socket
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

from inworld_sync.errors import ConnectError
from inworld_sync.transport.deadline import Deadline

__all__ = ["Address", "connect_tcp", "is_loopback", "look_up"]

# Seconds between the attempts for two addresses (RFC 8305, section 5).
_HEAD_START = 0.25

# The kernel sends keepalive probes with these settings: the seconds before the first probe, the
# seconds between two probes, and the number of probes. Probes detect a dead server even while no
# thread reads from the connection.
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}

# The codes of a connect that is in progress. Windows uses WSAEWOULDBLOCK.
_UNDER_WAY = {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)}

# An address family and an argument of connect(). The type of the argument depends on the family.
Address = tuple[int, Any]
_Found = Sequence[tuple[int, int, int, str, Any]]


def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine: ``localhost``, ``*.localhost`` or a local address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Connecting to 0.0.0.0 or :: connects to this machine.
    return address.is_loopback or address.is_unspecified


def look_up(host: str, port: int, deadline: Deadline) -> list[Address]:
    """
    Return the addresses of *host*, alternately IPv6 and IPv4 (RFC 8305, section 4).

    Raises:
        ConnectError: The host has no address.
        DeadlineExceeded: The name service did not answer in time.
    """
    try:
        found: _Found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        found = _ask_name_service(host, port, deadline)
    families: dict[int, list[Address]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append((family, address))
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


def _ask_name_service(host: str, port: int, deadline: Deadline) -> _Found:
    """
    Call getaddrinfo on a helper thread, because getaddrinfo has no timeout.

    After the deadline, the thread continues until getaddrinfo returns. The thread is a daemon.
    """
    answers: queue.SimpleQueue[_Found | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="inworld-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except queue.Empty:
        raise deadline.error() from None
    if isinstance(answer, Exception):
        reason = getattr(answer, "strerror", None) or answer
        raise ConnectError(
            f"the name lookup of {host!r} failed: {reason}; check the host and the network"
        ) from answer
    return answer


def connect_tcp(addresses: Sequence[Address], where: str, deadline: Deadline) -> socket.socket:
    """
    Connect to the first of *addresses* that answers.

    The attempt for the next address starts after 0.25 s, or as soon as an attempt has failed.

    Args:
        addresses: The result of :func:`look_up`.
        where: The host and port, for errors.
        deadline: The deadline for all attempts together.

    Returns:
        A non-blocking socket with TCP_NODELAY and keepalive probes.

    Raises:
        ConnectError: No address accepted the connection.
        DeadlineExceeded: No address answered in time.
    """
    waiting = deque(addresses)
    failures: list[OSError] = []
    with selectors.DefaultSelector() as attempts:
        try:
            while waiting or attempts.get_map():
                deadline.check()
                if waiting:
                    _start(attempts, waiting.popleft(), failures)
                if attempts.get_map() and (
                    winner := _winner(attempts, waiting, deadline, failures)
                ):
                    return _tuned(winner)
        finally:
            for key in list(attempts.get_map().values()):
                cast("socket.socket", key.fileobj).close()
    reasons = "; ".join(dict.fromkeys(error.strerror or str(error) for error in failures))
    raise ConnectError(
        f"{where} cannot be reached: {reasons}; check the address and the network"
    ) from failures[-1]


def _start(attempts: selectors.BaseSelector, address: Address, failures: list[OSError]) -> None:
    family, target = address
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        failures.append(error)  # for example, this machine has no IPv6
        return
    sock.setblocking(False)
    code = sock.connect_ex(target)
    if code in _UNDER_WAY:
        attempts.register(sock, selectors.EVENT_WRITE)
    else:
        sock.close()
        failures.append(OSError(code, os.strerror(code)))


def _winner(
    attempts: selectors.BaseSelector,
    waiting: Sequence[Address],
    deadline: Deadline,
    failures: list[OSError],
) -> socket.socket | None:
    """Wait until an attempt succeeds or fails, or the attempt for the next address may start."""
    timeout = deadline.at_most(_HEAD_START) if waiting else deadline.remaining()
    for key, _ in attempts.select(timeout):
        sock = cast("socket.socket", key.fileobj)
        attempts.unregister(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code:
            return sock
        sock.close()
        failures.append(OSError(code, os.strerror(code)))
    return None


def _tuned(sock: socket.socket) -> socket.socket:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock
