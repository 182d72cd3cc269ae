"""With any fault of a realtime service, every call ends with a result or a typed error."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from inworld_sync import (
    ConnectionLost,
    Inworld,
    InworldError,
    StreamEnded,
)
from inworld_sync.models.realtime import Message, Session
from inworld_sync.sessions.realtime.events import InvalidMessage, SessionReconnected
from inworld_sync.sessions.realtime.response import Response
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.tools.function import tool

from support.peers import TEXT
from support.scripted_realtime import (
    SESSION,
    Event,
    Script,
    Service,
    obedient,
    place,
    realtime,
    response,
)

PATIENCE_SECONDS = 30.0


@tool
def now() -> str:
    """Return the time."""
    return "noon"


def whole_reply() -> list[Event]:
    """Return every message of a reply that speaks and calls a function, in the documented order."""
    message = {"id": "a1", "type": "message", "role": "assistant", "status": "completed"}
    spoken = {**message, "content": [{"type": "audio", "transcript": "Hi there."}]}
    call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "now", "arguments": ""}
    where = place("r1", "a1")
    part = {"type": "audio", "transcript": ""}
    sound = "AAAA" * 1600
    return [
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "u1"},
        {
            "type": "conversation.item.input_audio_transcription.delta",
            "item_id": "u1",
            "delta": "Hello",
        },
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "u1"},
        {"type": "input_audio_buffer.committed", "item_id": "u1"},
        {
            "type": "conversation.item.added",
            "item": {
                "id": "u1",
                "type": "message",
                "role": "user",
                "content": [{"type": "input_audio", "transcript": None}],
            },
        },
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "u1",
            "transcript": "Hello.",
        },
        {"type": "response.created", "response": response("r1", "in_progress")},
        {
            "type": "response.output_item.added",
            "response_id": "r1",
            "item": {**message, "status": "in_progress", "content": []},
        },
        {"type": "conversation.item.added", "item": {**message, "content": []}},
        {"type": "response.content_part.added", **where, "part": part},
        {"type": "response.output_audio_transcript.delta", **where, "delta": "Hi "},
        {"type": "response.output_audio.delta", **where, "delta": sound},
        {"type": "response.output_audio_transcript.delta", **where, "delta": "there."},
        {"type": "response.output_audio.delta", **where, "delta": sound},
        {"type": "response.output_audio.done", **where},
        {
            "type": "response.output_audio_transcript.done",
            **where,
            "transcript": "Hi there.",
        },
        {"type": "response.content_part.done", **where, "part": part},
        {"type": "conversation.item.done", "item": spoken},
        {"type": "response.output_item.done", "response_id": "r1", "item": spoken},
        {"type": "response.output_item.added", "response_id": "r1", "item": call},
        {
            "type": "response.function_call_arguments.delta",
            "response_id": "r1",
            "item_id": "f1",
            "delta": "{}",
        },
        {
            "type": "response.function_call_arguments.done",
            "response_id": "r1",
            "item_id": "f1",
            "arguments": "{}",
        },
        {"type": "response.output_item.done", "response_id": "r1", "item": call},
        {"type": "response.done", "response": response("r1", "completed")},
    ]


REPLY = whole_reply()


def give(messages: list[Event], end: Callable[[Service], None]) -> Script:
    """Return a script that opens a session, sends messages for one request, and calls *end*."""

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        for message in messages:
            body = json.loads(json.dumps(message))
            if isinstance(body.get("response"), dict):
                body["response"]["metadata"] = request["response"]["metadata"]
            service.send(body)
        end(service)

    return script


def opened(iw: Inworld, function: Any = now, **settings: Any) -> RealtimeSession:
    """Return a session with one tool. The user's speech does not cancel replies in this session."""
    return iw.realtime.connect(Session(tools=[function]), barge_in=False, **settings)


def outcome(reply: Response) -> tuple[str, bool]:
    """Return the status, and whether ``wait`` raised an error. Fail if the reply does not end."""
    try:
        reply.wait(PATIENCE_SECONDS)
    except TimeoutError:
        raise
    except InworldError:
        return reply.status, True
    return reply.status, False


# Cuts.

CUTS = range(len(REPLY) + 1)


def hang_up(service: Service) -> None:
    service.hang_up()


