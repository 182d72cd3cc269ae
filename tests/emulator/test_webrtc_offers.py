"""The endpoints of WebRTC: forms of an offer, credentials, CORS, wrong offers, faults and ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import json
import re
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from inworld_sync import Inworld
from inworld_sync.emulator import Emulator, Settings
from inworld_sync.emulator.realtime.settings import RealtimeSettings

from support.rtc_client import RtcClient, RtcConnection, open_rtc, post_offer, post_offer_to
from support.tone import ToneSynthesizer

CALLS = "/v1/realtime/calls"
WEBRTC = "/v1/realtime/webrtc"
ICE_SERVERS = "/v1/realtime/ice-servers"


def get(server: Emulator, path: str, method: str = "GET", **headers: str) -> Any:
    """Send a request without a body. Return the status, the text and the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.headers)


def message_of(body: str) -> str:
    message: str = json.loads(body)["message"]
    return message


# Forms.


def test_json_offer(rtc_server: Emulator) -> None:
    """
    An offer in JSON gets a JSON object. As on the service, the session of the offer is ignored.
    """
    with contextlib.closing(RtcConnection()) as rtc:
        body = {"sdp": rtc.offer(), "session": {"instructions": "Be short."}}
        status, text, headers = post_offer(rtc_server, body)
        answer = json.loads(text)
        rtc.accept(answer["sdp"])
        session = RtcClient(rtc).next("session.created")["session"]

    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert answer.keys() == {"id", "sdp", "ice_servers"}
    assert "" == session["instructions"]


def test_session_of_offer_can_be_applied() -> None:
    """With ``calls_apply_session``, the session of an offer is applied."""
    settings = Settings(realtime=RealtimeSettings(calls_apply_session=True))
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        contextlib.closing(RtcConnection()) as rtc,
    ):
        body = {"sdp": rtc.offer(), "session": {"instructions": "Be short."}}
        rtc.accept(json.loads(post_offer(server, body)[1])["sdp"])

        created = RtcClient(rtc).next("session.created")

    assert "Be short." == created["session"]["instructions"]


def test_offer_of_openapi_text(rtc_server: Emulator) -> None:
    """The path of the OpenAPI document accepts an offer, and applies its ``sessionConfig``."""
    config = {
        "instructions": "Be short.",
        "voice": "Ashley",
        "maxTokens": 100,
        "inputAudioFormat": "pcmu",
        "turnDetection": {"type": "server_vad", "silenceDurationMs": 900},
        "tools": [{"type": "function", "name": "look", "parameters": {}}],
        "toolChoice": "none",
    }
    with contextlib.closing(RtcConnection()) as rtc:
        body = {"sdp": rtc.offer(), "sessionConfig": config}
        status, text, _ = post_offer(rtc_server, body, WEBRTC)
        answer = json.loads(text)
        rtc.accept(answer["sdp"])
        session = RtcClient(rtc).next("session.created")["session"]

    assert (status, answer.keys()) == (200, {"sdp", "sessionId"})
    assert answer["sessionId"] == session["id"]
    assert ("Be short.", 100) == (session["instructions"], session["max_output_tokens"])
    audio = session["audio"]
    assert "Ashley" == audio["output"]["voice"]
    assert {"type": "audio/pcmu"} == audio["input"]["format"]
    assert 900 == audio["input"]["turn_detection"]["silence_duration_ms"]
    assert (["look"], "none") == (
        [each["name"] for each in session["tools"]],
        session["tool_choice"],
    )


def test_manual_turns_of_openapi_text(rtc_server: Emulator) -> None:
    """The turn detection ``none`` means that the client ends the turns."""
    with contextlib.closing(RtcConnection()) as rtc:
        body = {"sdp": rtc.offer(), "sessionConfig": {"turnDetection": {"type": "none"}}}
        rtc.accept(json.loads(post_offer(rtc_server, body, WEBRTC)[1])["sdp"])
        session = RtcClient(rtc).next("session.created")["session"]

    assert session["audio"]["input"]["turn_detection"] is None


