"""Random histories of an STT client."""

from __future__ import annotations

import contextlib
import random
from array import array
from collections.abc import Iterator

from inworld_sync import Inworld

from histories.disturbance import Disturbance
from histories.history import PATIENT, History
from support.peers import Peer, serve
from support.scripted import KEY
from support.scripted_stt import SttConnectionScript, SttServer
from support.spoken_words import RATE_HZ, WORD_MS

__all__ = ["HISTORY"]

# The timeout is short, because most waits of a history end only at their timeout.
_TIMEOUT = 0.3

# The number of the first word. The samples of a word have the number of the word as their value,
# and samples with this value are louder than -50 dBFS.
_LOUD = 8000


class _DisturbedScript(SttConnectionScript):
    """Transcribes numbered words. The messages of the script pass through the disturbance."""

    def __init__(
        self, peer: Peer, number: int, server: SttServer, disturbance: Disturbance
    ) -> None:
        super().__init__(peer, number, server)
        self._disturbance = disturbance

    def send(self, message: object) -> None:
        self._disturbance.forward(lambda: super(_DisturbedScript, self).send(message))


@contextlib.contextmanager
def _open(disturbance: Disturbance) -> Iterator[Inworld]:
    server = SttServer(lambda connection, name: None, {}, keeps_audio=False)

    def run(peer: Peer) -> None:
        _DisturbedScript(peer, 1, server, disturbance).run()

    with (
        serve(run) as raw,
        Inworld(api_key=KEY, base_url=f"ws://127.0.0.1:{raw.port}", **PATIENT) as client,
    ):
        yield client


def _spoken(first: int, words: int) -> bytes:
    """Return the samples of a turn with numbered words. 100 ms of silence follow each word."""
    pcm = b""
    for number in range(first, first + words):
        pcm += array("h", [number]).tobytes() * (WORD_MS * RATE_HZ // 1000)
        pcm += bytes(2 * RATE_HZ // 10)
    return pcm + bytes(RATE_HZ)


def _transcribe(client: Inworld, numbers: random.Random) -> None:
    client.stt.transcribe(
        _spoken(_LOUD, numbers.randint(1, 8)), sample_rate_hz=RATE_HZ, timeout=_TIMEOUT
    )


def _stream(client: Inworld, numbers: random.Random) -> None:
    with client.stt.stream() as stream:
        for _ in range(numbers.randint(0, 4)):
            stream.send(_spoken(_LOUD, numbers.randint(1, 3)))
            if numbers.random() < 0.3:
                stream.end_turn()
        stream.close(_TIMEOUT)


def _iterate(client: Inworld, numbers: random.Random) -> None:
    with client.stt.stream() as stream:
        stream.send(_spoken(_LOUD, numbers.randint(1, 5)))
        stream.finish()
        for _ in stream.events(timeout=_TIMEOUT):
            if numbers.random() < 0.05:
                return


def _check(client: Inworld) -> None:
    text = client.stt.transcribe(_spoken(_LOUD, 3), sample_rate_hz=RATE_HZ, timeout=_TIMEOUT).text
    words = " ".join(f"w{number}" for number in range(_LOUD, _LOUD + 3))
    assert text == words, f"the transcript is {text!r}"


HISTORY = History(_open, (_transcribe, _stream, _iterate), _check)
