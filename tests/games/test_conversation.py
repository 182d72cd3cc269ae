"""Tests of a conversation in the loop of a game, with interruptions, a microphone and tools."""

from __future__ import annotations

import base64
import gc
import itertools
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync import (
    AuthError,
    ClosedError,
    ConfigError,
    Inworld,
    LocalProtocolError,
    Session,
    ToolOutputSent,
    tool,
)
from inworld_sync.emulator import Emulator
from inworld_sync.games import Conversation
from inworld_sync.games.output import SpeechOutput
from inworld_sync.realtime import ResponseDone

from support.game_loop import run_frames, run_until, tone
from support.peers import PATIENCE_SECONDS
from support.scripted_realtime import Service, place, realtime
from support.sound_card import until

SECOND = tone(1000, 0.4)


def speak(service: Service, data: bytes, *, is_complete: bool = True) -> None:
    """Open the session, and answer the first request with audio."""
    service.open()
    service.created("resp_1", service.request())
    service.item("resp_1", "item_1")
    service.transcript("resp_1", "item_1", "Hello there.")
    for at in range(0, len(data), 4800):
        service.audio("resp_1", "item_1", data[at : at + 4800])
    if is_complete:
        service.item_done("resp_1", "item_1", "Hello there.")
        service.done("resp_1")


def started(client: Inworld, **settings: Any) -> Conversation:
    conversation = Conversation(client, **settings)
    conversation.start()
    return conversation


def test_a_reply_is_heard() -> None:
    """
    The text is sent when the session is open, and the game reads the audio of the reply unchanged.
    """

    def script(service: Service) -> None:
        speak(service, SECOND)
        service.until_left()

    with realtime(script) as client, started(client) as talk:
        talk.say("Hi")
        assert talk.state == "connecting"
        run_until(talk, lambda: talk.queued_ms >= 1000, reads=False)
        audio = run_until(talk, lambda: talk.heard_ms >= 1000 and not talk.is_speaking)

        assert audio.strip(b"\0") == SECOND.strip(b"\0")
        assert talk.npc_text == "Hello there."
        assert (talk.state, talk.error, talk.starved_frames) == ("open", None, 0)
    assert talk.state == "closed"
    assert talk.is_over


def test_the_emulator_speaks_with_words(tone_server: Emulator) -> None:
    """With the emulator, the words are reported, and the mouth follows the phonemes or loudness."""
    with (
        Inworld(api_key=tone_server.api_key, base_url=tone_server.url) as client,
        started(client) as talk,
    ):
        words: list[str] = []
        talk.on_word(lambda word: words.append(word.text))
        talk.say("Hello")
        run_until(talk, lambda: words and not talk.is_speaking and not talk.queued_ms)

        assert " ".join(words) == talk.npc_text
        assert talk.heard_text == talk.npc_text
        assert talk.mouth.source in ("phonemes", "loudness")


