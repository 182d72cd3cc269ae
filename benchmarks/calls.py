"""
Count the calls of the package's Python functions for one message.

    python -m benchmarks.calls          print the counts
    python -m benchmarks.calls --list   also print each function, with its calls for one message

Calls on all threads of the client are counted. Each start or resumption of a generator counts as a
call. The messages are:

- an audio delta of 4,800 bytes that a realtime session receives and passes to one handler
- a piece of text for an open TTS context, from ``send`` until the server has received the text
- an utterance on an open TTS connection, from ``stream`` until the server has received the text

The server runs in the same process and uses no code of the package. A message is sent only after
the previous message was handled, so all threads are idle when the message arrives.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from benchmarks.environment import ROOT
from inworld_sync import Inworld
from inworld_sync.realtime import AudioDelta
from inworld_sync.sessions.tts.speech import SpeechStream

__all__ = ["audio_delta", "first_text", "text_piece"]

AUDIO_BYTES = 4800
MESSAGES = 200

_WARM_UP = 20
_WAIT_SECONDS = 30.0
_PACKAGE = str(ROOT / "inworld_sync")

_SILENCE = base64.b64encode(bytes(480)).decode()
_DELTA = json.dumps(
    {
        "type": "response.output_audio.delta",
        "event_id": "event_1",
        "response_id": "resp_1",
        "item_id": "item_1",
        "output_index": 0,
        "content_index": 0,
        "delta": base64.b64encode(bytes(AUDIO_BYTES)).decode(),
    }
)


class CallCounter:
    """
    Counts the calls of the package's functions.

    Use the counter as a context manager. It counts on the caller's thread and on threads that start
    inside the block.
    """

    def __init__(self) -> None:
        self._is_counting = False
        # Each thread has its own counter, because a shared counter would need a lock.
        self._counts: list[Counter[str]] = []
        self._own = threading.local()

    def __enter__(self) -> CallCounter:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def count(
        self, send: Callable[[], object], finish: Callable[[], object] | None = None
    ) -> Counter[str]:
        """
        Send messages one after another and return how often each function was called.

        Args:
            send: A function that sends a message, and returns when the message was handled.
            finish: A function that is called after each message. The functions that *finish* calls
                are not counted.
        """
        for number in range(_WARM_UP + MESSAGES):
            self._is_counting = number >= _WARM_UP
            send()
            self.pause()
            if finish is not None:
                finish()
        return sum(self._counts, Counter())

    def pause(self) -> None:
        """Stop counting until the next message."""
        self._is_counting = False

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or not self._is_counting:
            return
        code = frame.f_code
        if not code.co_filename.startswith(_PACKAGE):
            return
        counts = getattr(self._own, "counts", None)
        if counts is None:
            counts = self._own.counts = Counter()
            self._counts.append(counts)
        name = code.co_qualname if sys.version_info >= (3, 11) else code.co_name
        counts[f"{code.co_filename[len(_PACKAGE) + 1 :]}:{name}"] += 1


@contextmanager
def _client(handler: Callable[[ServerConnection], None]) -> Iterator[Inworld]:
    """Start a server that runs *handler* for each connection, and yield a client of this server."""

    def run(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            handler(connection)

    server = serve(run, "127.0.0.1", 0, compression=None, max_size=None)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        port = server.socket.getsockname()[1]
        with Inworld("a2V5OnNlY3JldA==", base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.shutdown()
        thread.join()


def _wait(event: threading.Event) -> None:
    if not event.wait(_WAIT_SECONDS):
        raise TimeoutError("the message did not arrive")
    event.clear()


def audio_delta() -> Counter[str]:
    """Return how often each function is called for :data:`MESSAGES` audio deltas."""
    due, handled = threading.Event(), threading.Event()

    def session(connection: ServerConnection) -> None:
        body: dict[str, Any] = {"type": "realtime", "id": "sess_1", "audio": {}}
        connection.send(json.dumps({"type": "session.created", "session": body}))
        body.update(json.loads(connection.recv())["session"])
        connection.send(json.dumps({"type": "session.updated", "session": body}))
        created = {"id": "resp_1", "status": "in_progress", "output": []}
        connection.send(json.dumps({"type": "response.created", "response": created}))
        for _ in range(_WARM_UP + MESSAGES):
            _wait(due)
            connection.send(_DELTA)
        for _ in connection:
            pass

    def send() -> None:
        due.set()
        _wait(handled)

    with (
        CallCounter() as counter,
        _client(session) as client,
        client.realtime.connect() as opened,
    ):
        opened.on(AudioDelta, lambda _: handled.set())
        return counter.count(send)


def text_piece() -> Counter[str]:
    """Return how often each function is called for :data:`MESSAGES` pieces of text."""
    arrived = threading.Event()
    with (
        CallCounter() as counter,
        _client(_speech(arrived.set, answers=False)) as client,
        client.tts.connect() as opened,
    ):
        context = opened.context(voice="Ashley")

        def send() -> None:
            context.send("Hello there, ")
            _wait(arrived)

        return counter.count(send)


def first_text() -> Counter[str]:
    """Return how often each function is called for :data:`MESSAGES` utterances."""
    streams: list[SpeechStream] = []
    counter = CallCounter()
    with counter, _client(_speech(counter.pause, answers=True)) as client:

        def send() -> None:
            streams.append(client.tts.stream(iter(["Hello there. "]), voice="Ashley"))
            next(streams[-1])

        return counter.count(send, finish=lambda: list(streams.pop()))


def _speech(on_text: Callable[[], None], *, answers: bool) -> Callable[[ServerConnection], None]:
    """
    Return the handler of a TTS service that calls *on_text* for each text.

    If *answers* is true, the service answers each text with silent audio.
    """

    def run(connection: ServerConnection) -> None:
        for message in connection:
            request = json.loads(message)
            status = {"contextId": request["contextId"], "status": {"code": 0}}
            kinds: dict[str, object] = {}
            if "create" in request:
                kinds["contextCreated"] = {}
            elif "send_text" in request:
                on_text()
                if answers:
                    kinds["audioChunk"] = {"audioContent": _SILENCE}
            elif "flush_context" in request:
                kinds["flushCompleted"] = {}
            elif "close_context" in request:
                kinds["contextClosed"] = {}
            for kind, value in kinds.items():
                connection.send(json.dumps({"result": {**status, kind: value}}))

    return run


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__)
    parser.add_argument("--list", action="store_true", help="also print each function")
    arguments = parser.parse_args()
    for name, count in (
        ("audio delta", audio_delta),
        ("text piece", text_piece),
        ("first text of an utterance", first_text),
    ):
        found = count()
        print(f"{name}: {sum(found.values()) / MESSAGES:.1f} calls, {len(found)} functions")
        if arguments.list:
            for function, calls in found.most_common():
                print(f"  {calls / MESSAGES:5.1f}  {function}")


if __name__ == "__main__":
    main()
