"""
A Celery application whose tasks speak, for ``tests/redis_limits.py``.

The settings of the application are environment variables.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from celery import Celery

from inworld_sync import CeleryBatch, Inworld, InworldError, RedisLimiter

app = Celery("speech", broker=os.environ["TEST_BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
)


def client() -> Inworld:
    """Make the client of a worker process. All these clients share one limit."""
    return Inworld(
        api_key=os.environ["TEST_KEY"],
        base_url=os.environ["TEST_URL"],
        limiter=RedisLimiter(os.environ["TEST_REDIS"], places=20),
    )


batch = CeleryBatch(app, client)


@app.task(name="speak", acks_late=False)
def speak(until: float, threads: int) -> None:
    """Speak on many threads until the time *until*. Write a line for each utterance or error."""
    path = Path(os.environ["TEST_FOLDER"], f"{os.getpid()}.log")
    with client() as iw, path.open("a") as log:

        def run() -> None:
            while time.time() < until:
                try:
                    iw.tts.synthesize("One short sentence.", timeout=60)
                    line = "done\n"
                except InworldError as error:
                    line = f"{type(error).__name__}: {error}\n"
                log.write(line)
                log.flush()

        running = [threading.Thread(target=run) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    assert iw.options.limiter is not None
    iw.options.limiter.close()  # type: ignore[attr-defined]
