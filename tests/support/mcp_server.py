"""
Runs a tool server of the official ``mcp`` package in a separate process.

The program prints its port and serves until its standard input ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

__all__ = ["official_mcp_server"]


@contextlib.contextmanager
def official_mcp_server() -> Iterator[str]:
    """Start the server and yield its address."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        process.kill()


def main() -> None:
    import uvicorn
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("shop", log_level="CRITICAL")

    @server.tool()
    def look_up_order(number: int) -> str:
        """Look up an order."""
        return f"order {number} is on its way"

    @server.tool()
    def break_things() -> str:
        """Break something."""
        raise ToolError("it broke")

    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
