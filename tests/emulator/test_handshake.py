"""Every form of credential is accepted, and is checked at the documented time."""

from __future__ import annotations

import base64
import urllib.parse
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedOK

from inworld_sync import AuthError, Inworld
from inworld_sync.emulator import Emulator, Settings

from support.tone import ToneSynthesizer
from support.tts_client import TTS_PATH, TtsClient, open_tts


def created(client: TtsClient) -> bool:
    client.create()
    return "contextCreated" in client.result()


def fatal_error(client: TtsClient) -> dict[str, Any]:
    """Send a first message. Return the error, which must be followed by CLOSE 1000."""
    client.create()
    error = client.receive()["error"]
    assert isinstance(error, dict)
    with pytest.raises(ConnectionClosedOK) as caught:
        client.receive()
    assert caught.value.rcvd is not None
    assert 1000 == caught.value.rcvd.code
    return error


def test_key_has_the_form_of_the_portal(tone_server: Emulator) -> None:
    """The key is base64 of an id and a secret, joined by a colon."""
    assert 1 == base64.b64decode(tone_server.api_key, validate=True).count(b":")


def test_own_key() -> None:
    """The caller can set the key."""
    key = base64.b64encode(b"me:secret").decode()
    with (
        Emulator(synthesizer=ToneSynthesizer(), api_key=key) as server,
        open_tts(server, headers={"Authorization": f"Basic {key}"}) as client,
    ):
        assert created(client)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_basic_header(tone_server: Emulator, scheme: str) -> None:
    """The header has the word "Basic", in upper or lower case, and then the unchanged key."""
    with open_tts(tone_server, headers={"Authorization": f"{scheme} {tone_server.api_key}"}) as c:
        assert created(c)


@pytest.mark.parametrize("name", ["authorization", "Authorization"])
def test_query(tone_server: Emulator, name: str) -> None:
    """Browsers can send the credential in the query. The name may be in upper or lower case."""
    value = urllib.parse.quote(f"Basic {tone_server.api_key}")
    with open_tts(tone_server, headers={}, path=f"{TTS_PATH}?{name}={value}") as client:
        assert created(client)


def test_subprotocol_is_accepted_and_echoed(tone_server: Emulator) -> None:
    """Clients offer the unpadded key as a subprotocol. The server returns this subprotocol."""
    offered = f"basic_{tone_server.api_key.rstrip('=')}"
    with open_tts(tone_server, headers={}, subprotocols=[offered, "other"]) as client:
        assert created(client)
        assert offered == client.connection.subprotocol


def test_percent_encoded_colon(tone_server: Emulator) -> None:
    """A path whose colon is percent-encoded is accepted."""
    with open_tts(tone_server, path=TTS_PATH.replace(":", "%3A")) as client:
        assert created(client)


def test_no_credential(tone_server: Emulator) -> None:
    """Without a credential, the upgrade is accepted, and the first message gets code 16."""
    with open_tts(tone_server, headers={}) as client:
        error = fatal_error(client)

    assert (16, "authentication is required") == (error["code"], error["message"])
    (detail,) = error["details"]
    assert ("SESSION_TOKEN_INVALID", "NO_RETRY") == (detail["errorType"], detail["reconnectType"])


# A wrong key, a wrong key with the scheme Bearer, and a wrong key of only four characters.
@pytest.mark.parametrize("header", ["Basic abcdefgh", "Bearer abcdefgh", "Basic abcd"])
def test_bad_key(tone_server: Emulator, header: str) -> None:
    """
    An upgrade with a bad key is accepted. The later error has the key's first four characters.
    """
    with open_tts(tone_server, headers={"Authorization": header}) as client:
        error = fatal_error(client)

    expected = 'Invalid credentials provided for API key "abcd***"'
    assert {"code": 7, "message": expected, "details": []} == error


def test_bearer_with_the_key(tone_server: Emulator) -> None:
    """At a WebSocket upgrade, the key works only with the scheme Basic."""
    headers = {"Authorization": f"Bearer {tone_server.api_key}"}
    with open_tts(tone_server, headers=headers) as client:
        assert 7 == fatal_error(client)["code"]


@pytest.mark.parametrize("query", ["key=", "api_key="])
def test_other_query_names_are_no_credential(tone_server: Emulator, query: str) -> None:
    """A query parameter with another name is not a credential."""
    path = f"{TTS_PATH}?{query}{tone_server.api_key}"
    with open_tts(tone_server, headers={}, path=path) as client:
        assert 16 == fatal_error(client)["code"]


def test_no_message_before_the_first_request(tone_server: Emulator) -> None:
    """The server sends nothing on an idle connection without a credential."""
    with open_tts(tone_server, headers={}) as client, pytest.raises(TimeoutError):
        client.connection.recv(timeout=0.1)


def test_token(tone_server: Emulator) -> None:
    """A token is valid until it expires. A connection that was opened with the token continues."""
    credentials = tone_server._shared.credentials
    token = credentials.issue_token(60)
    headers = {"Authorization": f"Bearer {token}"}
    with open_tts(tone_server, headers=headers) as client:
        assert created(client)
        with open_tts(tone_server, path=f"{TTS_PATH}?authorization=Bearer%20{token}", headers={}):
            pass
        tone_server.expire_tokens()
        client.close()
        client.until("contextClosed")
    with open_tts(tone_server, headers=headers) as client:
        error = fatal_error(client)
    assert (16, "SESSION_TOKEN_EXPIRED") == (error["code"], error["details"][0]["errorType"])


def test_single_use_token(tone_server: Emulator) -> None:
    """A single-use token opens one TTS WebSocket. Realtime refuses such a token."""
    token = tone_server._shared.credentials.issue_token(60, is_single_use=True)
    path = f"{TTS_PATH}?authorization=Bearer%20{token}"
    with Inworld(token=token, base_url=tone_server.url) as iw, pytest.raises(AuthError):
        iw.realtime.connect()
    with open_tts(tone_server, path=path, headers={}) as client:
        assert created(client)
    with open_tts(tone_server, path=path, headers={}) as client:
        assert 7 == fatal_error(client)["code"]


def test_unchecked_credentials() -> None:
    """With check_credentials=False, every client is accepted."""
    settings = Settings(check_credentials=False)
    with (
        Emulator(synthesizer=ToneSynthesizer(), settings=settings) as server,
        open_tts(server, headers={}) as client,
    ):
        assert created(client)


def test_response_headers(tone_server: Emulator) -> None:
    """The response to the upgrade has a request id of 32 hex digits and the elapsed time."""
    with open_tts(tone_server) as client:
        response = client.connection.response
        assert response is not None
        request_id = response.headers["x-inworld-request-id"]

        assert (32, True) == (len(request_id), request_id.isalnum())
        assert response.headers["x-envoy-upstream-service-time"].isdigit()
