"""
Imports the modules that every call needs. They are imported when the first call begins.

`import inworld_sync` does not import these modules, because importing them takes 45 ms.
"""

from __future__ import annotations

import contextlib
import importlib

from inworld_sync.locks import imports

__all__ = ["import_needed"]

# The modules for TLS, proxies, WebSockets, urllib3 and the codecs, for name lookups, and for the
# JSON of HTTP responses.
_MODULES = (
    "inworld_sync.transport.websocket",
    "inworld_sync.transport.connect",
    "inworld_sync.transport.pool",
    "websocket",
    "cattrs",
    "certifi",
    "encodings.idna",
    "encodings.utf_8_sig",
)

_is_done = False


def import_needed() -> None:
    """
    Import all modules that a call needs, on the calling thread, before the call does anything else.

    A process that forks waits for the end of these imports (see ``imports`` in ``locks.py``), and
    later no thread imports these modules. So no forked child inherits an unfinished import of them.
    """
    global _is_done
    if _is_done:
        return
    with imports:
        for module in _MODULES:
            # If websocket-client is missing, the first connection raises an error with advice.
            # certifi is optional.
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
    _is_done = True
