"""
Calls with real speech: the caller's words are recognized, and the model's words are synthesized.

The default run tests a call of Twilio. The slow tests make a call of 60 s for each carrier.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import attrs
import numpy as np
import pytest

from inworld_sync import AudioConfig, Inworld, Speech
from inworld_sync.emulator import Emulator
from inworld_sync.emulator.phone import SimulatedCall
from inworld_sync.emulator.realtime.replies import ReplyPart, ReplyRequest, ToolCall, text_of
from inworld_sync.telephony import CallOptions, hang_up, transfer_tool

from support.phone import in_call, session_of
from support.wav_files import read_wav

STORY = "Once upon a time there was a small town by the sea. " * 20
TRANSFER = transfer_tool({"sales": "+4930123456"})


def reply(request: ReplyRequest) -> Iterator[ReplyPart]:
    """Tell a long story, or transfer the call if the caller asks for sales."""
    last = request.items[-1]
    if last.get("type") == "function_call_output":
        yield "One moment."
    elif "sales" in text_of(last).lower():
        yield ToolCall("transfer", '{"target": "sales"}')
    else:
        yield STORY


class Control:
    """Ends a call that is transferred, as a carrier does."""

    def __init__(self, call: SimulatedCall) -> None:
        self.call = call
        self.transfers: list[tuple[str, str]] = []
        self.heard_before = 0.0

    def hang_up(self, call_id: str) -> None: ...

    def transfer(self, call_id: str, target: str) -> None:
        self.transfers.append((call_id, target))
        self.heard_before = self.call.heard_ms
        self.call.hang_up()


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(reply_maker=reply) as emulator:
        yield emulator


@pytest.fixture
def iw(server: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=server.api_key, base_url=server.url) as client:
        yield client


@pytest.fixture
def speak(iw: Inworld):
    return partial(iw.tts.synthesize, audio=AudioConfig("PCM", 8000))


def say(call: SimulatedCall, speech: Speech) -> None:
    call.say(speech.pcm, speech.sample_rate_hz)


def loud_ms(pcm: bytes) -> np.ndarray:
    """Return one boolean for each 20 ms of audio, which says whether the audio is loud."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    blocks = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    return np.sqrt((blocks**2).mean(axis=1)) > 200


def talk(iw: Inworld, speak, call: SimulatedCall, path, story_ms: float) -> None:
    """Make a whole call: greeting, question, interruption, keys and transfer."""
    greeting = speak("How can I help?")
    control, pressed = Control(call), []
    options = CallOptions(
        greeting=greeting,
        keys="events",
        on_key=pressed.append,
        recording=path,
        silence_timeout=None,
    )
    settings = session_of(call)

    settings = attrs.evolve(settings, tools=(TRANSFER, hang_up))
    with iw.realtime.connect(settings) as rt:
        with in_call(call, rt, options, control=control) as running:
            call.wait(lambda each: each.heard_ms >= (greeting.duration_ms or 0))
            greeting_ms = call.heard_ms
            say(call, speak("Tell me a story."))
            call.wait(lambda each: each.heard_ms >= greeting_ms + story_ms, timeout=120)
            call.press("4#")
            say(call, speak("The sales department, please."))
            summary = running.summary()

    assert call.error is None
    assert "transferred" == summary.end, summary
    assert [(call.call_id, "+4930123456")] == control.transfers
    assert "4#" == "".join(pressed) == summary.keys
    assert summary.interruptions >= 1
    assert 0 == summary.lost_chunks == summary.lost_input_ms
    lines = summary.transcript.lower()
    assert "assistant: how can i help?" in lines
    assert "story" in lines
    assert "sales" in lines.rpartition("user:")[2]
    story = next(each for each in summary.conversation if "Once upon" in _text(each))
    assert story.truncated_ms is not None, "the model knows how much of the story was heard"

    # The recording has the audio of both sides.
    wav = read_wav(path)
    stereo = np.frombuffer(wav.pcm, "<i2").reshape(-1, 2)
    caller = np.frombuffer(call.spoken, "<i2")
    missing = 160 if call.carrier == "audiosocket" else 0
    recorded = stereo[: len(caller) - missing, 0]
    assert np.array_equal(recorded, caller[missing : missing + len(recorded)])
    # The frames that arrive while the call ends are not read.
    assert missing + len(recorded) > np.flatnonzero(caller)[-1]
    heard_ms = float(loud_ms(stereo[:, 1].tobytes()).sum() * 20)
    line_ms = float(loud_ms(call.line).sum() * 20)
    assert abs(heard_ms - line_ms) <= 0.05 * line_ms + 100


def _text(entry) -> str:
    return getattr(entry.item, "text", "")


def test_a_call_with_real_speech(iw: Inworld, speak, tmp_path) -> None:
    """A call of Twilio lasts some seconds and has all steps of talk()."""
    with SimulatedCall() as call:
        talk(iw, speak, call, tmp_path / "call.wav", 300)


@pytest.mark.slow
@pytest.mark.parametrize("carrier", ["twilio", "telnyx", "asterisk", "audiosocket"])
def test_a_minute_of_real_speech(iw: Inworld, speak, tmp_path, carrier: str) -> None:
    """A call of each carrier lasts a minute."""
    with SimulatedCall(carrier) as call:
        talk(iw, speak, call, tmp_path / "call.wav", 50_000)