def test_phonemes_move_the_mouth() -> None:
    """If the service sends phonemes with times, these phonemes decide the mouth shapes."""
    times = {
        "word_alignment": {
            "words": ["moo"],
            "word_start_time_seconds": [0.0],
            "word_end_time_seconds": [0.5],
            "phonetic_details": [
                {
                    "word_index": 0,
                    "phones": [
                        {
                            "phone_symbol": symbol,
                            "viseme_symbol": viseme,
                            "start_time_seconds": start,
                            "duration_seconds": 0.25,
                        }
                        for symbol, viseme, start in (("m", "bmp", 0.0), ("u", "u", 0.25))
                    ],
                }
            ],
        }
    }

    def script(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.item("resp_1", "item_1")
        service.event(
            "response.output_audio.delta",
            **place("resp_1", "item_1"),
            delta=base64.b64encode(tone(500, 0.4)).decode(),
            timestamp_info=times,
        )
        service.item_done("resp_1", "item_1", "moo")
        service.done("resp_1")
        service.until_left()

    shapes: list[str] = []

    def is_heard(talk: Conversation) -> bool:
        if talk.is_speaking and talk.mouth.shape("openxr") not in shapes:
            shapes.append(talk.mouth.shape("openxr"))
        return talk.heard_ms >= 499 and not talk.is_speaking

    with realtime(script) as client, started(client) as talk:
        ends: list[object] = []
        talk.on(ResponseDone, ends.append)
        talk.say("Hi")
        run_until(talk, lambda: ends and talk.queued_ms >= 500, reads=False)
        run_until(talk, lambda: is_heard(talk))
        assert talk.mouth.source == "phonemes"
        assert talk.heard_text == "moo"

    assert shapes[:2] == ["PP", "ou"]


@pytest.mark.parametrize("rate_hz", [24000, 48000])
def test_an_interruption_reports_what_was_heard(rate_hz: int) -> None:
    """After a cancel, the client reports how much was heard, for any sample rate of the engine."""
    truncated: list[dict[str, Any]] = []

    def script(service: Service) -> None:
        speak(service, SECOND * 2, is_complete=False)
        truncated.append(service.until("conversation.item.truncate"))
        service.until_left()

    with (
        realtime(script) as client,
        started(client, latency_ms=200, sample_rate_hz=rate_hz) as talk,
    ):
        talk.say("Hi")
        # At 48000 Hz, the rest of the 2000 ms is still in the resampler.
        run_until(talk, lambda: talk.queued_ms >= 1900, reads=False)
        run_frames(talk, 60)
        heard_ms, drops = talk.heard_ms, talk.drops
        assert heard_ms == pytest.approx(800, abs=1)
        talk.cancel()
        assert talk.drops == drops + 1
        assert not talk.is_speaking
        run_until(talk, lambda: truncated)

        assert truncated[0]["item_id"] == "item_1"
        assert truncated[0]["audio_end_ms"] == pytest.approx(heard_ms, abs=1)
        assert talk.state == "open"


def test_speech_after_an_interruption_is_heard() -> None:
    """
    Late audio of an interrupted reply is dropped. The next reply is heard.
    """
    cancelled = threading.Event()

    def script(service: Service) -> None:
        speak(service, SECOND, is_complete=False)
        service.until("response.cancel")
        service.audio("resp_1", "item_1", SECOND)
        service.done("resp_1", "cancelled")
        cancelled.set()
        service.speak(service.request(), 2, "Again.", tone(300, 0.2))
        service.until_left()

    with realtime(script) as client, started(client) as talk:
        talk.say("Hi")
        run_until(talk, lambda: talk.queued_ms >= 1000, reads=False)
        run_frames(talk, 10)
        talk.cancel()
        run_until(talk, cancelled.is_set)
        talk.say("Once more")
        run_until(talk, lambda: talk.queued_ms >= 199, reads=False)
        audio = run_until(talk, lambda: talk.npc_text == "Again. " and not talk.queued_ms)
        audio += run_frames(talk, 30)

        assert tone(300, 0.2).strip(b"\0") in audio


def test_the_player_interrupts() -> None:
    """If the player begins to speak, the character stops, and all queued audio is dropped."""

    def script(service: Service) -> None:
        speak(service, SECOND * 2, is_complete=False)
        service.until("input_audio_buffer.append")
        service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_u")
        service.until_left()

    with realtime(script) as client, started(client, latency_ms=100) as talk:
        talk.say("Hi")
        run_until(talk, lambda: talk.queued_ms >= 2000, reads=False)
        run_frames(talk, 30)
        assert talk.is_speaking
        talk.send_audio(bytes(9600), 24000)
        run_until(talk, lambda: talk.is_user_speaking and not talk.is_speaking)

        assert talk.drops == 1
        assert talk.queued_ms == 0.0


# ---- the microphone --------------------------------------------------------------------------


class Microphone:
    """A source that yields a number of blocks, and then raises *error* if an error is given."""

    sample_rate_hz = 24000

    def __init__(self, blocks: int, error: Exception | None = None) -> None:
        self._blocks, self._error = blocks, error
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._blocks):
            yield bytes(960)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed.set()


