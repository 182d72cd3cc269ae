"""Importing the transport imports no large module. The client imports them when it connects."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["certifi", "http.client", "numpy", "ssl", "urllib.request", "urllib3", "websocket"]


@pytest.mark.parametrize("module", ["websocket", "http"])
def test_no_large_import(module: str) -> None:
    """The package imports TLS, HTTP and websocket-client only when it connects."""
    program = (
        f"import sys, inworld_sync.transport.{module}\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert "[]" == shown.strip()
