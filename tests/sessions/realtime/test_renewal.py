"""An old session continues on another connection, before or after the service ends it."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator

import pytest

from inworld_sync import ConfigError, ConnectionLost, ServiceError
from inworld_sync.models.realtime import ManualTurns, Message, PingReceived, Session
from inworld_sync.sessions.realtime import state as realtime_state
from inworld_sync.sessions.realtime.events import SessionReconnected
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.tools.function import tool

from support.scripted_realtime import Event, Service, obedient, realtime

PATIENCE_SECONDS = 30.0
IDLE_SECONDS = 0.05


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time after which a session counts as idle."""
    monkeypatch.setattr(realtime_state, "_IDLE_SECONDS", IDLE_SECONDS)
    monkeypatch.setattr(realtime_state, "_RENEWAL_POLL_SECONDS", 0.01)


class Gate:
    """
    The scripts of two connections. A renewal opens the second connection.

    Attributes:
        renewed: Set when the second connection opens.
        texts: The texts of the items that the second connection gets.
    """

    def __init__(self) -> None:
        self.renewed = threading.Event()
        self.texts: list[str] = []

    def second(self, service: Service) -> None:
        self.renewed.set()
        service.open()
        request = service.request()
        for command in service.said("conversation.item.create"):
            self.texts += [part["text"] for part in command["item"].get("content", ())]
        service.speak(request, 1, "again")
        service.until_left()

    def is_renewed_early(self) -> bool:
        """Wait much longer than the idle time. Return whether the session was renewed too early."""
        return self.renewed.wait(10 * IDLE_SECONDS)


def reconnected(rt: RealtimeSession) -> SessionReconnected:
    events = rt.events(timeout=PATIENCE_SECONDS)
    return next(event for event in events if isinstance(event, SessionReconnected))


def test_renewal() -> None:
    """An old idle session continues on another connection, with one event and all items."""
    gate = Gate()
    with (
        realtime(obedient, gate.second) as iw,
        iw.realtime.connect(max_session_age=0.5) as rt,
    ):
        seen: list[SessionReconnected] = []
        rt.on(SessionReconnected, seen.append)
        assert "You said Hello" == rt.send_message("Hello").wait(PATIENCE_SECONDS).text.strip()
        event = reconnected(rt)
        reply = rt.send_message("Hello again").wait(PATIENCE_SECONDS)

        assert (None, 2, ()) == (event.cause, event.replayed_items, event.lost_items)
        assert "again" == reply.text.strip()
        assert rt.ended is None
    assert ["Hello", "You said Hello", "Hello again"] == gate.texts
    assert [event] == seen


def test_renewal_is_off() -> None:
    """With ``max_session_age=None`` no session is renewed."""
    gate = Gate()
    with realtime(obedient, gate.second) as iw, iw.realtime.connect(max_session_age=None) as rt:
        assert not gate.is_renewed_early()
        assert "You said Hello" == rt.send_message("Hello").wait(PATIENCE_SECONDS).text.strip()


@contextlib.contextmanager
def response_in_progress(service: Service, rt: RealtimeSession) -> Iterator[None]:
    """Keep a response in progress during the ``with`` block."""
    reply = rt.respond()
    service.created("r1", service.request())
    next_ping(service, rt)
    yield
    service.text("r1", "a1", "whole")
    service.done("r1")
    assert "whole" == reply.wait(PATIENCE_SECONDS).text


@contextlib.contextmanager
def user_speaks(service: Service, rt: RealtimeSession) -> Iterator[None]:
    """Let the user speak during the ``with`` block."""
    service.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    next_ping(service, rt)
    yield
    service.event("input_audio_buffer.committed", item_id="u1", previous_item_id=None)


@contextlib.contextmanager
def tool_runs(service: Service, rt: RealtimeSession) -> Iterator[None]:
    """Let a function run during the ``with`` block."""
    rt.respond()
    request = service.request()
    service.created("r1", request)
    service.call("r1", "f1", "c1", "wait_for_it")
    service.done("r1")
    next_ping(service, rt)
    yield
    GO.set()
    service.speak(service.request(), 2, "done")