def received_bytes(service: Service) -> int:
    return sum(
        len(base64.b64decode(command["audio"]))
        for command in service.said("input_audio_buffer.append")
    )


def test_push_to_talk() -> None:
    """Only audio between begin_talking() and end_talking() is sent. Then a reply is requested."""
    turns: list[int] = []
    updates: list[dict[str, Any]] = []

    def script(service: Service) -> None:
        updates.append(service.open())
        service.until("input_audio_buffer.commit")
        turns.append(received_bytes(service))
        service.until("response.create")
        turns.append(received_bytes(service))
        service.until_left()

    with realtime(script) as client, started(client, push_to_talk=True) as talk:
        talk.send_audio(bytes(4800))
        talk.begin_talking()
        for _ in range(10):
            talk.send_audio(bytes(960))
        talk.end_talking()
        talk.send_audio(bytes(4800))
        run_until(talk, lambda: len(turns) == 2)

    assert turns == [9600, 9600]
    assert updates[0]["audio"]["input"]["turn_detection"] is None


def test_a_short_turn_is_ignored() -> None:
    """If the player speaks for less than 100 ms, nothing is committed."""
    done = threading.Event()

    def script(service: Service) -> None:
        service.open()
        service.request()
        assert not service.said("input_audio_buffer.commit")
        done.set()
        service.until_left()

    with realtime(script) as client, started(client, push_to_talk=True) as talk:
        talk.begin_talking()
        talk.send_audio(bytes(960))
        talk.end_talking()
        talk.say("Hi")
        run_until(talk, done.is_set)


def test_a_microphone_is_read_by_the_package() -> None:
    """
    The audio of a microphone is sent. An error of the microphone does not end the conversation.
    """
    received = threading.Event()

    def script(service: Service) -> None:
        service.open()
        while received_bytes(service) < 50 * 960:
            service.until("input_audio_buffer.append")
        received.set()
        service.until_left()

    with realtime(script) as client, started(client) as talk:
        talk.listen_to(Microphone(50, OSError("unplugged")))
        run_until(talk, received.is_set)
        run_until(talk, lambda: talk.microphone_error)

        assert "OSError" in str(talk.microphone_error)
        assert talk.state == "open"


class MutedMicrophone(Microphone):
    """A source. Each iteration yields one block for each release of the iteration's semaphore."""

    def __init__(self) -> None:
        super().__init__(0)
        self.iterations: list[threading.Semaphore] = []

    def __iter__(self) -> Iterator[bytes]:
        blocks = threading.Semaphore(0)
        self.iterations.append(blocks)
        while not self.closed.is_set():
            blocks.acquire()
            yield bytes(960)


def test_a_microphone_is_read_by_one_thread(iw: Inworld) -> None:
    """If a microphone is removed and soon used again, the old thread ends after its next block."""
    microphone = MutedMicrophone()

    def readers() -> int:
        names = [thread.name for thread in threading.enumerate()]
        return sum(name.startswith("inworld-game-microphone") for name in names)

    with Conversation(iw) as talk:
        talk.listen_to(microphone)
        until(lambda: len(microphone.iterations) == 1)
        talk.listen_to(None)
        talk.listen_to(microphone)
        until(lambda: len(microphone.iterations) == 2)
        assert readers() == 2
        microphone.iterations[0].release()
        until(lambda: readers() == 1)
        microphone.close()
        microphone.iterations[1].release()


@pytest.mark.parametrize("opens", [True, False])
def test_a_microphone_is_not_read_after_the_end(opens: bool) -> None:
    """If the session ends or cannot be opened, the microphone is not read after its next block."""
    microphone = MutedMicrophone()

    def script(service: Service) -> None:
        if opens:
            service.open()
        service.close()

    with realtime(script) as client, started(client) as talk:
        talk.listen_to(microphone)
        until(lambda: len(microphone.iterations) == 1)
        run_until(talk, lambda: talk.is_over)
        microphone.iterations[0].release()
        until(
            lambda: not any("game-microphone" in each.name for each in threading.enumerate()),
        )


