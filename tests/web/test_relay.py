"""Tests of conversations between a page and a scripted model, over real sockets."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inworld_sync import ConfigError, ConnectionLimiter, LocalProtocolError, Session, tool
from inworld_sync.realtime import ManualTurns
from inworld_sync.web import Relay, RelayOptions, RelayStart

from support.browser import PATIENCE_SECONDS, Browser, relay_server
from support.scripted_realtime import Service, place, realtime

# One second of audio in which neighboring samples differ.
AUDIO = bytes(range(240)) * 200


def speech(milliseconds: int, first: int = 1) -> bytes:
    """Return 24 kHz PCM in which neighboring samples differ."""
    samples = (np.arange(milliseconds * 24) + first) % 30_000
    return samples.astype("<i2").tobytes()


def answer(service: Service, number: int, audio: bytes, request: Any = None) -> None:
    """Send one response with audio in pieces of 100 ms."""
    response_id, item_id = f"resp_{number}", f"item_a{number}"
    service.created(response_id, request)
    service.item(response_id, item_id)
    service.transcript(response_id, item_id, "Yes.")
    for start in range(0, len(audio), 4800):
        service.audio(response_id, item_id, audio[start : start + 4800])
    service.item_done(response_id, item_id, "Yes.")
    service.done(response_id)


def speech_started(service: Service) -> None:
    service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u1")


def script_of(*steps: Callable[[Service], object]) -> Callable[[Service], None]:
    """Return a script that opens a session, runs the steps, and reads until the client leaves."""

    def script(service: Service) -> None:
        service.open()
        for step in steps:
            step(service)
        service.until_left()

    return script


def heard_first_audio(service: Service) -> None:
    """
    Wait for audio of the user.

    The relay sends audio of the user only after it has begun to play the speech of the session. So
    speech that the service sends afterwards reaches the page.
    """
    service.until("input_audio_buffer.append")


def opener(iw: Any, session: Session | None = None) -> Callable[[RelayStart], Any]:
    return lambda _: iw.realtime.connect(session)


def test_the_page_gets_the_audio_and_text_of_the_reply() -> None:
    """
    The page gets the bytes of the service unchanged, and the messages about this audio in order.
    """
    audio = speech(650)
    script = script_of(heard_first_audio, lambda service: answer(service, 1, audio))
    with realtime(script) as iw, relay_server(opener(iw)) as server, Browser(server.url) as page:
        page.wait_for("ready", rate_hz=24000, mode="open")
        page.speak(100)
        end = page.wait_for("item_end")
        page.wait_for("text")
        page.send("finished", item=1)
        page.close()
        summary = server.summary()

    assert audio == page.audio[1]
    assert {"type": "item_end", "item": 1, "ms": 650.0} == end
    assert [{"type": "text", "item": 1, "delta": "Yes."}] == page.of("text")
    [item] = page.of("item")
    assert ("item_a1", 1) == (item["item_id"], item["item"])
    kinds = [message["type"] for message in page.messages]
    assert kinds.index("item") < kinds.index("text")
    assert ("browser_left", None, "open") == (summary.end, summary.error, summary.mode)
    assert 650 == summary.heard_ms
    assert 0 == summary.interruptions
    assert "assistant: Yes." == summary.transcript


def test_the_model_gets_the_bytes_of_the_microphone() -> None:
    """The model gets the audio of the browser unchanged."""
    got: list[bytes] = []

    def receive(service: Service) -> None:
        audio = b""
        while len(audio) < len(AUDIO):
            audio += base64.b64decode(service.until("input_audio_buffer.append")["audio"])
        got.append(audio)
        service.error("server_error", "seen")

    with realtime(script_of(receive)) as iw, relay_server(opener(iw)) as server:
        with Browser(server.url) as page:
            page.wait_for("ready")
            for start in range(0, len(AUDIO), 960):
                page.connection.send(AUDIO[start : start + 960])
            page.wait_for("error", code="model_error", fatal=False)

    assert AUDIO == got[0]
    assert "seen" not in str(page.messages)


@pytest.mark.parametrize("heard_ms", [0, 1, 1234, 2998])
def test_an_interruption_by_the_milliseconds_heard(heard_ms: int) -> None:
    """The item is truncated at the page's reported position. A queued item is truncated at 0 ms."""
    truncated: list[tuple[str, int]] = []

    def interrupt(service: Service) -> None:
        answer(service, 1, speech(3000))
        answer(service, 2, speech(1000))
        page_plays.wait(PATIENCE_SECONDS)
        speech_started(service)
        for _ in range(2):
            command = service.until("conversation.item.truncate")
            truncated.append((command["item_id"], command["audio_end_ms"]))
        service.error("server_error")

    page_plays = threading.Event()
    script = script_of(heard_first_audio, interrupt)
    options = RelayOptions(lead_ms=10_000)
    with realtime(script) as iw, relay_server(opener(iw), options=options) as server:
        with Browser(server.url) as page:
            page.speak(100)
            page.position = (1, heard_ms)
            page.wait_for("item_end", item=2)
            page.send("heard", item=1, ms=min(heard_ms, 900))
            page_plays.set()
            page.wait_for("error", code="model_error")
            page.close()
            summary = server.summary()

    assert [("item_a1", heard_ms), ("item_a2", 0)] == truncated
    assert 1 == len(page.of("clear"))
    assert 1 == summary.interruptions
    assert heard_ms == summary.heard_ms


