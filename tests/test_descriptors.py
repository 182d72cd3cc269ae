"""If a test has left a socket open, the description of the socket names the test."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from support.descriptors import describe, open_descriptors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def test_sockets() -> None:
    """The description of a socket has its addresses, the test, and the code that opened it."""
    before = open_descriptors().keys()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as near,
    ):
        left = {name: at for name, at in open_descriptors().items() if name not in before}
        [text] = [describe(*each) for each in left.items() if each[1] == near.fileno()]
        own, other = near.getsockname(), near.getpeername()

    assert len(left) == 2
    assert f"AF_INET SOCK_STREAM, local {own}, peer {other}" in text
    assert "opened in tests/test_descriptors.py::test_sockets" in text
    assert "test_descriptors.py:" in text.partition(", by ")[2]
    assert open_descriptors().keys() == before


def test_pipes() -> None:
    """The description of a pipe has its number."""
    before = open_descriptors().keys()
    ends = os.pipe()
    try:
        left = {name: at for name, at in open_descriptors().items() if name not in before}
        assert next(describe(*each) for each in left.items()).startswith("pipe:[")
    finally:
        for end in ends:
            os.close(end)