def reset(service: Service) -> None:
    service.peer.reset()
    raise EOFError


def half_a_frame(service: Service) -> None:
    service.peer.send(b"\x81\x7e\x10\x00half of a message")
    service.hang_up()


@pytest.mark.parametrize("end", [hang_up, reset, half_a_frame])
@pytest.mark.parametrize("count", CUTS)
def test_cut_after_each_message(count: int, end: Callable[[Service], None]) -> None:
    """
    After a cut at any message of a reply, the session opens another connection.

    A reply that had begun fails. A reply that had not begun is requested again.
    """
    with realtime(give(REPLY[:count], end), obedient) as iw:
        with opened(iw) as rt:
            reply = rt.send_message("Hello")
            status, is_error = outcome(reply)
            next(
                e for e in rt.events(timeout=PATIENCE_SECONDS) if isinstance(e, SessionReconnected)
            )

            # Messages that the peer's kernel had not sent before the reset are lost.
            begun = any(m["type"] == "response.created" for m in REPLY[:count])
            assert status in ("completed", "failed")
            assert is_error is (status == "failed")
            assert begun or not is_error
            assert "You said more" == rt.send_message("more").wait(PATIENCE_SECONDS).text.strip()


@pytest.mark.parametrize("count", CUTS)
def test_cut_for_good_after_each_message(count: int) -> None:
    """If no other connection opens, every wait raises ConnectionLost."""
    with realtime(give(REPLY[:count], hang_up)) as iw:
        with opened(iw, reconnect_timeout=0) as rt:
            reply = rt.send_message("Hello")
            ends: list[StreamEnded] = []
            rt.on(StreamEnded, ends.append)
            with pytest.raises(ConnectionLost):
                list(rt.events(timeout=PATIENCE_SECONDS))
            status, is_error = outcome(reply)

            assert (status, is_error) in (("failed", True), ("completed", False))
            with pytest.raises(ConnectionLost):
                rt.send_message("more")
        assert 1 == len(ends)


# Invalid frames.

# (payload, first byte, close code) of frames after which the connection cannot continue.
BROKEN: list[tuple[bytes, int, int]] = [
    (b"\xff\xfe{}", TEXT, 1007),
    (b"stray", 0x80, 1002),
    (b"reserved", 0x83, 1002),
]


@pytest.mark.parametrize(("payload", "first", "code"), BROKEN)
def test_a_broken_frame_ends_the_session(payload: bytes, first: int, code: int) -> None:
    """A broken frame ends the session without a reconnect. ``ended`` has the right close code."""

    def script(service: Service) -> None:
        service.open()
        service.request()
        service.peer.send_frame(first, payload)
        service.until_left()

    with realtime(script, obedient) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hello")
        with pytest.raises(InworldError) as caught:
            list(rt.events(timeout=PATIENCE_SECONDS))

        assert ("failed", True) == outcome(reply)
        assert rt.ended is not None
        assert (caught.value.args, "client", code) == (
            rt.ended.error and rt.ended.error.args,
            rt.ended.by,
            rt.ended.code,
        )


def test_garbage_at_the_start() -> None:
    """An unreadable message before ``session.created`` does not end the connection."""

    def script(service: Service) -> None:
        service.send("<html>Welcome</html>")
        obedient(service)

    with realtime(script) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hello")

        assert "You said Hello" == reply.wait(PATIENCE_SECONDS).text.strip()


def without(message: Event, path: tuple[str, ...]) -> Event:
    body: Event = json.loads(json.dumps(message))
    place_of = body
    for name in path[:-1]:
        place_of = place_of[name]
    del place_of[path[-1]]
    return body


def holes() -> list[tuple[int, tuple[str, ...]]]:
    """Return the path of every field in the messages of a reply, without the ``type`` fields."""
    found = []
    for index, message in enumerate(REPLY):
        for name, value in message.items():
            if name == "type":
                continue
            found.append((index, (name,)))
            if isinstance(value, dict):
                found += [(index, (name, inner)) for inner in value]
    return found


