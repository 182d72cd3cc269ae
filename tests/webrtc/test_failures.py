"""Every failure of a WebRTC connection raises a typed error in time and leaves no thread."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from inworld_sync import (
    AuthError,
    ConfigError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequestError,
    Inworld,
    QuotaError,
    RemoteProtocolError,
    Session,
)
from inworld_sync.realtime import PcmFormat, SessionReconnected
from inworld_sync.sessions.realtime.connection import RealtimeConnection
from inworld_sync.sessions.realtime.state import SessionState
from inworld_sync.webrtc.loop import LoopThread

from support.counting import CountingLimiter
from support.webrtc_service import PATIENCE_SECONDS, Call, open_service, serve_http

# On a busy machine, a call may take this much longer than its limit.
SLACK_SECONDS = 5.0

TURN_SERVERS = (
    '{"iceServers": [{"urls": ["turn:127.0.0.1:9?transport=tcp", "odd:x"], "username": "USER-1",'
    ' "credential": "SECRET-1"}, {"urls": 5}, 7]}'
)


def answers(status: int, body: str, kind: str = "application/sdp") -> Callable[..., object]:
    """Return a server that gives every offer the same answer."""

    def respond(method: str, path: str, credential: str, _: bytes) -> tuple[int, str, bytes]:
        if method == "GET":
            return 200, "application/json", b'{"ice_servers": []}'
        return status, kind, body.encode()

    return respond


def wait_for_end_of_loops() -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(each.name.startswith("inworld-webrtc") for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def idle(call: Call) -> None:
    call.open()
    call.until_left()


def kept(*words: str) -> Callable[[str], str]:
    """Return a function that removes lines with one of the words from a session description."""

    def change(sdp: str) -> str:
        lines = sdp.split("\r\n")
        return "\r\n".join(each for each in lines if not any(word in each for word in words))

    return change


def without_data(sdp: str) -> str:
    """Remove the section of the data channel."""
    return sdp[: sdp.index("m=application")]


def elsewhere(sdp: str) -> str:
    """Replace the candidates by a candidate to which no local candidate can connect."""
    lines = kept("a=candidate")(sdp).split("a=end-of-candidates")
    candidate = "a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype passive\r\n"
    return f"{candidate}a=end-of-candidates".join(lines)


@pytest.mark.parametrize(
    "body", ["", "<html>", "v=0", "v=0\r\nm=audio", "{}", "v=0\r\n" + "a=x\r\n" * 1000]
)
def test_an_answer_that_is_no_description(body: str) -> None:
    with serve_http(answers(200, body)) as url, Inworld("key", base_url=url) as iw:
        began = time.monotonic()
        with pytest.raises(RemoteProtocolError, match="must be a session description"):
            iw.connect_webrtc()
        assert time.monotonic() - began < SLACK_SECONDS


@pytest.mark.parametrize("body", ["[]", "5", "{", '{"sdp": 5}', '{"sdp": "x"}', "{}"])
@pytest.mark.parametrize("form", ["json", "session_config"])
def test_an_answer_that_is_no_object_with_sdp(form: str, body: str) -> None:
    server = serve_http(answers(200, body, "application/json"))
    with server as url, Inworld("key", base_url=url) as iw:
        with pytest.raises(RemoteProtocolError):
            iw.connect_webrtc(offer_form=form)


@pytest.mark.parametrize(
    "changed", [kept("a=candidate"), without_data, kept("a=ice-pwd"), kept("a=setup")]
)
def test_an_answer_that_does_not_fit(changed: Callable[[str], str]) -> None:
    with open_service(idle, changed_answer=changed) as iw:
        began = time.monotonic()
        with pytest.raises(RemoteProtocolError, match="the answer to the offer"):
            iw.connect_webrtc()
        assert time.monotonic() - began < SLACK_SECONDS


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthError), (400, InvalidRequestError), (429, QuotaError)]
)
def test_a_refused_offer(status: int, kind: type[Exception]) -> None:
    body = '{"code": 3, "message": "no"}'
    limiter = CountingLimiter(1)
    server = serve_http(answers(status, body, "application/json"))
    with server as url, Inworld("key", base_url=url, limiter=limiter, max_retries=0) as iw:
        with pytest.raises(kind):
            iw.connect_webrtc()
    assert limiter.taken == 0


def test_no_server() -> None:
    with serve_http(answers(200, "")) as url:
        pass
    with Inworld("key", base_url=url, max_retries=0) as iw, pytest.raises(ConnectError):
        iw.connect_webrtc()


def test_an_offer_without_an_answer() -> None:
    stop = threading.Event()

    def respond(*_: object) -> tuple[int, str, bytes]:
        stop.wait(PATIENCE_SECONDS)
        return 500, "text/plain", b""

    with serve_http(respond) as url, Inworld("key", base_url=url) as iw:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"0\.4"):
            iw.connect_webrtc(timeout=0.4)
        assert 0.3 < time.monotonic() - began < 0.4 + SLACK_SECONDS
        stop.set()


def test_no_path_by_udp() -> None:
    """No pair of candidates can work, so ICE fails at once."""
    limiter = CountingLimiter(1)
    settings = {"limiter": limiter, "max_retries": 0}
    with open_service(idle, changed_answer=elsewhere, has_udp=False, **settings) as iw:
        began = time.monotonic()
        with pytest.raises(ConnectError, match="no UDP path"):
            iw.connect_webrtc()
        assert time.monotonic() - began < SLACK_SECONDS
    assert limiter.taken == 0


def test_a_candidate_that_does_not_answer() -> None:
    """ICE would try for longer than the timeout of the call, so the timeout ends the call."""
    with open_service(idle, has_udp=False) as iw:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="ICE is checking"):
            iw.connect_webrtc(timeout=1.0)
        assert time.monotonic() - began < 1.0 + SLACK_SECONDS


def test_a_long_answer() -> None:
    """A long answer is refused, because comparing all its candidates would stall the connection."""
    body = "v=0\r\n" + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 2000
    with serve_http(answers(200, body)) as url, Inworld("key", base_url=url) as iw:
        with pytest.raises(RemoteProtocolError, match="at most 65536 characters, got"):
            iw.connect_webrtc()


def test_a_limit_of_messages_that_nothing_fits() -> None:
    """
    If the service allows no message of any size, the connection ends at once.

    Versions of aiortc before 1.16 ignore the limit and send the messages. Python 3.10 has only such
    versions.
    """

    def changed(sdp: str) -> str:
        return re.sub(r"a=max-message-size:\d+", "a=max-message-size:-1", sdp)

    with open_service(idle, changed_answer=changed) as iw:
        if sys.version_info < (3, 11):
            iw.connect_webrtc().close()
            return
        with pytest.raises(ConnectionLost, match="a message could not be sent"):
            iw.connect_webrtc()


def test_a_limit_of_messages_that_is_no_number() -> None:
    """If the limit for messages in the answer has 5000 digits, the usual limit applies."""

    def changed(sdp: str) -> str:
        return sdp.replace("m=audio", f"a=max-message-size:{'9' * 5000}\r\nm=audio", 1)

    with open_service(idle, changed_answer=changed) as iw:
        iw.connect_webrtc().close()


def test_another_certificate() -> None:
    """DTLS fails if the certificate does not have the fingerprint in the answer."""

    def changed(sdp: str) -> str:
        lines = sdp.split("\r\n")
        found = [each for each in lines if each.startswith("a=fingerprint:sha-256")]
        assert found
        return sdp.replace(found[0], f"{found[0][:-2]}{'00' if found[0][-2:] != '00' else '11'}")

    with open_service(idle, changed_answer=changed, max_retries=0) as iw:
        with pytest.raises(ConnectError, match="no UDP path"):
            iw.connect_webrtc()


def test_settings_that_are_refused() -> None:
    def script(call: Call) -> None:
        call.event("session.created", session=call.session)
        asked = call.until("session.update")
        error = {"type": "invalid_request_error", "code": "invalid_value", "message": "no"}
        call.event("error", error={**error, "param": None, "event_id": asked["event_id"]})
        call.until_left()

    with open_service(script) as iw, pytest.raises(InvalidRequestError, match="no"):
        iw.connect_webrtc(Session(model="x/y"))


def test_a_peer_that_vanishes() -> None:
    """Without a packet for ``ping_timeout``, the connection is lost."""

    def script(call: Call) -> None:
        call.open()
        call.until("response.create")
        call.vanish()

    with open_service(script, ping_timeout=1.0) as iw:
        with iw.connect_webrtc(reconnect_timeout=0) as rt:
            reply = rt.respond()
            began = time.monotonic()
            with pytest.raises(ConnectionLost, match="was silent for 1 s"):
                list(rt)
            assert 0.8 < time.monotonic() - began < 1.0 + SLACK_SECONDS
            assert reply.status == "failed"


@pytest.mark.slow
def test_a_peer_that_vanishes_is_replaced() -> None:
    def first(call: Call) -> None:
        call.open()
        call.until("response.create")
        call.vanish()

    with open_service(first, idle, ping_timeout=1.0) as iw, iw.connect_webrtc() as rt:
        events = rt.subscribe()
        rt.respond()
        while not isinstance(event := events.get(timeout=PATIENCE_SECONDS), SessionReconnected):
            pass
        assert "silent" in str(event.cause)


def test_a_service_that_leaves() -> None:
    """If the service closes the data channel, which has no close code, an error is raised."""

    def script(call: Call) -> None:
        call.open()
        call.until("response.create")
        call.leave()

    with open_service(script) as iw, iw.connect_webrtc(reconnect_timeout=0) as rt:
        rt.respond()
        with pytest.raises(ConnectionLost, match="code 1005"):
            list(rt)


def test_a_text_message_that_is_not_utf_8() -> None:
    """A text message that is not UTF-8 ends the connection. The session reconnects at once."""

    def first(call: Call) -> None:
        call.open()
        call.until("response.create")
        call.send_text(b'{"type": "\xff"}')

    with open_service(first, idle) as iw, iw.connect_webrtc() as rt:
        events = rt.subscribe()
        rt.respond()
        began = time.monotonic()
        while not isinstance(event := events.get(timeout=PATIENCE_SECONDS), SessionReconnected):
            pass
        assert "code 1005" in str(event.cause)
        assert time.monotonic() - began < SLACK_SECONDS


def test_a_connect_that_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an exception of a signal handler, no thread runs, and no place is in use."""
    from inworld_sync.webrtc import link

    def interrupt(*_: object) -> object:
        raise KeyboardInterrupt

    limiter = CountingLimiter(1)
    with open_service(idle, limiter=limiter) as iw:
        with monkeypatch.context() as patch:
            patch.setattr(link, "send_offer", interrupt)
            with pytest.raises(KeyboardInterrupt):
                iw.connect_webrtc()
        assert limiter.taken == 0
        iw.connect_webrtc().close()
    assert limiter.taken == 0


