"""A spoken conversation with real audio has three turns, a tool call and an interruption."""

from __future__ import annotations

import io
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import attrs
import pytest

from inworld_sync import Inworld, WavSink, tool
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.models.realtime import (
    AudioDelta,
    ConversationEntry,
    FunctionCall,
    Item,
    ItemTruncated,
    Message,
    PcmFormat,
    ResponseDone,
    ServerVad,
    Session,
)
from inworld_sync.sessions.realtime.events import Interrupted
from inworld_sync.sessions.realtime.session import RealtimeSession

from support.wav_files import read_wav

RATE_HZ = 24000
BLOCK = RATE_HZ // 50
PATIENCE_SECONDS = 60.0


class Caller:
    """
    A microphone that returns silence until a condition is met, and then speech.

    Args:
        turns: Pairs of a condition and the text that is spoken when the condition is met.
        is_over: Returns True when the microphone must end.
    """

    sample_rate_hz = RATE_HZ

    def __init__(
        self, turns: list[tuple[Callable[[], object], bytes]], is_over: Callable[[], object]
    ) -> None:
        self._turns = turns
        self._is_over = is_over
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        blocks = self._blocks()
        start = time.monotonic()
        for number, block in enumerate(blocks, 1):
            if self._closed.wait(start + number * BLOCK / RATE_HZ - time.monotonic()):
                return
            yield block

    def _blocks(self) -> Iterator[bytes]:
        for is_time, pcm in self._turns:
            yield from self._silence_until(is_time)
            for at in range(0, len(pcm), BLOCK * 2):
                yield pcm[at : at + BLOCK * 2]
        yield from self._silence_until(self._is_over)

    def _silence_until(self, reached: Callable[[], object]) -> Iterator[bytes]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            assert time.monotonic() < deadline, "the condition was not met"
            yield bytes(BLOCK * 2)

    def close(self) -> None:
        self._closed.set()


class Witness:
    """Records the items and interruptions that the session's events report."""

    def __init__(self, rt: RealtimeSession) -> None:
        self.sound: dict[str, bytearray] = defaultdict(bytearray)
        self.done: list[str] = []
        self.interruptions: list[Interrupted] = []
        self.truncated: list[ItemTruncated] = []
        rt.on(AudioDelta, self._note_sound)
        rt.on(ResponseDone, lambda event: self.done.append(event.response.status))
        rt.on(Interrupted, self.interruptions.append)
        rt.on(ItemTruncated, self.truncated.append)

    def _note_sound(self, event: AudioDelta) -> None:
        self.sound[event.item_id] += event.audio

    @property
    def samples(self) -> int:
        """The number of samples of all speech that has arrived."""
        return sum(map(len, self.sound.values())) // 2


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    """Yield an emulator that sends speech at twice real time."""
    with Emulator(settings=Settings(pace=2)) as server:
        yield server


@pytest.fixture
def iw(server: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=server.api_key, base_url=server.url) as client:
        yield client


@tool
def weather(city: str) -> str:
    """Weather for a city."""
    return f"rain in {city}"


def said(iw: Inworld, text: str) -> bytes:
    return bytes(iw.tts.synthesize(text, voice="Ashley").pcm)


def plain(item: Item) -> Item:
    """Return an item without the fields that only the service sets."""
    return attrs.evolve(item, status=None, extra={})


def transcript(entry: ConversationEntry | Item) -> str:
    item = entry.item if isinstance(entry, ConversationEntry) else entry
    parts = item.content if isinstance(item, Message) else ()
    return " ".join(str(getattr(part, "transcript", None) or "") for part in parts)


def test_a_spoken_conversation(iw: Inworld) -> None:
    """
    The user speaks in three turns. One turn causes a function call. Another turn interrupts a
    reply.

    Client and service have the same conversation, and the interrupted item is truncated to the
    samples that the sink has consumed.
    """
    session = Session(
        tools=[weather],
        voice="Dennis",
        input_format=PcmFormat(RATE_HZ),
        output_format=PcmFormat(RATE_HZ),
        turn_detection=ServerVad(silence_duration_ms=500),
    )
    sentences = ["What is the weather in London?", "Please count to ninety.", "My name is Alice."]
    first, second, third = (said(iw, text) for text in sentences)
    sink = WavSink(file := io.BytesIO(), RATE_HZ, realtime=True)
    with sink, iw.realtime.connect(session) as rt:
        seen = Witness(rt)
        before = 0

        def answered() -> bool:
            # Wait for the response with the call, and for the last sample of the response with the
            # result.
            nonlocal before
            before = sink.heard_samples
            return len(seen.done) == 2 and before == seen.samples

        def in_the_middle() -> bool:
            return sink.heard_samples - before > RATE_HZ

        def over() -> bool:
            if len(seen.done) < 4 or not seen.truncated or not seen.interruptions:
                return False
            # When the last item was heard to its end, `heard` is the heard part of the interrupted
            # item.
            [cut_ms] = seen.interruptions[0].heard_ms.values()
            *_, last = seen.sound.values()
            heard = sink.heard_samples - before - len(last) // 2
            return heard == round(cut_ms * RATE_HZ / 1000)

        turns = [(lambda: True, first), (answered, second), (in_the_middle, third)]
        rt.converse(Caller(turns, over), sink, hang_up_after=0.0)
        mirror = rt.conversation
        theirs = [rt.retrieve(entry.item.id or "") for entry in mirror]

    # The items have these roles and texts.
    kinds = ["message", "function_call", "function_call_output", "message"] + ["message"] * 4
    assert kinds == [entry.item.type for entry in mirror]
    texts = [transcript(entry).lower() for entry in mirror]
    assert "weather in london" in texts[0]
    call = mirror[1].item
    assert isinstance(call, FunctionCall)
    assert ("weather", '{"city": "London"}') == (call.name, call.arguments)
    assert "the weather says: rain in london." == texts[3]
    assert "count to" in texts[4]
    assert texts[5].startswith("one. two. three.")
    assert "alice" in texts[6]
    assert "nice to meet you, alice." == texts[7]
    assert ["completed", "completed", "cancelled", "completed"] == seen.done

    # Both sides have the same items; the service keeps the heard words of a truncated item.
    for number, (ours, held) in enumerate(zip(mirror, theirs, strict=True)):
        if number != 5:
            assert plain(ours.item) == plain(held)
    assert 0 < len(transcript(theirs[5])) < len(transcript(mirror[5]))
    assert transcript(mirror[5]).startswith(transcript(theirs[5]))

    # The item is truncated to the samples that the sink accepted and the file holds.
    answer, counted, last = seen.sound.values()
    consumed = read_wav(io.BytesIO(file.getvalue())).pcm
    cut = len(consumed) - len(answer) - len(last)
    assert bytes(answer) == consumed[: len(answer)]
    assert bytes(counted[:cut]) == consumed[len(answer) : len(answer) + cut]
    assert bytes(last) == consumed[len(answer) + cut :]
    assert 2 * RATE_HZ < cut < len(counted)
    [truncated], [interruption] = seen.truncated, seen.interruptions
    cut_ms = cut / 2 * 1000 / RATE_HZ
    assert (mirror[5].item.id, mirror[5].truncated_ms) == (
        truncated.item_id,
        truncated.audio_end_ms,
    )
    assert 1 >= abs(truncated.audio_end_ms - cut_ms)
    assert {truncated.item_id: pytest.approx(cut_ms, abs=1)} == dict(interruption.heard_ms)