def test_what_was_heard_is_never_truncated() -> None:
    """If all audio was heard, nothing is cleared and nothing is truncated."""
    said: list[dict[str, Any]] = []

    def interrupt(service: Service) -> None:
        answer(service, 1, speech(200))
        finished.wait(PATIENCE_SECONDS)
        speech_started(service)
        service.until("input_audio_buffer.append")
        said.extend(service.said("conversation.item.truncate"))
        service.error("server_error")

    finished = threading.Event()
    script = script_of(heard_first_audio, interrupt)
    with realtime(script) as iw, relay_server(opener(iw)) as server, Browser(server.url) as page:
        page.speak(100)
        page.wait_for("item_end")
        page.send("finished", item=1)
        page.send("heard", item=0, ms=0)
        # This error answers the wrong message. Messages are handled in order, so the relay has also
        # handled the message before it.
        page.wait_for("error", code="wrong_message")
        finished.set()
        page.speak(200)
        page.wait_for("error", code="model_error")

    assert [] == said
    assert [] == page.of("clear")


def test_a_page_that_does_not_answer_a_clear() -> None:
    """If a clear gets no answer, the item is truncated at or after the last reported position."""
    truncated: list[int] = []

    def interrupt(service: Service) -> None:
        answer(service, 1, speech(5000))
        reported.wait(PATIENCE_SECONDS)
        speech_started(service)
        truncated.append(service.until("conversation.item.truncate")["audio_end_ms"])
        service.error("server_error")

    reported = threading.Event()
    script = script_of(heard_first_audio, interrupt)
    with realtime(script) as iw, relay_server(opener(iw)) as server, Browser(server.url) as page:
        page.answers = False
        page.speak(100)
        page.wait(lambda: len(page.audio.get(1, b"")) > 48000)
        page.send("heard", item=1, ms=700)
        page.send("heard", item=0, ms=0)
        # This error answers the wrong message, so the relay has also handled the report before it.
        page.wait_for("error", code="wrong_message")
        reported.set()
        page.wait_for("error", code="model_error")

    assert truncated[0] >= 700