def test_ice_servers(rtc_server: Emulator) -> None:
    """The list of the ICE servers is empty unless the settings have ICE servers."""
    server = {"urls": ["turn:127.0.0.1:3478"], "username": "u", "credential": "c"}
    settings = Settings(realtime=RealtimeSettings(ice_servers=(server,)))
    with Emulator(synthesizer=ToneSynthesizer(), settings=settings) as other:
        headers = {"Authorization": f"Basic {other.api_key}"}
        status, text, _ = get(other, ICE_SERVERS, **headers)
    headers = {"Authorization": f"Bearer {rtc_server.api_key}"}

    assert (200, {"ice_servers": [server]}) == (status, json.loads(text))
    assert {"ice_servers": []} == json.loads(get(rtc_server, ICE_SERVERS, **headers)[1])


# Credentials.


@pytest.mark.parametrize("kind", ["jwt", "session"])
def test_minted_token(rtc_server: Emulator, kind: Any) -> None:
    """A minted token starts a call."""
    with Inworld(base_url=rtc_server.url, api_key=rtc_server.api_key) as iw:
        token = iw.tokens.mint(kind).token
    with contextlib.closing(RtcConnection()) as rtc:
        status, answer, _ = post_offer(rtc_server, rtc.offer(), Authorization=f"Bearer {token}")
        assert status == 200, answer
        rtc.accept(answer)

        assert RtcClient(rtc).next("session.created")


@pytest.mark.parametrize("path", [CALLS, WEBRTC, ICE_SERVERS])
def test_refused_credentials(rtc_server: Emulator, path: str) -> None:
    """A missing, a wrong and a single-use credential are refused."""
    method = "GET" if path == ICE_SERVERS else "POST"
    with Inworld(base_url=rtc_server.url, api_key=rtc_server.api_key) as iw:
        single_use = iw.tokens.mint("single_use").token

    assert 401 == get(rtc_server, path, method)[0]
    for wrong in ("Basic d3Jvbmc6a2V5", "Bearer wrong", f"Bearer {single_use}"):
        assert 403 == get(rtc_server, path, method, Authorization=wrong)[0], wrong


# CORS.


@pytest.mark.parametrize("path", [CALLS, WEBRTC, ICE_SERVERS])
def test_preflight(rtc_server: Emulator, path: str) -> None:
    """A page of this machine may send its token and an SDP, and read the answer."""
    method = "GET" if path == ICE_SERVERS else "POST"
    page = {"Origin": "http://localhost:5000"}
    asked = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    status, _, headers = get(rtc_server, path, "OPTIONS", **page, **asked)
    refusal = get(rtc_server, path, method, **page)

    assert 200 == status
    assert page["Origin"] == headers["Access-Control-Allow-Origin"]
    assert method == headers["Access-Control-Allow-Methods"]
    assert "authorization,content-type" == headers["Access-Control-Allow-Headers"]
    assert page["Origin"] == refusal[2]["Access-Control-Allow-Origin"]


def test_page_of_another_site(rtc_server: Emulator) -> None:
    """A page of another site cannot start a call."""
    with contextlib.closing(RtcConnection()) as rtc:
        status, _, _ = post_offer(rtc_server, rtc.offer(), Origin="https://example.org")

    assert 403 == status


# Wrong offers.

AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n"
HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
PRINT = "a=fingerprint:sha-256 AA:BB\r\n"
# (body, part of the message)
WRONG: list[tuple[Any, str]] = [
    ("", "begins with v=0"),
    ("hello", "begins with v=0, got 'hello'"),
    (HEAD, "got none"),
    (HEAD + AUDIO, "got audio"),
    (HEAD + DATA, "got application"),
    (HEAD + AUDIO + AUDIO + DATA, "got audio, audio, application"),
    (HEAD + AUDIO + DATA + "m=video 9 UDP/TLS/RTP/SAVPF 97\r\n", "got audio, application, video"),
    (HEAD + AUDIO + DATA, "must have a fingerprint"),
    (HEAD + AUDIO + PRINT + DATA, "must have a fingerprint"),
    (HEAD + PRINT + AUDIO + DATA, "sdp is not an offer that can be answered"),
    (HEAD + AUDIO + PRINT + DATA + PRINT, "sdp is not an offer that can be answered"),
    (HEAD + PRINT + AUDIO + DATA.replace("mid:1", "mid:0"), "must have its own name"),
    (HEAD + PRINT + AUDIO + DATA.replace("mid:1", "x:1"), "must have its own name"),
    (HEAD + PRINT + "a=group:BUNDLE 0 2\r\n" + AUDIO + DATA, "list the sections 0 and 1, got 0 2"),
    (HEAD + "a=x" * 100_000, "at most 262144 characters"),
    ({}, "sdp must be a string"),
    ({"sdp": 5}, "sdp must be a string"),
    ({"sdp": "v=1"}, "begins with v=0"),
    ({"sdp": HEAD + AUDIO + DATA, "session": []}, "session must be an object"),
]


