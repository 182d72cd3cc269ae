"""Hostile values of a service break no connection, and the log shows the values as text."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pytest

from inworld_sync import InworldError

from support import scripted_realtime, scripted_stt
from support.peers import PATIENCE_SECONDS
from support.scripted import Service, scripted
from support.service_messages import REALTIME, STT, TTS
from support.untrusted import CONTROL, variants

# The same functions handle the other values of `variants`. tests/wire/test_untrusted.py tests all
# values.
_KINDS = ("escapes", "infinite", "huge", "attributes", "too deep", "keys")


def hostile(messages: Iterable[dict[str, Any]]) -> list[str]:
    """Return the variants of all messages, as JSON."""
    return [
        text
        for message in messages
        for name, text in variants(message)
        if name.startswith(tuple(f"{kind} at" for kind in _KINDS))
    ]


class Counter:
    """Counts the messages that the client receives, up to an expected number."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self._is_complete = threading.Event()

    def message(self, direction: Literal["in", "out"], connection: str, data: bytes) -> None:
        self._left -= direction == "in"
        if self._left <= 0:
            self._is_complete.set()

    def wait(self) -> None:
        """Wait until the expected number of messages was received."""
        assert self._is_complete.wait(PATIENCE_SECONDS), f"{self._left} messages were not received"


@contextlib.contextmanager
def printable_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Require a log without control characters and without internal errors."""
    with caplog.at_level(logging.DEBUG):
        yield
    formatter = logging.Formatter("%(message)s")
    for record in caplog.records:
        assert not record.exc_info, formatter.format(record)
        assert record.levelno < logging.ERROR, record.getMessage()
        assert not CONTROL.search(formatter.format(record))


def test_tts(caplog: pytest.LogCaptureFixture) -> None:
    """A hostile message of TTS ends one context at most. The connection reads all messages."""
    messages = hostile(TTS)
    counter = Counter(len(messages))

    def script(service: Service) -> None:
        context = service.until("create")
        for text in messages:
            service.send(text.replace('"c1"', json.dumps(context)))
        service.close()

    with (
        printable_log(caplog),
        scripted(script, observer=counter) as iw,
        iw.tts.connect() as connection,
    ):
        with contextlib.suppress(InworldError):
            for _ in connection.context():
                pass
        counter.wait()


def test_realtime(caplog: pytest.LogCaptureFixture) -> None:
    """Hostile messages of a realtime session do not end the session."""
    messages = hostile(REALTIME)
    counter = Counter(len(messages))

    def script(service: scripted_realtime.Service) -> None:
        service.open()
        for text in messages:
            service.send(text)
        service.close()

    with (
        printable_log(caplog),
        scripted_realtime.realtime(script, observer=counter) as iw,
        contextlib.suppress(InworldError),
        iw.realtime.connect(reconnect_timeout=0) as rt,
    ):
        for _ in rt:
            pass
    counter.wait()


def test_stt(caplog: pytest.LogCaptureFixture) -> None:
    """Hostile messages of STT are skipped, and the words of all other messages are returned."""
    messages = hostile({"result": {**each["result"], "status": None}} for each in STT[:3])
    counter = Counter(len(messages))

    def hook(connection: scripted_stt.SttConnectionScript, name: str) -> None:
        if name == "config" and connection.number == 1:
            for text in messages:
                connection.send(text)

    with (
        printable_log(caplog),
        scripted_stt.stt_server(hook, observer=counter) as (iw, _),
        iw.stt.stream(sample_rate_hz=16000) as stream,
    ):
        stream.send(bytes(3200))
        counter.wait()
        transcript = stream.close()

    assert "Hello there" in transcript.text
    assert not CONTROL.search(repr(transcript))