def test_a_reply_that_begins_before_the_page_has_answered() -> None:
    """The next reply is not truncated, although the page has not answered the last clear yet."""
    truncated: list[str] = []

    def talk(service: Service) -> None:
        answer(service, 1, speech(5000))
        service.error("server_error")
        service.until("input_audio_buffer.append")
        speech_started(service)
        answer(service, 2, speech(300, first=7))
        service.error("server_error")
        truncated.append(service.until("conversation.item.truncate")["item_id"])
        service.until("input_audio_buffer.append")
        truncated.extend(each["item_id"] for each in service.said("conversation.item.truncate"))
        service.error("server_error")

    script = script_of(heard_first_audio, talk)
    with realtime(script) as iw, relay_server(opener(iw)) as server, Browser(server.url) as page:
        page.answers = False
        page.speak(100)
        page.wait(lambda: len(page.audio.get(1, b"")) > 48000)
        page.speak(100)
        page.wait_for("clear", item=1)
        page.wait(lambda: len(page.of("error", code="model_error")) == 2)
        page.send("interrupted", item=1, ms=600)
        page.wait_for("item_end", item=2)
        page.speak(100)
        page.wait(lambda: len(page.of("error", code="model_error")) == 3)

    assert ["item_a1", "item_a1"] == truncated
    assert speech(300, first=7) == page.audio[2]


def test_the_stop_button_of_the_page() -> None:
    """
    If the page stops its player, the reply is cancelled and truncated at the reported position.
    """
    truncated: list[dict[str, Any]] = []

    def stop(service: Service) -> None:
        service.created("resp_1")
        service.item("resp_1", "item_a1")
        service.audio("resp_1", "item_a1", speech(2000))
        assert "resp_1" == service.until("response.cancel").get("response_id", "resp_1")
        truncated.append(service.until("conversation.item.truncate"))
        service.done("resp_1", "cancelled")
        service.error("server_error")

    script = script_of(heard_first_audio, stop)
    with realtime(script) as iw, relay_server(opener(iw)) as server, Browser(server.url) as page:
        page.speak(100)
        page.wait(lambda: len(page.audio.get(1, b"")) > 9600)
        page.send("interrupted", item=1, ms=150)
        page.wait_for("error", code="model_error")
        assert [] == page.of("clear")

    assert ("item_a1", 150) == (truncated[0]["item_id"], truncated[0]["audio_end_ms"])


def test_push_to_talk() -> None:
    """The service detects no turns. Releasing the button ends the turn and requests a reply."""
    seen: list[Any] = []

    def reply(service: Service) -> None:
        seen.append(service.accept_update()["audio"]["input"]["turn_detection"])
        sent = b""
        while (command := service.command())["type"] == "input_audio_buffer.append":
            sent += base64.b64decode(command["audio"])
        seen.extend([len(sent), command["type"]])
        answer(service, 1, speech(300), service.request())

    with realtime(script_of(reply)) as iw, relay_server(opener(iw)) as server:
        with Browser(server.url, "push") as page:
            page.wait_for("ready", mode="push")
            page.speak(200)  # before the button is pressed
            page.send("push", down=True)
            page.speak(240)
            page.send("push", down=False)
            page.speak(200)
            page.wait_for("item_end")
            page.send("push", down=True)
            page.send("push", down=False)
            page.close()
            summary = server.summary()

    assert [None, 240 * 48, "input_audio_buffer.commit"] == seen
    assert ("push", 0) == (summary.mode, summary.wrong_messages)


def test_a_press_interrupts_the_reply() -> None:
    """Pressing the button truncates the reply at the position that the page reports."""
    truncated: list[int] = []

    def talk(service: Service) -> None:
        service.accept_update()
        answer(service, 1, speech(3000), service.request())
        truncated.append(service.until("conversation.item.truncate")["audio_end_ms"])
        service.until("input_audio_buffer.commit")
        answer(service, 2, speech(100), service.request())

    with realtime(script_of(talk)) as iw, relay_server(opener(iw)) as server:
        with Browser(server.url, "push") as page:
            page.send("push", down=True)
            page.speak(200)
            page.send("push", down=False)
            page.wait(lambda: len(page.audio.get(1, b"")) > 48000)
            page.position = (1, 777)
            page.send("push", down=True)
            page.speak(200)
            page.send("push", down=False)
            page.wait_for("item_end", item=2)

    assert [777] == truncated


