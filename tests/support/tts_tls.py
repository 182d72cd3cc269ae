"""
A TTS conversation over TLS on one thread.

The blocking client of the same library has a thread that reads while another writes, on one
SSLSocket; on some Python versions a few connections in a thousand are lost that way.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

from websockets.asyncio.client import connect

from inworld_sync.emulator import Emulator

from support.tts_client import TTS_PATH

__all__ = ["talk_over_tls"]

_TIMEOUT = 20.0


def talk_over_tls(
    server: Emulator,
    requests: list[dict[str, Any]],
    *,
    count: int,
    context: ssl.SSLContext | None = None,
) -> list[dict[str, Any]]:
    """Send requests and return the next *count* messages; raise what the library raises."""

    async def talk() -> list[dict[str, Any]]:
        async with connect(
            server.ws_url + TTS_PATH,
            additional_headers={"Authorization": f"Basic {server.api_key}"},
            ssl=context or server.ssl_context,
            open_timeout=_TIMEOUT,
            close_timeout=5,
        ) as connection:
            for request in requests:
                await connection.send(json.dumps(request))
            return [json.loads(await connection.recv()) for _ in range(count)]

    return asyncio.run(asyncio.wait_for(talk(), _TIMEOUT))