@contextlib.contextmanager
def update_is_pending(service: Service, rt: RealtimeSession) -> Iterator[None]:
    """Keep a command unanswered during the ``with`` block."""
    rt.update(Session(instructions="Be brief."), wait=False)
    service.until("session.update")
    yield
    service.event("session.updated", session=service.session)


GO = threading.Event()


@tool
def wait_for_it() -> str:
    """Wait."""
    return str(GO.wait(PATIENCE_SECONDS))


def next_ping(service: Service, rt: RealtimeSession) -> None:
    """Wait until the session has handled all earlier messages."""
    service.event("ping", timestamp=1)
    events = rt.events(timeout=PATIENCE_SECONDS)
    next(event for event in events if isinstance(event, PingReceived))


@pytest.mark.parametrize("busy", [response_in_progress, user_speaks, tool_runs, update_is_pending])
def test_a_busy_session_is_not_renewed(busy: object) -> None:
    """An old session is renewed after the response, speech, tool call or command has ended."""
    gate, ready, services = Gate(), threading.Event(), []
    GO.clear()

    def first(service: Service) -> None:
        service.open()
        services.append(service)
        ready.set()
        gate.renewed.wait(PATIENCE_SECONDS)
        service.until_left()

    with (
        realtime(first, gate.second) as iw,
        iw.realtime.connect(Session(tools=[wait_for_it]), max_session_age=0.001) as rt,
    ):
        assert ready.wait(PATIENCE_SECONDS)
        with busy(services[0], rt):  # type: ignore[operator]
            assert not gate.is_renewed_early()
        assert gate.renewed.wait(PATIENCE_SECONDS)
        assert reconnected(rt).cause is None


def test_a_late_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is never idle is renewed later. The words of the user are sent again."""
    monkeypatch.setattr(realtime_state, "_RENEWAL_SECONDS", 0.2)
    seen: list[int] = []

    def first(service: Service) -> None:
        service.open()
        service.event("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
        service.until_left()

    def second(service: Service) -> None:
        # This session is not renewed.
        monkeypatch.setattr(realtime_state, "_RENEWAL_SECONDS", PATIENCE_SECONDS)
        service.open()
        service.event("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
        for _ in range(2):
            command = service.until("input_audio_buffer.append")
            seen.append(base64.b64decode(command["audio"])[0])
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect(max_session_age=0.1) as rt:
        rt.send_audio(bytes([1]) * 4800)
        event = reconnected(rt)
        rt.send_audio(bytes([2]) * 4800)
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(event for event in events if isinstance(event, PingReceived))

        assert (None, 0.0) == (event.cause, event.lost_input_ms)
    assert [1, 2] == seen


def test_the_beginning_of_speech_is_not_lost() -> None:
    """The last seconds of audio are sent again, because they may contain undetected speech."""
    seen: list[int] = []

    def first(service: Service) -> None:
        service.open()
        service.until_left()

    def second(service: Service) -> None:
        service.open()
        for _ in range(2):
            command = service.until("input_audio_buffer.append")
            seen.append(base64.b64decode(command["audio"])[0])
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(first, second) as iw, iw.realtime.connect(max_session_age=0.5) as rt:
        rt.send_audio(bytes([1]) * 4800)
        assert 0.0 == reconnected(rt).lost_input_ms
        rt.send_audio(bytes([2]) * 4800)
        events = rt.events(timeout=PATIENCE_SECONDS)
        next(event for event in events if isinstance(event, PingReceived))
    assert [1, 2] == seen


def test_manual_turns_are_not_renewed_in_a_turn() -> None:
    """While the input has audio that is not committed yet, the session is not renewed."""
    gate = Gate()

    def first(service: Service) -> None:
        service.open()
        service.until("input_audio_buffer.commit")
        service.event("input_audio_buffer.committed", item_id="u1", previous_item_id=None)
        service.until_left()

    session = Session(turn_detection=ManualTurns())
    with (
        realtime(first, gate.second) as iw,
        iw.realtime.connect(session, max_session_age=0.001) as rt,
    ):
        rt.send_audio(bytes(4800))
        assert not gate.is_renewed_early()
        rt.commit()
        assert reconnected(rt).cause is None


# (message, code of the CLOSE frame) with which the service ends an old session.
EXPIRED = [
    ({"type": "error", "error": {"code": "SESSION_EXPIRED", "message": "old"}}, None),
    ({"type": "error", "error": {"code": "AUDIO_SESSION_EXPIRED", "message": "old"}}, 1000),
    ({"type": "error", "error": {"code": "session_expired", "message": "old"}}, 1001),
    ({"error": {"code": 16, "details": [{"errorType": "SESSION_EXPIRED"}]}}, 1000),
    ({"error": {"code": 13, "details": [{"reconnectType": "IMMEDIATE"}]}}, None),
    (None, 1001),
]


@pytest.mark.parametrize(("message", "code"), EXPIRED)
def test_an_expired_session_continues(message: Event | None, code: int | None) -> None:
    """If the service ends an expired session, the client continues on another connection."""
    gate = Gate()

    def first(service: Service) -> None:
        service.open()
        service.speak(service.request(), 1, "Hi")
        if message is not None:
            service.send(message)
        if code is not None:
            service.close(code)
        service.until_left()

    with realtime(first, gate.second) as iw, iw.realtime.connect() as rt:
        rt.send_message("Hello").wait(PATIENCE_SECONDS)
        event = reconnected(rt)

        assert isinstance(event.cause, (ServiceError, ConnectionLost))
        assert "again" == rt.send_message("Bye").wait(PATIENCE_SECONDS).text.strip()
    assert ["Hello", "Hi", "Bye"] == gate.texts


def test_an_expired_session_without_reconnect() -> None:
    """With ``reconnect_timeout=0`` an expired session ends with the service's error."""

    def first(service: Service) -> None:
        service.open()
        service.send(EXPIRED[0][0])
        service.until_left()

    with realtime(first) as iw, iw.realtime.connect(reconnect_timeout=0) as rt:
        with pytest.raises(ServiceError, match="old"):
            list(rt.events(timeout=PATIENCE_SECONDS))