def test_a_typed_message() -> None:
    """A typed message interrupts the reply in progress, and gets a reply."""
    seen: list[Any] = []

    def talk(service: Service) -> None:
        answer(service, 1, speech(3000), service.request())
        seen.append(service.until("conversation.item.truncate")["audio_end_ms"])
        request = service.request()
        items = service.said("conversation.item.create")
        seen.extend(item["item"]["content"][0]["text"] for item in items)
        answer(service, 2, speech(100), request)

    with realtime(script_of(talk)) as iw, relay_server(opener(iw)) as server:
        with Browser(server.url) as page:
            page.send("text", text="One")
            page.wait(lambda: len(page.audio.get(1, b"")) > 48000)
            page.position = (1, 500)
            page.send("text", text="Two ü")
            page.wait_for("item_end", item=2)

    assert [500, "One", "Two ü"] == seen


def test_transcripts_and_words() -> None:
    """The page gets the transcript of the user, and the words of the reply with their times."""

    def talk(service: Service) -> None:
        kind = "conversation.item.input_audio_transcription"
        service.event(f"{kind}.delta", item_id="u1", content_index=0, delta="Hel")
        service.event(f"{kind}.completed", item_id="u1", content_index=0, transcript="Hello")
        service.created("resp_1")
        service.item("resp_1", "item_a1")
        alignment = {
            "words": ["Good", "morning"],
            "wordStartTimeSeconds": [0.0, 0.25],
            "wordEndTimeSeconds": [0.25, 0.7],
        }
        service.event(
            "response.output_audio.delta",
            **place("resp_1", "item_a1"),
            delta=base64.b64encode(speech(100)).decode(),
            timestamp_info={"word_alignment": alignment},
        )
        service.item_done("resp_1", "item_a1", "Good morning")
        service.done("resp_1")

    script = script_of(heard_first_audio, talk)
    with realtime(script) as iw, relay_server(opener(iw)) as server, Browser(server.url) as page:
        page.speak(100)
        page.wait_for("user", item_id="u1", text="Hel", final=False)
        page.wait_for("user", item_id="u1", text="Hello", final=True)
        page.wait_for("item_end")


def test_the_tools_of_the_session_work() -> None:
    """The session runs its tools, and the reply after the tool outputs reaches the page."""
    outputs: list[str] = []

    @tool
    def weather(city: str) -> str:
        """Return the weather of a city."""
        return f"rain in {city}"

    def talk(service: Service) -> None:
        request = service.request()
        service.created("resp_1", request)
        service.call("resp_1", "item_c", "call_1", "weather", '{"city":"Oslo"}')
        service.done("resp_1")
        item = service.until("conversation.item.create")
        outputs.append(item["item"]["output"])
        service.acknowledge(item)
        answer(service, 2, speech(100), service.request())

    session = Session(tools=[weather])
    with realtime(script_of(talk)) as iw, relay_server(opener(iw, session)) as server:
        with Browser(server.url) as page:
            page.send("text", text="How is the weather?")
            page.wait_for("item_end")

    assert ["rain in Oslo"] == outputs