@pytest.mark.parametrize(("body", "message"), WRONG)
def test_wrong_offer(rtc_server: Emulator, body: Any, message: str) -> None:
    """A wrong offer gets 400 and a message that says what is wrong."""
    status, text, _ = post_offer(rtc_server, body)

    assert (400, 3) == (status, json.loads(text)["code"])
    assert message in message_of(text)


@pytest.mark.parametrize(
    ("changed", "by"),
    [
        ("a=ice-ufrag:", "a=x:"),
        ("a=rtcp-mux", "a=x"),
        ("opus/48000/2", "unknown/48000/2"),
        ("UDP/DTLS/SCTP", "nothing"),
    ],
)
def test_changed_offer(rtc_server: Emulator, changed: str, by: str) -> None:
    """An offer that lacks a part gets 400. The server continues."""

    def change(sdp: str) -> str:
        kept = re.sub(r"a=rtpmap:(0|8|9) .*\r\n", "", sdp).replace(changed, by)
        assert by in kept
        return kept

    with contextlib.closing(RtcConnection(changed_offer=change)) as rtc:
        status, text, _ = post_offer(rtc_server, rtc.offer())
    with open_rtc(rtc_server) as client:
        assert client.ask("Say one.")

    assert status == 400, text
    assert "sdp is not an offer that can be answered" in message_of(text)


def test_wrong_content_type(rtc_server: Emulator) -> None:
    """An offer with another content type gets 415."""
    status, text, _ = post_offer(rtc_server, "v=0", **{"Content-Type": "text/plain"})

    assert 415 == status
    assert "application/sdp or application/json" in message_of(text)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[1]", b"{"])
def test_unreadable_body(rtc_server: Emulator, body: bytes) -> None:
    """A body that is not a JSON object gets 400."""
    text = body.decode("latin-1")
    status, _, _ = post_offer(rtc_server, text, **{"Content-Type": "application/json"})

    assert 400 == status


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"voice": "Nobody"}, "session.audio.output.voice"),
        ({"inputAudioFormat": "mp3"}, "inputAudioFormat must be one of pcm16, pcmu, pcma"),
        ({"turnDetection": "none"}, "turnDetection must be an object"),
        ({"tools": {}}, "tools must be a list"),
        ({"mcpServers": [{}]}, "url must be a string"),
        ([], "sessionConfig must be an object"),
    ],
)
def test_wrong_session_config(rtc_server: Emulator, config: Any, message: str) -> None:
    """A wrong ``sessionConfig`` gets 400 before a call is started."""
    body = {"sdp": HEAD + PRINT + AUDIO + DATA, "sessionConfig": config}
    status, text, _ = post_offer(rtc_server, body, WEBRTC)

    assert 400 == status
    assert message in message_of(text)


