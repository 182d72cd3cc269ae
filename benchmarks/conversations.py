"""
Compares the CPU time of this client with other clients: conversations, connecting, imports.

Each run of a conversation is a new process (``benchmarks/talkers.py``). The threads sleep
between two messages, so they find their caches cold, as in a real conversation. A benchmark at full
speed does not show the cost of cold caches.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.clients import CONNECTIONS, KEY, TEXT, by_elevenlabs
from benchmarks.environment import ROOT
from benchmarks.harness import Call, Case, Settings
from benchmarks.imports import importing, standard_modules
from benchmarks.server import authority_pem, serving
from benchmarks.talkers import DELTA_MS
from inworld_sync import Inworld

SESSIONS = 12
# A failed run is repeated. With TLS, a peer that uses one SSLSocket on two threads sometimes loses
# a connection. The machine may also be too busy for a run.
_ATTEMPTS = 4
_MARGIN_SECONDS = 30.0
_CLIENT = "from inworld_sync import Inworld"
_SERVICES = f"{_CLIENT}; client = Inworld('a2V5OmtleQ=='); client.tts; client.stt; client.realtime"

# The largest accepted ratio of this client's CPU time to the CPU time of each peer.
TARGETS = {
    "websockets": {"any": 0.70},
    "websockets100": {"any": 1.0},
    "openai": {"any": 0.22},
    "floor": {"any": 2.7},
}
TLS_TARGETS = {"websockets": {"any": 0.80}}


def cases(settings: Settings) -> Iterator[Case]:
    """Yield the cases of conversations, of opening and of imports."""
    seconds = 1.0 if settings.is_quick else 3.0
    with serving(count=_count(seconds), pace_ms=DELTA_MS) as url:
        yield _conversation("conversation, plain, CPU", url, TARGETS, seconds)
    with (
        trusted_authority() as authority,
        serving(tls=True, count=_count(seconds), pace_ms=DELTA_MS) as url,
    ):
        yield _conversation("conversation, TLS, CPU", url, TLS_TARGETS, seconds, authority)
    with serving(count=1) as url:
        yield Case(
            "open, one message, close, CPU",
            1,
            "session",
            _opening(_by_inworld(url)),
            {"elevenlabs": _opening(by_elevenlabs(url))},
            {"elevenlabs": {"any": 1.0}},
            returns_seconds=True,
            rounds=9,
        )
    for name, statement, target in (
        ("import of the client, CPU", _CLIENT, 1.2),
        ("import with all services, CPU", _SERVICES, 2.6),
    ):
        modules = ", ".join(standard_modules(statement))
        yield Case(
            name,
            1,
            "import",
            importing(statement),
            {"attrs and the same standard library": importing(f"import {modules}")},
            {"attrs and the same standard library": {"any": target}},
            returns_seconds=True,
            rounds=9,
        )


@contextmanager
def trusted_authority() -> Iterator[Path]:
    """Write the certificate that clients of the server must trust to a file, and yield its path."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "authority.pem"
        file.write_text(authority_pem(), encoding="ascii")
        yield file


def talking(
    client: str,
    url: str,
    seconds: float,
    *,
    sessions: int = SESSIONS,
    authority: Path | None = None,
) -> Call:
    """Return a function that measures the CPU seconds for one second of one session."""
    command = [sys.executable, "-m", "benchmarks.talkers", client, url]
    command += ["--sessions", str(sessions), "--seconds", str(seconds)]
    if authority is not None:
        command += ["--authority", str(authority)]

    def run() -> float:
        for _ in range(_ATTEMPTS):
            try:
                result = subprocess.run(
                    command,
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                    timeout=seconds + _MARGIN_SECONDS,
                )
            except subprocess.SubprocessError as error:  # noqa: PERF203 - few attempts
                print(f"{client} is measured again: {error}", file=sys.stderr)
            else:
                return float(result.stdout) / 1e6
        raise RuntimeError(f"{client} failed {_ATTEMPTS} times")

    return run


def _count(seconds: float) -> int:
    """Return how many deltas the server sends in the measured seconds and one more second."""
    return round((seconds + 1.0) * 1000 / DELTA_MS)


def _conversation(
    name: str,
    url: str,
    targets: dict[str, dict[str, float]],
    seconds: float,
    authority: Path | None = None,
) -> Case:
    return Case(
        name,
        SESSIONS,
        "sessions",
        talking("ours", url, seconds, authority=authority),
        {peer: talking(peer, url, seconds, authority=authority) for peer in TARGETS},
        targets,
        returns_seconds=True,
        rounds=5,
    )


def _opening(speak: Callable[[], int]) -> Call:
    """Return a function that opens connections, and returns the CPU seconds for one connection."""

    def run() -> float:
        begin = time.process_time()
        for _ in range(CONNECTIONS):
            if not speak():
                raise RuntimeError("received no audio")
        return (time.process_time() - begin) / CONNECTIONS

    return run


def _by_inworld(url: str) -> Callable[[], int]:
    client = Inworld(KEY, base_url=url.replace("ws", "http", 1), proxy=False)

    def speak() -> int:
        with client.tts.connect() as connection:
            context = connection.context()
            context.send(TEXT)
            context.close()
            return sum(len(chunk.data) for chunk in context.audio())

    return speak
