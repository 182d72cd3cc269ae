"""
Open many TLS connections that read and write at the same time, and count failures.

The server has no faults and runs in another process, so every failure is a fault of the client.
If two threads use one OpenSSL object at the same time, some connections fail soon after they open.

Run this program with ``python -m tests.soak_tls --connections 5000``. The program prints one line,
and exits with 1 if a connection failed. The test suite runs the program with fewer connections.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trustme

from inworld_sync.models.options import Options
from inworld_sync.transport.websocket import Link

# The sizes of the messages in bytes. A message may be shorter than a TLS record, or need several
# records.
SIZES = [1, 300, 4_800, 20_000, 50_000, 700, 16_384, 9_000]

# A time limit that is much longer than a connection needs on a busy machine.
PATIENCE_SECONDS = 30.0


def serve(certificate: Path) -> None:
    """Answer each message, and also send other messages, until standard input ends."""
    from websockets.asyncio.server import ServerConnection, serve as listen

    async def speak(connection: ServerConnection) -> None:
        for size in SIZES:
            await connection.send("s" * size)

    async def answer(connection: ServerConnection) -> None:
        speaking = asyncio.create_task(speak(connection))
        async for message in connection:
            await connection.send(message)
        await speaking

    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        async with listen(answer, "127.0.0.1", 0, ssl=context, compression=None) as server:
            sys.stdout.write(f"{next(iter(server.sockets)).getsockname()[1]}\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(run())


def connect_once(url: str, options: Options, number: int) -> str | None:
    """Use one connection. Return a description of its failure, or None."""
    try:
        link = Link.open(url, headers={}, options=options, name=f"soak-{number}")
    except Exception as error:
        return f"open: {error!r}"
    received: list[int] = []
    complete = threading.Event()

    def read() -> None:
        while (message := link.receive()) is not None:
            received.append(len(message))
            if len(received) == 2 * len(SIZES):
                complete.set()
        complete.set()

    threads = [
        threading.Thread(target=read, name=f"inworld-soak-reader-{number}", daemon=True),
        threading.Thread(target=link.run_writer, name=f"inworld-soak-writer-{number}", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        for size in SIZES:
            link.send("c" * size, timeout=PATIENCE_SECONDS)
        complete.wait(PATIENCE_SECONDS)
    except Exception as error:
        return f"send: {error!r}"
    finally:
        link.close()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        link.release()
    assert link.end is not None
    if sorted(received) != sorted(SIZES * 2):
        return f"received {len(received)} of {2 * len(SIZES)}: {link.end.by} {link.end.reason}"
    return None if link.end.clean else f"close: {link.end}"


def soak(connections: int, at_once: int) -> Counter[str]:
    """Use *connections* connections, *at_once* at the same time. Count each kind of failure."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    options = Options(
        ssl_context=context, proxy=False, ping_interval=0.01, ping_timeout=60.0, close_timeout=5.0
    )
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder) / "server.pem"
        issued = authority.issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(certificate)
        command = [sys.executable, __file__, "--serve", str(certificate)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            url = f"wss://localhost:{int(server.stdout.readline())}/"
            with ThreadPoolExecutor(at_once) as pool:
                results = pool.map(
                    lambda number: connect_once(url, options, number), range(connections)
                )
                return Counter(failure for failure in results if failure)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return 0
    started = time.monotonic()
    failures = soak(arguments.connections, arguments.at_once)
    took = time.monotonic() - started
    sys.stdout.write(
        f"{arguments.connections} TLS connections on Python {sys.version.split()[0]}, "
        f"{arguments.at_once} at once, in {took:.0f} s: {failures.total()} failures\n"
    )
    for failure, count in failures.most_common(20):
        sys.stdout.write(f"{count} x {failure}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
