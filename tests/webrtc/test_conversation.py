"""A conversation with the emulator over WebRTC: speech, a tool and an interruption."""

from __future__ import annotations

import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from inworld_sync import Inworld, Session, Speech, WavSink, tool
from inworld_sync.emulator import Emulator
from inworld_sync.emulator.realtime.replies import ReplyPart, ReplyRequest, ToolCall, text_of
from inworld_sync.models.realtime import ConversationEntry, UserTranscriptCompleted
from inworld_sync.realtime import Interrupted, Message, RealtimeSession, ResponseStarted
from inworld_sync.sessions.event_stream import Subscription
from inworld_sync.sessions.realtime.events import SessionEvent

from support.sentences import SENTENCES, word_errors, words_of
from support.tone import ToneSynthesizer, tone_seconds
from support.tone_hearing import tone, tone_engine
from support.udp_relay import open_relay

PATIENCE_SECONDS = 60.0
USER = ("What is the weather in Oslo?", "Please stop now.")
ANSWER = "The weather says: It rains in Oslo."
# The words of the conversations with real speech.
QUESTION = "How long does it take to fly from Paris to Rome?"
STOP = "Please stop now."
FACT = "The meeting has been moved to Wednesday morning."
STORY = " ".join((SENTENCES[1], SENTENCES[17], SENTENCES[10]))
T = TypeVar("T")


def reply(request: ReplyRequest) -> Iterator[ReplyPart]:
    """Call the tool for a question. Speak the output of the tool, or the text after ``Say:``."""
    last = request.items[-1]
    text = text_of(last)
    if last.get("type") == "function_call_output":
        yield str(last["output"])
    elif text.startswith("Say: "):
        yield text.removeprefix("Say: ")
    elif len(words_of(text)) > len(words_of(STOP)) + 2:
        yield ToolCall("fact")
    else:
        yield "Good."


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(reply_maker=reply) as server:
        yield server


@tool
def fact() -> str:
    """A fact."""
    return FACT


@tool
def weather(city: str) -> str:
    """Weather for a city."""
    return f"It rains in {city}."


def speech(iw: Inworld) -> list[Speech]:
    """Return the user's speech: a question, and words that interrupt."""
    spoken = ((QUESTION, "Dennis"), (STOP, "Ashley"))
    return [iw.tts.synthesize(text, voice=voice) for text, voice in spoken]


def next_of(events: Subscription[SessionEvent], kind: type[T]) -> T:
    """Return the next event of a class."""
    while not isinstance(event := events.get(timeout=PATIENCE_SECONDS), kind):
        pass
    return event


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Talk:
    """
    Asks by voice, hears the answer, and interrupts the next answer by voice.

    Attributes:
        transcripts: The words that the service has recognized.
        interrupted: The event of the interruption.
        heard_ms: How many milliseconds of the second answer the speaker had played at the
            interruption.
        heard: The audio of each answer that the speaker has played, at 24000 Hz.
    """

    def __init__(self, rt: RealtimeSession, user: list[Speech], folder: Path) -> None:
        self.rt = rt
        self.transcripts: list[str] = []
        self._events = rt.subscribe()
        file = folder / "heard.wav"
        with WavSink(file, realtime=True) as speaker:
            rt.play(speaker)
            rt.send_audio(user[0].pcm, user[0].sample_rate_hz)
            self._hear()
            next_of(self._events, ResponseStarted).response.wait(PATIENCE_SECONDS)
            rt.drain(PATIENCE_SECONDS)
            answered = speaker.heard_samples
            rt.send_message(f"Say: {STORY}")
            wait_for(lambda: speaker.heard_samples > answered + 2.5 * speaker.sample_rate_hz)
            rt.send_audio(user[1].pcm, user[1].sample_rate_hz)
            self.interrupted = next_of(self._events, Interrupted)
            self.heard_ms = (speaker.heard_samples - answered) / 24.0
            self._hear()
            rt.play(None)
        with wave.open(str(file)) as played:
            samples = np.frombuffer(played.readframes(played.getnframes()), "<i2")
        self.heard = [samples[:answered], samples[answered:]]

    def check(self, iw: Inworld, *, allowed_share: float = 0.0) -> None:
        """
        Check that the service and the user have heard all words, and that the interrupted item ends
        at the last word that was heard.

        Args:
            iw: The client that recognizes the answers.
            allowed_share: The share of the words of the whole conversation that may be changed.
        """
        items = [entry.item for entry in self.rt.conversation]
        assert FACT in [item.text for item in items if isinstance(item, Message)]

        [(item_id, heard_ms)] = self.interrupted.heard_ms.items()
        assert heard_ms == pytest.approx(self.heard_ms, abs=100)
        wait_for(lambda: self._entry(item_id).truncated_ms is not None)
        assert self._entry(item_id).truncated_ms == int(heard_ms)

        answer, part = (
            iw.stt.transcribe(samples, sample_rate_hz=24000).text for samples in self.heard
        )
        # The last word is cut, so the last two words may be recognized wrongly.
        heard = " ".join(words_of(part)[:-2])
        begins = [" ".join(words_of(STORY)[:count]) for count in range(4, len(words_of(STORY)))]
        begin = min(begins, key=lambda each: word_errors(each, heard))
        said = (QUESTION, STOP, FACT, begin)
        texts = list(zip(said, (*self.transcripts, answer, heard), strict=True))
        errors = sum(word_errors(*each) for each in texts)
        assert errors <= allowed_share * len(words_of(" ".join(said))), texts

    def _hear(self) -> None:
        self.transcripts.append(next_of(self._events, UserTranscriptCompleted).transcript)

    def _entry(self, item_id: str) -> ConversationEntry:
        entry = self.rt.item(item_id)
        assert entry is not None
        return entry


