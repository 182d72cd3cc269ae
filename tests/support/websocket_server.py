"""Closes servers of the package websockets."""

from __future__ import annotations

import os
import threading

from websockets.sync.server import Server

__all__ = ["close_server"]


def close_server(server: Server, thread: threading.Thread) -> None:
    """
    End a server and the thread that runs ``serve_forever``.

    Versions of the library before 17 leave a pipe open. Python 3.10 has only such versions.
    """
    server.shutdown()
    thread.join()
    for name in ("shutdown_notifier", "shutdown_watcher"):
        descriptor = getattr(server, name, None)
        if isinstance(descriptor, int):
            os.close(descriptor)
