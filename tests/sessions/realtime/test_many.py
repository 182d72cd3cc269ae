"""Twenty conversations run at the same time, each with its own voice and tools."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator

import pytest

from inworld_sync import Inworld, tool
from inworld_sync.emulator import Emulator
from inworld_sync.emulator.synthesis import SpokenSentence
from inworld_sync.emulator.voices import VOICES, EmulatedVoice
from inworld_sync.models.realtime import FunctionCallOutput, Session

from support.spelling import SpellingSynthesizer, spelled, spoken_part

SESSIONS = 20
TURNS = 4
PATIENCE_SECONDS = 60.0


class SignedSynthesizer(SpellingSynthesizer):
    """Adds the name of the voice before each sentence."""

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        name = b"".join(struct.pack("<h", ord(character)) * 4 for character in voice.voice_id)
        for sentence in super().speak(text, voice):
            yield SpokenSentence(name + sentence.pcm, sentence.words)


@pytest.fixture
def iw() -> Iterator[Inworld]:
    with Emulator(synthesizer=SignedSynthesizer()) as server:
        with Inworld(api_key=server.api_key, base_url=server.url) as client:
            yield client


class Guest(threading.Thread):
    """A thread with one session, whose tool adds numbers. *error* is the error of the session."""

    def __init__(self, iw: Inworld, number: int, start: threading.Barrier) -> None:
        super().__init__(name=f"guest-{number}")
        self.iw, self.number, self.start_line = iw, number, start
        self.total = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._talk()
        except BaseException as error:
            self.error = error

    def _talk(self) -> None:
        @tool
        def running_total(amount: int) -> str:
            """Adds to the running total."""
            self.total += amount
            return f"guest {self.number} has {self.total}"

        voice = VOICES[self.number % len(VOICES)].voice_id
        with self.iw.realtime.connect(Session(voice=voice, tools=[running_total])) as rt:
            self.start_line.wait(PATIENCE_SECONDS)
            outputs = []
            for turn in range(1, TURNS + 1):
                amount = self.number * turn
                reply = rt.send_message(f"Add {amount} to the running total.").wait(
                    PATIENCE_SECONDS
                )
                outputs.append(f"guest {self.number} has {self.total}")
                assert self.total == sum(self.number * each for each in range(1, turn + 1))
                assert reply.text == f"The running total says: {outputs[-1]}."
                assert spelled(reply.audio.read().pcm) == voice + spoken_part(reply.text)
            items = [entry.item for entry in rt.conversation]
        assert outputs == [item.output for item in items if isinstance(item, FunctionCallOutput)]
        assert TURNS * 4 == len(items)


def test_twenty_conversations(iw: Inworld) -> None:
    """Parallel sessions do not mix their voices, tools, turns and items."""
    start = threading.Barrier(SESSIONS)
    guests = [Guest(iw, number, start) for number in range(SESSIONS)]
    for guest in guests:
        guest.start()
    for guest in guests:
        guest.join(PATIENCE_SECONDS)

    assert [None] * SESSIONS == [guest.error for guest in guests]
    assert not any(guest.is_alive() for guest in guests)
    assert [10 * number for number in range(SESSIONS)] == [guest.total for guest in guests]