def test_conversation_in_tones(tmp_path: Path) -> None:
    """With tones as speech, nearly all audio is heard on the loopback interface."""
    engine = tone_engine({400.0: USER[0], 800.0: USER[1]})
    synthesizer = ToneSynthesizer()
    with (
        Emulator(synthesizer=synthesizer, speech_engine=engine) as server,
        Inworld(server.api_key, base_url=server.url) as iw,
        iw.connect_webrtc(Session(tools=[weather]), offer_form="json") as rt,
        WavSink(tmp_path / "heard.wav", realtime=True) as speaker,
    ):
        events = rt.subscribe()
        rt.play(speaker)
        rt.send_audio(tone(0.5, 400.0), 48000)
        assert next_of(events, UserTranscriptCompleted).transcript == USER[0]
        reply = next_of(events, ResponseStarted).response
        samples = np.frombuffer(b"".join(bytes(chunk.pcm) for chunk in reply.audio), "<i2")
        assert reply.text == ANSWER
        loud = np.flatnonzero(np.abs(samples) > 1000)
        heard_seconds = (loud[-1] - loud[0]) / 48000
        # On a busy machine, late audio is stretched and later shortened, so the duration may
        # differ.
        assert heard_seconds > 0.8 * tone_seconds(ANSWER)

        rt.drain(PATIENCE_SECONDS)
        answered = speaker.heard_samples
        reply = rt.send_message("Count to ninety.")
        wait_for(lambda: speaker.heard_samples > answered + 12000)
        rt.send_audio(tone(0.5, 800.0), 48000)
        [heard_ms] = next_of(events, Interrupted).heard_ms.values()
        assert heard_ms == pytest.approx((speaker.heard_samples - answered) / 24.0, abs=100)
        assert next_of(events, UserTranscriptCompleted).transcript == USER[1]
        # The service may have ended the response before its audio was interrupted.
        assert reply.wait(PATIENCE_SECONDS).status in ("cancelled", "completed")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_conversation_in_words(server: Emulator, tmp_path: Path) -> None:
    """A conversation with real speech works on the loopback interface."""
    session = Session(voice="Dennis", tools=[fact])
    with Inworld(server.api_key, base_url=server.url) as iw:
        user = speech(iw)
        with iw.connect_webrtc(session, offer_form="json") as rt:
            Talk(rt, user, tmp_path).check(iw)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_conversation_over_a_bad_network(server: Emulator, tmp_path: Path, seed: int) -> None:
    """
    A conversation works with 5 % packet loss and a delay of 0 to 60 ms for each packet.

    On a busy machine, the relay delays packets by more than 60 ms, and the playout stretches the
    speech. So at most one of five words may be changed. In ``test_lost_packets.py``, in virtual
    time, no word may be changed.
    """
    session = Session(voice="Dennis", tools=[fact])
    with (
        Inworld(server.api_key, base_url=server.url) as iw,
        open_relay(server.url, seed=seed) as (url, relay),
    ):
        user = speech(iw)
        with Inworld(server.api_key, base_url=url) as far, far.connect_webrtc(session) as rt:
            Talk(rt, user, tmp_path).check(iw, allowed_share=0.2)
    assert relay.dropped > 20
    assert relay.passed > 500
