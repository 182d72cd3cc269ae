"""What importing the transport costs: nothing heavy before the first connect."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["certifi", "http.client", "numpy", "ssl", "urllib.request", "urllib3", "websocket"]


@pytest.mark.parametrize("module", ["websocket", "http"])
def test_nothing_heavy(module: str) -> None:
    """TLS, HTTP and websocket-client are loaded by the first connect, not by the import."""
    program = (
        f"import sys, inworld_sync.transport.{module}\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert "[]" == shown.strip()
