"""The emulator makes tokens for signed requests, and accepts these tokens until they expire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from inworld_sync import AuthError, Inworld
from inworld_sync.emulator import Emulator
from inworld_sync.models.options import Options
from inworld_sync.models.tokens import TokenKind
from inworld_sync.rest.tokens import JwtAuth

from support.realtime_client import open_realtime
from support.tts_client import open_tts


def voices_with(server: Emulator, token: str) -> int:
    with Inworld(token=token, base_url=server.url) as iw:
        return len(iw.voices.list())


@pytest.mark.parametrize("kind", ["jwt", "session"])
def test_a_token_opens_the_service(inworld_local: Emulator, kind: TokenKind) -> None:
    """A token that was made with the key is accepted more than once."""
    with Inworld(inworld_local.api_key, base_url=inworld_local.url) as iw:
        token = iw.tokens.mint(kind)

    assert token.lifetime is not None
    assert 3598 < token.lifetime <= 3601
    assert voices_with(inworld_local, token.token) == voices_with(inworld_local, token.token) > 0


def test_a_single_use_token(inworld_local: Emulator) -> None:
    """A single-use token is accepted once."""
    with Inworld(inworld_local.api_key, base_url=inworld_local.url) as iw:
        token = iw.tokens.mint("single_use", lifetime=60)

    assert voices_with(inworld_local, token.token) > 0
    with pytest.raises(AuthError):
        voices_with(inworld_local, token.token)


def test_a_single_use_token_on_a_websocket(tone_server: Emulator) -> None:
    """A browser sends a single-use token as a subprotocol. The token opens one connection."""
    with Inworld(tone_server.api_key, base_url=tone_server.url) as iw:
        token = iw.tokens.mint("single_use", lifetime=60).token

    protocols = [f"bearer_{token}"]
    with open_tts(tone_server, headers={}, subprotocols=protocols) as client:
        client.create()
        assert "contextCreated" in client.result()
    with open_tts(tone_server, headers={}, subprotocols=protocols) as client:
        client.create()
        assert 7 == client.receive()["error"]["code"]


def test_realtime_refuses_a_single_use_token(tone_server: Emulator) -> None:
    """Realtime refuses a single-use token, and the token stays usable."""
    with Inworld(tone_server.api_key, base_url=tone_server.url) as iw:
        token = iw.tokens.mint("single_use", lifetime=60).token

    with pytest.raises(InvalidStatus) as caught:
        with open_realtime(tone_server, headers={"Authorization": f"Bearer {token}"}):
            pass
    assert 403 == caught.value.response.status_code
    assert voices_with(tone_server, token) > 0


def test_a_credential_that_renews_itself(inworld_local: Emulator) -> None:
    """A client with JwtAuth requests its own tokens, and the emulator accepts these tokens."""
    auth = JwtAuth(inworld_local.api_key, options=Options(base_url=inworld_local.url))
    with Inworld(auth=auth, base_url=inworld_local.url) as iw:
        assert iw.voices.list()
    auth.close()


def test_another_key(inworld_local: Emulator) -> None:
    """A signature by another key is refused. The error does not show the secret."""
    with Inworld("id:another-secret", base_url=inworld_local.url) as iw:
        for kind in ("jwt", "session", "single_use"):
            with pytest.raises(AuthError) as raised:
                iw.tokens.mint(kind)  # type: ignore[arg-type]
            assert "another-secret" not in str(raised.value)


def test_a_lifetime_that_is_refused(inworld_local: Emulator) -> None:
    """The emulator refuses a token request with a wrong body."""
    status, _ = ask(
        inworld_local, "/auth/v1/tokens", f"Basic {inworld_local.api_key}", {"single_use": False}
    )

    assert 400 == status


def test_a_request_that_is_repeated_or_old(inworld_local: Emulator) -> None:
    """A request that is sent a second time, and a request of another day, are refused."""
    path = "/auth/v1/tokens/token:generate"
    now = datetime.now(timezone.utc)
    header = signed(inworld_local.api_key, now, "0123456789a")
    old = signed(inworld_local.api_key, now - timedelta(days=1), "0123456789b")

    assert 200 == ask(inworld_local, path, header, {})[0]
    assert (401, 401, 401) == (
        ask(inworld_local, path, header, {})[0],
        ask(inworld_local, path, old, {})[0],
        ask(inworld_local, path, "Basic x", {})[0],
    )


def signed(api_key: str, date: datetime, nonce: str) -> str:
    """Sign a request without the code of the package."""
    key_id, _, secret = base64.b64decode(api_key).decode().partition(":")
    key = b"IW1" + secret.encode()
    text = date.strftime("%Y%m%d%H%M%S")
    method = "ai.inworld.engine.WorldEngine/GenerateToken"
    for part in (text, "api-engine.inworld.ai", method, nonce):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, b"iw1_request", hashlib.sha256).hexdigest()
    return f"IW1-HMAC-SHA256 ApiKey={key_id},DateTime={text},Nonce={nonce},Signature={signature}"


def ask(server: Emulator, path: str, header: str, body: dict[str, Any]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"Authorization": header})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