@pytest.mark.parametrize("age", [0, -1, float("nan"), "1"])
def test_wrong_age(age: float) -> None:
    """An age that is not a positive number is refused before anything is sent."""
    with realtime() as iw, pytest.raises(ConfigError, match="max_session_age must be"):
        iw.realtime.connect(max_session_age=age)


def test_the_reply_to_the_settings_may_report_a_memory() -> None:
    """``connect`` returns at the first ``session.updated``, even if this message has a memory."""

    def script(service: Service) -> None:
        service.session["providerData"] = {"memory": {"state": {"version": 3, "summary": "x"}}}
        service.event("session.created", session={**service.session, "providerData": {}})
        service.accept_update()
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(timeout=PATIENCE_SECONDS) as rt:
        assert rt.session.memory is not None
        assert 3 == rt.session.memory.version


def test_closing_while_it_is_renewed() -> None:
    """A session can be closed while its old connection closes and no new connection is open."""
    opening = threading.Event()

    def second(service: Service) -> None:
        opening.set()
        service.until_left()

    with realtime(obedient, second) as iw, iw.realtime.connect(max_session_age=0.001) as rt:
        assert opening.wait(PATIENCE_SECONDS)
        rt.close()
        assert rt.ended is not None
        assert rt.ended.error is None


def test_an_item_that_is_added_while_it_is_renewed() -> None:
    """A call that adds an item waits until the new connection has accepted the item."""
    gate, go = Gate(), threading.Event()

    def second(service: Service) -> None:
        gate.renewed.set()
        assert go.wait(PATIENCE_SECONDS)
        service.open()
        service.acknowledge(service.until("conversation.item.create"))
        service.until_left()

    with realtime(obedient, second) as iw, iw.realtime.connect(max_session_age=0.001) as rt:
        assert gate.renewed.wait(PATIENCE_SECONDS)
        adding = threading.Thread(target=lambda: gate.texts.append(rt.add(Message.user("Hi"))))
        adding.start()
        go.set()
        adding.join(PATIENCE_SECONDS)

        assert [rt.conversation[0].item.id] == gate.texts