def test_the_page_learns_of_a_lost_connection_to_the_model() -> None:
    """
    While the session reconnects, the page gets the state ``reconnecting``. Afterwards, the
    conversation continues.
    """

    def lose(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.append")
        service.hang_up()

    def again(service: Service) -> None:
        may_open.wait(PATIENCE_SECONDS)
        service.open()
        answer(service, 2, speech(100), service.request())
        service.until_left()

    may_open = threading.Event()
    with realtime(lose, again) as iw, relay_server(opener(iw)) as server:
        with Browser(server.url) as page:
            page.wait_for("ready")
            page.speak(100)
            page.wait_for("state", state="reconnecting")
            page.send("text", text="Are you there?")
            may_open.set()
            page.wait_for("item_end")
            page.send("finished", item=1)
            page.close()
            assert "browser_left" == server.summary().end

    states = [message["state"] for message in page.of("state")]
    assert "reconnecting" not in states[states.index("reconnecting") + 1 :]


def test_a_browser_that_leaves_frees_its_place() -> None:
    """When the browser leaves, the session is closed, and another user gets the place."""
    limiter = ConnectionLimiter(1)
    with realtime(script_of(), script_of(), limiter=limiter) as iw:
        with relay_server(opener(iw)) as server:
            for _ in range(2):
                with Browser(server.url) as page:
                    page.wait_for("ready")
                server.ended.wait(PATIENCE_SECONDS)
                server.ended.clear()

    assert ["browser_left"] * 2 == [summary.end for summary in server.summaries]


def test_a_browser_that_leaves_while_it_is_interrupted() -> None:
    """If the browser leaves while a thread waits for the page's answer, the conversation ends."""

    def interrupt(service: Service) -> None:
        answer(service, 1, speech(3000))
        page_plays.wait(PATIENCE_SECONDS)
        speech_started(service)

    page_plays = threading.Event()
    script = script_of(heard_first_audio, interrupt)
    with realtime(script) as iw, relay_server(opener(iw)) as server, Browser(server.url) as page:
        page.answers = False
        page.speak(100)
        page.wait(lambda: page.audio)
        page_plays.set()
        page.wait_for("clear")
        page.close()
        assert "browser_left" == server.summary().end


def test_the_session_of_the_program_stays_open() -> None:
    """A session that the program has opened is not closed by the relay."""
    with realtime(script_of()) as iw, iw.realtime.connect() as rt:
        with relay_server(rt) as server, Browser(server.url) as page:
            page.wait_for("ready")
            page.close()
            server.summary()
        assert rt.ended is None


def test_the_program_ends_the_conversation() -> None:
    """close() closes the socket with code 1000, after which the page does not connect again."""
    with realtime(script_of()) as iw, relay_server(opener(iw)) as server:
        with Browser(server.url) as page:
            page.wait_for("ready")
            server.relays[0].close()
            assert 1000 == page.wait_closed()
            assert "hung_up" == server.summary().end
        with pytest.raises(LocalProtocolError, match="once"):
            server.relays[0].run()


@pytest.mark.parametrize("mode", ["open", "push"])
def test_a_session_with_manual_turns(mode: str) -> None:
    """A session without turn detection works with push-to-talk, but not with an open microphone."""
    session = Session(turn_detection=ManualTurns())
    with realtime(script_of()) as iw, relay_server(opener(iw, session)) as server:
        with Browser(server.url, mode) as page:
            if mode == "push":
                page.wait_for("ready")
            else:
                assert 1011 == page.wait_closed()
                summary = server.summary()
                assert "model_unavailable" == summary.end
                assert isinstance(summary.error, ConfigError)


class Silent:
    """A socket without messages."""

    def receive(self, timeout: float) -> None: ...

    def send(self, data: object) -> None: ...


def test_wrong_arguments() -> None:
    """Wrong arguments are refused before a message is sent."""
    source = lambda _: None  # noqa: E731
    with pytest.raises(ConfigError, match="headers"):
        Relay(Silent(), source)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="session must be"):
        Relay(Silent(), 5, verify_origin=False)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="send"):
        Relay(object(), source, verify_origin=False)  # type: ignore[arg-type]
    for name, value in {
        "headers": [("origin", "a")],
        "user": 7,
        "limit": 2,
        "options": {"lead_ms": 500},
        "allowed_origins": None,
    }.items():
        with pytest.raises(ConfigError, match=f"{name} must be"):
            Relay(Silent(), source, **{"headers": {}, name: value})  # type: ignore[arg-type]
    for wrong in ({"lead_ms": 5}, {"max_duration": -1}, {"stall_timeout": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            RelayOptions(**wrong)  # type: ignore[arg-type]