def test_without_the_extra(rtc_server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiortc, an offer gets an error that names the extra."""
    monkeypatch.setitem(sys.modules, "aiortc", None)
    monkeypatch.delitem(sys.modules, "inworld_sync.emulator.rtc.call", raising=False)
    monkeypatch.delitem(sys.modules, "inworld_sync.emulator.rtc.tracks", raising=False)
    status, text, _ = post_offer(rtc_server, HEAD + PRINT + AUDIO + DATA)

    assert (501, 12) == (status, json.loads(text)["code"])
    assert "pip install 'inworld-sync[webrtc]'" in message_of(text)


# Networks.


def test_machine_with_loopback_only(rtc_server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call works if the machine has no network."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: [])
    with open_rtc(rtc_server) as client:
        assert client.ask("Say one.")


def test_answer_has_the_loopback_address_only() -> None:
    """The answer has only the loopback address, so other machines cannot send packets."""
    with (
        Emulator(synthesizer=ToneSynthesizer()) as server,
        contextlib.closing(RtcConnection()) as rtc,
    ):
        _, answer, _ = post_offer(server, rtc.offer())

    addresses = re.findall(r"a=candidate:\S+ \d udp \d+ (\S+)", answer)
    assert set(addresses) == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("listening", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["127.0.0.1", "::1"]),
        ("192.0.2.1", ["192.0.2.1"]),
        ("0.0.0.0", ["192.0.2.7", "127.0.0.1"]),
    ],
)
def test_addresses_of_a_call(listening: str, expected: list[str]) -> None:
    """
    A call uses the address on which the server listens. If the server listens on all addresses,
    the call uses all addresses of the machine.
    """
    from inworld_sync.emulator.rtc.call import _use_addresses

    class Connection:
        async def get_component_candidates(
            self, component: int, addresses: list[str], timeout: int
        ) -> list[str]:
            return addresses

    connection: Any = Connection()
    _use_addresses(connection, listening)
    found = asyncio.run(connection.get_component_candidates(1, ["192.0.2.7"]))

    assert expected == [str(ipaddress.ip_address(each)) for each in found]


def test_hidden_addresses(rtc_server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser may hide addresses behind names. The server does not look up these names."""

    def hide(sdp: str) -> str:
        hidden = sdp.replace(" 127.0.0.1 ", " 0c0e1a2b-3c4d-4e5f-8a9b-0123456789ab.local ")
        assert hidden != sdp
        return hidden

    async def look_up(*_: object) -> None:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr("aioice.ice.get_or_create_mdns_protocol", look_up)
    with open_rtc(rtc_server, changed_offer=hide) as client:
        assert client.ask("Say one.")


# Faults.


def test_refused_offer() -> None:
    """With the fault ``http_status``, an offer gets this status instead of an answer."""
    with Emulator(synthesizer=ToneSynthesizer(), faults=["http_status:503"]) as server:
        assert 503 == post_offer(server, HEAD)[0]


def test_bad_answer() -> None:
    """With the fault ``bad_sdp``, the answer is not SDP."""
    with (
        Emulator(synthesizer=ToneSynthesizer(), faults=["bad_sdp"]) as server,
        contextlib.closing(RtcConnection()) as rtc,
    ):
        status, answer, _ = post_offer(server, rtc.offer())

    assert 200 == status
    assert "v=0" not in answer


def test_ice_failure() -> None:
    """With the fault ``ice_failure``, the addresses in the answer do not respond."""
    with (
        Emulator(synthesizer=ToneSynthesizer(), faults=["ice_failure"]) as server,
        contextlib.closing(RtcConnection()) as rtc,
    ):
        _, answer, _ = post_offer(server, rtc.offer())
        rtc.accept(answer, opens=False)

        assert "a=candidate" in answer
        assert not rtc.opened.wait(0.5)


@pytest.mark.parametrize("fault", ["vanish@3", "drop@3"])
def test_end_after_events(fault: str) -> None:
    """After three events, the peer vanishes without a message, or closes the connection."""
    with (
        Emulator(synthesizer=ToneSynthesizer(), faults=[fault]) as server,
        open_rtc(server) as client,
    ):
        client.update()
        client.write("Say one.")
        client.receive()
        ended = client.rtc.ended.wait(0.5 if fault == "vanish@3" else 20)

    assert ended == (fault == "drop@3")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("duplicate@1", ["session.updated", "session.updated"]),
        ("lose@1", ["conversation.item.added"]),
        ("unknown_message@1", ["something.new", "session.updated"]),
    ],
)
def test_faults_of_events(fault: str, expected: list[str]) -> None:
    """A fault sends an event twice, drops an event, or sends an unknown event before an event."""
    with (
        Emulator(synthesizer=ToneSynthesizer(), faults=[fault]) as server,
        open_rtc(server) as client,
    ):
        client.send("session.update", session={})
        client.write("Hello.")

        assert expected == [client.receive()["type"] for _ in expected]


# Ends.