def test_input_without_a_connection_is_limited() -> None:
    """Until the session is open, only the last 30 seconds of input are kept."""
    hold = threading.Event()

    def script(service: Service) -> None:
        hold.wait()

    with realtime(script) as client, started(client) as talk:
        for _ in range(35):
            talk.send_audio(bytes(48000))
        assert talk.lost_input_ms == pytest.approx(5000)
        hold.set()


# ---- tools -----------------------------------------------------------------------------------


@pytest.mark.parametrize("in_update", [True, False])
def test_tools(in_update: bool) -> None:
    """The tools of a session run on the thread of the game if tools_in_update is true."""
    threads: list[threading.Thread] = []

    @tool
    def open_door(name: str) -> str:
        """Open a door."""
        threads.append(threading.current_thread())
        return f"{name} is open"

    def script(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.call("resp_1", "item_1", "call_1", "open_door", '{"name": "gate"}')
        service.done("resp_1")
        service.until_left()

    outputs: list[ToolOutputSent] = []
    with (
        realtime(script) as client,
        started(client, session=Session(tools=[open_door]), tools_in_update=in_update) as talk,
    ):
        talk.on(ToolOutputSent, outputs.append)
        talk.say("Open the gate")
        run_until(talk, lambda: outputs)

    assert outputs[0].output == "gate is open"
    assert (threads == [threading.current_thread()]) == in_update


def test_an_exception_of_a_tool_is_reported() -> None:
    """
    If a tool raises an exception, ToolOutputSent has the exception, and update() does not raise it.
    """

    @tool
    def fail() -> str:
        """Fail."""
        raise ValueError("no such door")

    def script(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.call("resp_1", "item_1", "call_1", "fail")
        service.done("resp_1")
        service.until_left()

    outputs: list[ToolOutputSent] = []
    with realtime(script) as client, started(client, session=Session(tools=[fail])) as talk:
        talk.on("ToolOutputSent", outputs.append)
        talk.say("Open")
        run_until(talk, lambda: outputs)

    assert isinstance(outputs[0].error, ValueError)


def test_ctrl_c_in_a_tool_ends_the_game() -> None:
    """If a tool raises KeyboardInterrupt, the loop of the game gets this exception."""

    @tool
    def stop() -> str:
        """Stop the program."""
        raise KeyboardInterrupt

    def script(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.call("resp_1", "item_1", "call_1", "stop")
        service.done("resp_1")
        service.until_left()

    with realtime(script) as client, started(client, session=Session(tools=[stop])) as talk:
        talk.say("Stop")
        with pytest.raises(KeyboardInterrupt):
            run_until(talk, lambda: False)


def test_closing_ends_a_tool_that_waits() -> None:
    """
    If the conversation is closed, a tool call that waits for update() ends without calling the
    tool.
    """

    @tool
    def never() -> str:
        """Never run."""
        raise AssertionError("the conversation is closed")

    def script(service: Service) -> None:
        service.open()
        service.created("resp_1", service.request())
        service.call("resp_1", "item_1", "call_1", "never")
        service.done("resp_1")
        service.until_left()

    with realtime(script) as client, started(client, session=Session(tools=[never])) as talk:
        talk.say("Hi")
        until(lambda: any("inworld-tool-" in each.name for each in threading.enumerate()))
        talk.close()
        run_frames(talk, 3)
    # All tests use a fixture that fails if the thread of the tool call does not end.


@pytest.mark.parametrize("opens", [True, False])
def test_the_end_of_the_session_ends_a_tool_that_waits(opens: bool) -> None:
    """
    If the service ended the session, or did not open it, a late tool call raises an error. The
    function is not called.
    """
    calls: list[str] = []

    @tool
    def never() -> str:
        """Never run."""
        calls.append("never")
        return ""

    def script(service: Service) -> None:
        if opens:
            service.open()
        service.close()

    with realtime(script) as client, started(client, session=Session(tools=[never])) as talk:
        run_until(talk, lambda: talk.is_over)
        [late] = talk._tools.bind([never])  # as if the model had called it just before the end
        raised: list[BaseException] = []

        def call() -> None:
            try:
                late.call({})
            except ClosedError as error:
                raised.append(error)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(PATIENCE_SECONDS)
        assert "before the function could run" in str(raised)
        run_frames(talk, 3)
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        run_until(talk, lambda: not thread.is_alive())
        assert len(raised) == 2
        assert not calls


# ---- ends ------------------------------------------------------------------------------------


def test_a_refused_credential(tone_server: Emulator) -> None:
    """
    If the session cannot be opened, the conversation fails, and no later call raises an error.
    """
    with (
        Inworld(api_key="d3Jvbmc6a2V5", base_url=tone_server.url) as client,
        started(client) as talk,
    ):
        ends: list[str] = []
        talk.on_end(lambda: ends.append(talk.state))
        run_until(talk, lambda: talk.is_over)

        assert ends == ["failed"]
        assert isinstance(talk.error, AuthError)
        talk.say("Hi")
        talk.send_audio(bytes(960))
        talk.cancel()
        run_frames(talk, 3)


@pytest.mark.parametrize("is_late", [False, True])
def test_the_end_of_the_session_is_the_end_of_the_conversation(monkeypatch, is_late) -> None:
    """
    If the session ends, the speech that was received is heard before the conversation fails.

    With *is_late*, the speech reaches the output of the conversation after the session has ended.
    """
    if is_late:

        def push_late(*args: Any, **kwargs: Any) -> bool:
            if not is_delayed.is_set():
                is_delayed.set()
                never.wait(0.5)
            return push(*args, **kwargs)

        is_delayed, never = threading.Event(), threading.Event()
        push = SpeechOutput.push
        monkeypatch.setattr(SpeechOutput, "push", push_late)

    def script(service: Service) -> None:
        speak(service, SECOND)
        service.hang_up()

    with realtime(script) as client, started(client, reconnect_timeout=0) as talk:
        talk.say("Hi")
        run_until(talk, lambda: talk.error is not None, reads=False)
        assert talk.state == "open"
        audio = run_until(talk, lambda: talk.is_over)

    assert talk.state == "failed"
    assert audio.strip(b"\0") == SECOND.strip(b"\0")


def lose_connection(service: Service) -> None:
    """Open the session, and end the connection when audio arrives."""
    service.open()
    service.until("input_audio_buffer.append")
    service.hang_up()


def test_a_lost_connection_is_replaced() -> None:
    """
    While the client reconnects, the state is ``reconnecting``. Then the conversation continues.
    """
    again = threading.Event()

    def second(service: Service) -> None:
        assert again.wait(30)
        service.open()
        service.until_left()

    with realtime(lose_connection, second) as client, started(client) as talk:
        run_until(talk, lambda: talk.state == "open")
        talk.send_audio(bytes(4800))
        run_until(talk, lambda: talk.state == "reconnecting")
        again.set()
        run_until(talk, lambda: talk.state == "open")


def test_speech_after_cancel_without_a_connection_is_heard() -> None:
    """If the game calls cancel() while the client reconnects, later speech is heard."""
    again = threading.Event()

    def second(service: Service) -> None:
        assert again.wait(30)
        speak(service, SECOND)
        service.until_left()

    with realtime(lose_connection, second) as client, started(client) as talk:
        run_until(talk, lambda: talk.state == "open")
        talk.send_audio(bytes(4800))
        run_until(talk, lambda: talk.state == "reconnecting")
        talk.cancel()
        run_frames(talk, 3)
        again.set()
        run_until(talk, lambda: talk.state == "open")
        talk.say("Hi")
        run_until(talk, lambda: talk.heard_ms > 900)


def test_a_connection_that_is_not_replaced() -> None:
    """
    If the client cannot reconnect, the state stays ``reconnecting`` until the last speech was
    heard.
    """

    def first(service: Service) -> None:
        speak(service, SECOND)
        service.hang_up()

    states: list[str] = []

    def has_failed() -> bool:
        states.append(talk.state)
        return talk.error is not None

    with (
        realtime(first, lambda service: service.peer.hold()) as client,
        started(client, reconnect_timeout=1.0) as talk,
    ):
        talk.say("Hi")
        run_until(talk, lambda: talk.queued_ms == 1000.0, reads=False)
        run_until(talk, has_failed, reads=False)
        for _ in range(40):
            run_frames(talk, 1, read=False)
            states.append(talk.state)
        assert [each for each, _ in itertools.groupby(states)] == ["open", "reconnecting"]
        run_until(talk, lambda: talk.is_over)

    assert talk.state == "failed"


def test_close_before_the_session_is_open() -> None:
    """A conversation that is closed while it connects leaves no session open."""
    hold = threading.Event()

    def script(service: Service) -> None:
        hold.wait(30)
        service.open()
        service.until_left()

    with realtime(script) as client:
        talk = started(client)
        run_frames(talk, 2)
        talk.close()
        assert talk.state == "closed"
        hold.set()
        run_frames(talk, 2)


def test_a_conversation_that_is_dropped_is_closed() -> None:
    """If the program drops a conversation, the session is closed, and Python shows a warning."""
    left = threading.Event()

    def script(service: Service) -> None:
        service.open()
        try:
            service.until_left()
        finally:
            left.set()

    def use(client: Inworld) -> None:
        talk = started(client)
        run_until(talk, lambda: talk.state == "open")

    def drop(client: Inworld) -> None:
        use(client)
        gc.collect()

    with realtime(script) as client:
        with pytest.warns(ResourceWarning, match=r"conversation .* was not closed"):
            drop(client)
        assert left.wait(30)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda talk: talk.say(" "), ConfigError, "text must have something"),
        (lambda talk: talk.send_audio("x"), ConfigError, "audio must be bytes"),
        (lambda talk: talk.send_audio(bytes(3)), ConfigError, "whole 16-bit samples"),
        (lambda talk: talk.send_audio(b"", 5), ConfigError, "sample_rate_hz must be 8000"),
        (lambda talk: talk.listen_to(5), ConfigError, "microphone must be an AudioSource"),
        (lambda talk: talk.on(5, print), ConfigError, "kind must be a class or a name"),
        (lambda talk: talk.on(int, print), ConfigError, "a conversation never emits int"),
        (lambda talk: talk.update("1"), ConfigError, "dt must be"),
        (lambda talk: talk.begin_talking(), LocalProtocolError, "push_to_talk=True"),
        (lambda talk: talk.end_talking(), LocalProtocolError, "push_to_talk=True"),
        (lambda talk: pickle.dumps(talk), TypeError, "a Conversation cannot be saved"),
    ],
)
def test_wrong_calls(
    iw: Inworld, call: Callable[[Conversation], object], error: type[Exception], message: str
) -> None:
    """
    A wrong argument or a call in a wrong state raises an error that names the cause.
    """
    with pytest.raises(error, match=message):
        call(Conversation(iw))


def test_wrong_settings(iw: Inworld) -> None:
    """A wrong setting raises ConfigError, which names the setting."""
    with pytest.raises(ConfigError, match="session must be a Session"):
        Conversation(iw, {})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="reconnect_timeout must be"):
        Conversation(iw, reconnect_timeout=-1)
    with pytest.raises(ConfigError, match="sample_rate_hz must be 8000"):
        Conversation(iw, sample_rate_hz=1)