@pytest.mark.parametrize(("index", "path"), holes())
def test_a_missing_field(index: int, path: tuple[str, ...]) -> None:
    """If a message lacks any field, the reply still ends, and the session continues."""
    messages = [*REPLY[:index], without(REPLY[index], path), *REPLY[index + 1 :]]

    def rest(service: Service) -> None:
        # The client requests a response to the tool output only if the client could read the call.
        number = 2
        while True:
            service.speak(service.request(), number, "Well.")
            number += 1

    with realtime(give(messages, rest)) as iw:
        with opened(iw) as rt:
            reply = rt.send_message("Hello")
            status, is_error = outcome(reply)

            assert status in ("completed", "failed", "incomplete")
            assert is_error or status == "completed"
            assert "Well." == rt.send_message("more").wait(PATIENCE_SECONDS).text.strip()
            assert rt.ended is None


# Values of a wrong type for any field of a message.
WRONG: list[Any] = [None, 7, -1, "x", [], {}, True, 1e300, [[[]]], {"type": "message"}]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_field_of_the_wrong_kind(value: Any) -> None:
    """With a wrong value in any field, the session continues and every reply ends."""
    messages = []
    for message in REPLY:
        for name in message:
            if name != "type":
                messages.append({**message, name: value})
    messages += [{"type": value}, {"type": "session.updated", "session": value}]
    messages += REPLY[-1:]

    def rest(service: Service) -> None:
        number = 2
        while True:
            service.speak(service.request(), number, "Well.")
            number += 1

    with realtime(give(messages, rest)) as iw:
        with opened(iw) as rt:
            status, _ = outcome(rt.send_message("Hello"))

            assert status in ("completed", "failed", "incomplete", "cancelled")
            assert "Well." == rt.send_message("more").wait(PATIENCE_SECONDS).text.strip()


@pytest.mark.parametrize("seed", range(20))
def test_any_order(seed: int) -> None:
    """If messages arrive in any order, and some arrive twice, the reply is still completed."""
    chance = random.Random(seed)
    messages = REPLY[:-1] + chance.sample(REPLY[:-1], 8)
    chance.shuffle(messages)
    messages.append(REPLY[-1])

    def rest(service: Service) -> None:
        number = 2
        while True:
            service.speak(service.request(), number, "Well.")
            number += 1

    with realtime(give(messages, rest)) as iw:
        with opened(iw) as rt:
            status, is_error = outcome(rt.send_message("Hello"))

            assert ("completed", False) == (status, is_error)
            assert "Well." == rt.send_message("more").wait(PATIENCE_SECONDS).text.strip()


def test_everything_twice() -> None:
    """If the service sends every message twice, the result is the same as without repeats."""
    runs: list[int] = []

    @tool(name="now")
    def counted() -> str:
        """Return the time."""
        runs.append(1)
        return "noon"

    messages = [message for message in REPLY for _ in range(2)]
    # A repeated delta would double the text, so deltas are not repeated.
    messages = [m for i, m in enumerate(messages) if not (i % 2 and m["type"].endswith("delta"))]

    def rest(service: Service) -> None:
        service.speak(service.request(), 2, "Well.")
        service.until_left()

    with realtime(give(messages, rest)) as iw:
        with opened(iw, counted) as rt:
            reply = rt.send_message("Hello").wait(PATIENCE_SECONDS)
            next(
                e
                for e in rt.events(timeout=PATIENCE_SECONDS)
                if getattr(e, "type", "") == "response.done" and e.response.id == "resp_2"  # type: ignore[union-attr]
            )

            assert ("Hi there.\nWell. ", [1]) == (reply.text, runs)
            assert 1 == len([e for e in rt.conversation if e.item.id == "a1"])


def test_a_response_that_is_done_before_it_is_created() -> None:
    """If the last message of a reply comes first, later messages do not change the ended reply."""
    messages = [REPLY[-1], REPLY[6], *REPLY[10:14]]
    with realtime(give(messages, lambda s: s.until_left())) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Hello").wait(PATIENCE_SECONDS)

        assert ("completed", "") == (reply.status, reply.text)


def test_a_session_that_is_created_twice() -> None:
    """Further ``session.created`` and ``session.updated`` messages replace the settings."""

    def script(service: Service) -> None:
        service.open()
        service.event("session.created", session={**SESSION, "id": "sess_2"})
        service.event("session.updated", session={"voice": "?"})
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        next(e for e in rt.events(timeout=30) if getattr(e, "type", "") == "ping")

        assert "sess_2" == rt.id


# Large messages and silence.


