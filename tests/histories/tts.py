"""Random histories of a TTS client use utterances of a pool and contexts of one connection."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import attrs

from inworld_sync import Inworld
from inworld_sync.sessions.tts.connection import TtsConnection

from histories.disturbance import Disturbance
from histories.history import PATIENT, History
from support.peers import Peer
from support.scripted import Service, client_of, samples_of, text_of

__all__ = ["HISTORY"]

# The timeouts are short, because most waits of a history end only at their timeout.
_UTTERANCE = {"create_timeout": 0.3, "timeout": 0.3}
_CONTEXT = {"create_timeout": 0.3, "message_timeout": 0.3}


class DisturbedService(Service):
    """
    A service that speaks the text of every context. All messages of the service pass through the
    disturbance.
    """

    def __init__(self, peer: Peer, number: int, disturbance: Disturbance) -> None:
        super().__init__(peer, number)
        self._disturbance = disturbance
        self._texts: dict[str, str] = {}

    def send(self, message: object) -> None:
        self._disturbance.forward(lambda: super(DisturbedService, self).send(message))

    def run(self) -> None:
        """Serve until the client closes the connection."""
        while True:
            request = self.request()
            context_id = str(request["contextId"])
            if "create" in request:
                self._texts[context_id] = ""
                self.result(context_id, contextCreated={})
            elif context_id not in self._texts:
                self.fault(context_id, 5, "no such context")
            elif "send_text" in request:
                self._texts[context_id] += request["send_text"]["text"]
                if "flush_context" in request["send_text"]:
                    self._speak(context_id)
            elif "flush_context" in request:
                self._speak(context_id)
            elif "close_context" in request:
                self._speak(context_id)
                del self._texts[context_id]
                self.closed(context_id)

    def _speak(self, context_id: str) -> None:
        text, self._texts[context_id] = self._texts[context_id], ""
        for word in text.split(" "):
            self.audio(context_id, samples_of(word))
        self.flushed(context_id)


@attrs.frozen
class _Opened:
    client: Inworld
    connection: TtsConnection


@contextlib.contextmanager
def _open(disturbance: Disturbance) -> Iterator[_Opened]:
    def serve(peer: Peer, number: int) -> DisturbedService:
        return DisturbedService(peer, number, disturbance)

    with (
        client_of(serve, [DisturbedService.run], PATIENT) as client,
        client.tts.connect() as connection,
    ):
        yield _Opened(client, connection)


def _synthesize(opened: _Opened, _: random.Random) -> None:
    opened.client.tts.synthesize("one two three", **_UTTERANCE)


def _stream(opened: _Opened, numbers: random.Random) -> None:
    with opened.client.tts.stream(["one two ", "three"], **_UTTERANCE) as stream:
        for _ in stream:
            if numbers.random() < 0.1:
                return


def _use_context(opened: _Opened, numbers: random.Random) -> None:
    with opened.connection.context(**_CONTEXT) as context:
        for _ in range(numbers.randint(0, 3)):
            context.send("some words. ")
            if numbers.random() < 0.3:
                context.flush()
            if numbers.random() < 0.2:
                context.update({"audioConfig": {"speakingRate": 1.1}})
        if numbers.random() < 0.2:
            context.interrupt()
        context.close()
        for _ in context.audio():
            pass


def _say_twice(opened: _Opened, numbers: random.Random) -> None:
    with opened.connection.context(**_CONTEXT) as context:
        for _ in range(2):
            for _ in context.say("a sentence."):
                if numbers.random() < 0.1:
                    context.interrupt()


def _check(opened: _Opened) -> None:
    for audio in (
        opened.client.tts.synthesize("after all", **_UTTERANCE).pcm,
        b"".join(bytes(chunk.pcm) for chunk in _spoken(opened.connection)),
    ):
        assert text_of(audio) == "afterall", f"the speech is {text_of(audio)!r}"


def _spoken(connection: TtsConnection) -> Iterator[object]:
    with connection.context(**_CONTEXT) as context:
        context.send("after all")
        context.close()
        yield from context.audio()


HISTORY = History(_open, (_synthesize, _stream, _use_context, _say_twice), _check)
