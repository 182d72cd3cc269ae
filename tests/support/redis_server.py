"""Starts the ``redis-server`` of the system on a free port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import redis

__all__ = ["RedisServer"]

_START_SECONDS = 10.0


class RedisServer:
    """
    A Redis server without a password on a loopback port.

    The server stores its data in *folder* only if *is_durable* is true.

    Attributes:
        url: The address of the server, which stays the same after :meth:`restart`.
    """

    def __init__(self, folder: Path, *, is_durable: bool = False) -> None:
        program = shutil.which("redis-server")
        if program is None:
            sys.exit("redis-server is missing: apt-get install redis-server")
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._command = [
            *(program, "--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(folder)),
            *("--save", "", "--appendonly", "yes" if is_durable else "no"),
        ]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        """Start the server, and return when the server answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert self._process.poll() is None, "redis-server has ended"
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        """End the server at once."""
        self._process.kill()
        self._process.wait()