def test_a_connect_that_is_interrupted_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads end, whichever object owns them at the time of the exception."""
    start = threading.Thread.start

    def after(name: str) -> Callable[[threading.Thread], None]:
        def begin(thread: threading.Thread) -> None:
            start(thread)
            if thread.name.startswith(name):
                raise KeyboardInterrupt

        return begin

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    limiter = CountingLimiter(1)
    with open_service(idle, limiter=limiter) as iw:
        iw.connect_webrtc().close()
        for place, name, fault in (
            (threading.Thread, "start", after("inworld-executor")),
            (threading.Thread, "start", after("inworld-webrtc")),
            (RealtimeConnection, "__init__", interrupt),
            (SessionState, "begin", interrupt),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(place, name, fault)
                with pytest.raises(KeyboardInterrupt):
                    iw.connect_webrtc()
            assert limiter.taken == 0
            wait_for_end_of_loops()


def test_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def begin(thread: threading.Thread) -> None:
        if thread.name.startswith("inworld-webrtc"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with open_service(idle, max_retries=0) as iw:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", begin)
            with pytest.raises(ConnectError, match="no thread could start"):
                iw.connect_webrtc()
        iw.connect_webrtc().close()


def test_only_the_loopback_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without another interface uses the loopback address for every host."""
    from inworld_sync.webrtc import peer

    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: [])
    monkeypatch.setattr(peer, "_is_loopback", lambda _: False)
    with open_service(idle) as iw:
        iw.connect_webrtc().close()


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong arguments are refused before anything is sent."""
    with Inworld("key", base_url="http://127.0.0.1:9") as iw:
        with pytest.raises(ConfigError, match="offer_form must be one of"):
            iw.connect_webrtc(offer_form="xml")
        for servers in ([{}], [{"urls": 5}], ["turn:x"]):
            with pytest.raises(ConfigError, match="ice_servers must be mappings"):
                iw.connect_webrtc(ice_servers=servers)
        for url in ("http://turn.example", "stun:turn.example:99999", "stun:turn.example:0"):
            with pytest.raises(ConfigError, match="urls of ice_servers must be such as"):
                iw.connect_webrtc(ice_servers=[{"urls": url}])
        with pytest.raises(ConfigError, match="no place for speed"):
            iw.connect_webrtc(Session(speed=1.5), offer_form="session_config")
        with pytest.raises(ConfigError, match="input_format"):
            iw.connect_webrtc(Session(input_format=PcmFormat(16000)))
        with pytest.raises(ConfigError, match="reconnect_timeout"):
            iw.connect_webrtc(reconnect_timeout=-1)
        monkeypatch.setitem(sys.modules, "inworld_sync.webrtc.link", None)
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'inworld-sync\[webrtc\]'"):
            iw.connect_webrtc()


def test_credentials_of_ice_servers_stay_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Neither errors nor logs have the credential of a TURN server."""
    caplog.set_level("DEBUG", "inworld_sync")

    def respond(method: str, *_: object) -> tuple[int, str, bytes]:
        if method == "GET":
            return 200, "application/json", TURN_SERVERS.encode()
        return 200, "application/sdp", b"no"

    with serve_http(respond) as url, Inworld("key", base_url=url) as iw:
        with pytest.raises(RemoteProtocolError) as caught:
            iw.connect_webrtc(timeout=3.0)
    shown = repr(caught.getrepr(showlocals=True)) + str(caught.getrepr(showlocals=True))
    assert "SECRET-1" not in shown + caplog.text
    assert "'odd:x' is ignored" in caplog.text


def test_a_task_that_is_started_is_kept() -> None:
    """The garbage collector does not end a task for which no thread waits."""
    has_begun, has_ended = threading.Event(), threading.Event()

    async def waiting() -> None:
        try:
            has_begun.set()
            await asyncio.Event().wait()
        finally:
            has_ended.set()

    loop = LoopThread("test", logging.getLogger("inworld_sync"))
    loop.begin()
    loop.start(waiting())
    assert has_begun.wait(PATIENCE_SECONDS)
    # A call on the loop follows the present step of the task.
    is_idle = threading.Event()
    loop.call(is_idle.set)
    assert is_idle.wait(PATIENCE_SECONDS)
    gc.collect()
    was_kept = not has_ended.is_set()
    loop.stop()

    assert loop.join(PATIENCE_SECONDS)
    assert was_kept
    assert has_ended.is_set()


@pytest.fixture(autouse=True)
def no_foreign_threads() -> Iterator[None]:
    """Fail a test after which a thread of aiortc still runs."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