def test_a_message_of_16_mib() -> None:
    """The largest allowed message is received."""
    size = 16 * 1024 * 1024

    def script(service: Service) -> None:
        service.open()
        request = service.request()
        service.created("r1", request)
        head = json.dumps({"type": "response.output_audio.delta", **place("r1", "a1")})[:-1]
        room = size - len(head) - len(', "delta": ""}')
        service.send(f'{head}, "delta": "{"A" * (room // 4 * 4)}"}}')
        service.done("r1")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        speech = rt.respond().audio.read(30)

        assert size // 4 * 3 - 1000 < len(speech.pcm)


def test_a_message_that_is_too_large() -> None:
    """A message above the limit ends the session before the payload of the message is received."""

    def script(service: Service) -> None:
        service.open()
        service.peer.send(b"\x81\x7f" + (1 << 40).to_bytes(8, "big"))
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        with pytest.raises(InworldError, match="bytes"):
            list(rt.events(timeout=PATIENCE_SECONDS))


def test_silence() -> None:
    """
    If a service sends nothing, not even pongs, the session continues on a new connection.

    The timeout is 2 s here instead of 10 s.
    """

    def silent(service: Service) -> None:
        service.open()
        service.peer.hold()

    settings = {"ping_timeout": 2.0, "ping_interval": 0.1}
    with realtime(silent, obedient, **settings) as iw, iw.realtime.connect() as rt:
        reply = rt.send_message("Are you there?")

        assert "You said Are you there?" == reply.wait(PATIENCE_SECONDS).text.strip()
        [event] = [
            e
            for _, e in zip(range(3), rt.events(timeout=30), strict=False)
            if isinstance(e, SessionReconnected)
        ]
        assert "silent" in str(event.cause)


def test_silence_with_pings() -> None:
    """If a service answers pings and sends nothing else, the client keeps the connection."""

    def quiet(service: Service) -> None:
        service.open()
        service.until("output_audio_buffer.clear")
        service.event("ping", timestamp=1)
        service.until_left()

    settings = {"ping_timeout": 2.0, "ping_interval": 0.1}
    with realtime(quiet, **settings) as iw, iw.realtime.connect() as rt:
        threading.Event().wait(2.5)
        rt.clear_output()
        next(e for e in rt.events(timeout=30) if getattr(e, "type", "") == "ping")

        assert rt.ended is None


def test_closing_against_a_dead_service() -> None:
    """``close`` does not wait for a service that neither reads nor sends."""

    def dead(service: Service) -> None:
        service.open()
        service.peer.hold()

    with realtime(dead, ping_timeout=60, send_timeout=60) as iw:
        rt = iw.realtime.connect()
        rt.send_message("Hello")
        began = time.monotonic()
        rt.close()

        assert 30 > time.monotonic() - began


# Random histories.


@pytest.mark.parametrize("seed", range(10))
def test_chaos(seed: int) -> None:
    """For any behavior of the service, each call ends, and no thread is left."""
    chance = random.Random(seed)

    def script(service: Service) -> None:
        if chance.random() < 0.2:
            service.hang_up()
        service.open()
        for _ in range(chance.randrange(40)):
            message = dict(chance.choice(REPLY))
            if chance.random() < 0.2:
                message.pop(chance.choice(sorted(message)))
            if chance.random() < 0.1:
                message["response_id"] = "r2"
            service.send(message)
            if chance.random() < 0.03:
                service.hang_up()
        if chance.random() < 0.5:
            service.close(chance.choice([1000, 1001, 1011]))
        service.until_left()

    with realtime(script) as iw:
        for _ in range(3):
            with contextlib.suppress(InworldError):
                _use(iw)


def _use(iw: Inworld) -> None:
    with iw.realtime.connect(Session(tools=[now]), timeout=2, reconnect_timeout=1) as rt:
        replies = [rt.send_message("Hello"), rt.respond()]
        rt.send_audio(bytes(48_000), timeout=1)
        rt.interrupt()
        rt.add(Message.user("x"), timeout=1)
        for reply in replies:
            try:
                reply.wait(0.3)
            except TimeoutError:
                reply.cancel()
        for event in itertools.islice(rt.events(timeout=0.2), 30):
            assert not isinstance(event, InvalidMessage) or event.error