def no_calls(server: Emulator) -> bool:
    """
    Return whether all calls end in time.

    If a busy machine loses the last packet of a client, the checks of ICE need about 35 s to
    detect the end.
    """
    deadline = time.monotonic() + 80
    while server._shared.calls._calls and time.monotonic() < deadline:
        time.sleep(0.01)
    return not server._shared.calls._calls


def test_client_that_closes() -> None:
    """A call ends when the client closes the connection."""
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        with open_rtc(server) as client:
            client.ask("Count to ninety.")

        assert no_calls(server)


def test_client_that_vanishes() -> None:
    """If a client vanishes, the call ends after the idle timeout."""
    settings = Settings(idle_timeout=0.5)
    with Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server:
        with open_rtc(server) as client:
            client.rtc.vanish()
            assert no_calls(server)


def test_client_that_does_not_connect() -> None:
    """If a client does not use the answer, the call ends after the ICE timeout."""
    settings = Settings(realtime=RealtimeSettings(ice_timeout=0.3))
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        contextlib.closing(RtcConnection()) as rtc,
    ):
        assert 200 == post_offer(server, rtc.offer())[0]
        assert server._shared.calls._calls
        assert no_calls(server)


def test_session_that_ends() -> None:
    """When the session ends, the client gets the last message, then the end of the connection."""
    settings = Settings(realtime=RealtimeSettings(max_session_responses=1))
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        open_rtc(server) as client,
    ):
        client.ask("Say one.", output_modalities=["text"])
        last = client.receive()

        assert "SESSION_RESOURCES_EXHAUSTED" == last["errorType"]
        assert client.rtc.ended.wait(20)
        assert no_calls(server)


def test_limit_of_calls() -> None:
    """A call above ``max_connections`` gets 429. After a call ends, another call is accepted."""
    settings = Settings(max_connections=1)
    with Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server:
        with open_rtc(server), contextlib.closing(RtcConnection()) as rtc:
            assert 429 == post_offer(server, rtc.offer())[0]
        assert no_calls(server)
        # A refused offer does not count as a call.
        assert 400 == post_offer(server, HEAD + PRINT + AUDIO + DATA)[0]

        with open_rtc(server) as client:
            assert client.ask("Say one.")


def test_server_that_closes() -> None:
    """When the server closes, its calls and threads end, and the client detects the end."""
    before = set(threading.enumerate())
    with contextlib.closing(RtcConnection()) as rtc:
        with Emulator(synthesizer=ToneSynthesizer()) as server:
            rtc.accept(post_offer(server, rtc.offer())[1])
            client = RtcClient(rtc)
            client.ask("Count to ninety.")

        assert rtc.ended.wait(20)
    assert not set(threading.enumerate()) - before


def test_second_start() -> None:
    """A server that was closed and started again accepts calls."""
    server = Emulator(synthesizer=ToneSynthesizer())
    for _ in range(2):
        with server, open_rtc(server) as client:
            assert client.ask("Say one.")


def test_calls_at_once(rtc_server: Emulator) -> None:
    """Three calls at the same time get three separate replies."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_rtc(rtc_server)) for _ in range(3)]
        for number, client in enumerate(clients):
            client.write(f"Say number {number}.")
            client.send("response.create")
        for number, client in enumerate(clients):
            response = client.next("response.done")["response"]
            assert f"number {number}." == response["output"][0]["content"][0]["transcript"]


# The program prints the address and the key, and exits without close() when standard input ends.
UNCLOSED = """
import sys
from inworld_sync.emulator import Emulator
server = Emulator().start()
print(server.port, server.api_key, flush=True)
sys.stdin.read()
"""


def test_exit_without_close() -> None:
    """If a process exits during a call without calling ``close``, the call ends cleanly."""
    with (
        subprocess.Popen(
            # See the warnings in pyproject.toml.
            [sys.executable, "-W", "ignore:As the c extension:RuntimeWarning", "-c", UNCLOSED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        contextlib.closing(RtcConnection()) as rtc,
    ):
        assert process.stdout is not None
        port, api_key = process.stdout.readline().split()
        rtc.accept(post_offer_to(int(port), api_key, rtc.offer())[1])
        RtcClient(rtc).next("session.created")
        output, errors = process.communicate(timeout=60)
        ended = rtc.ended.wait(20)

    assert (0, "", "") == (process.returncode, output, errors)
    assert ended
