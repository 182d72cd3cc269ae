"""``inworld-sync token``: the printed token, and the secrets that are never printed."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import pytest

from inworld_sync import Inworld
from inworld_sync.emulator import Emulator

from support.commands import Run
from support.peers import Peer, serve


def test_a_token(run: Run, server: Emulator) -> None:
    """Only the token is printed on standard output, and the service accepts this token."""
    done = run("token", "--base-url", server.url)
    token = done.out.decode()
    with Inworld(token=token, base_url=server.url) as iw:
        assert iw.voices.list()

    assert (0, "", 1) == (done.status, done.err, token.count("\n"))


@pytest.mark.parametrize("kind", ["jwt", "session", "single_use"])
def test_json(run: Run, server: Emulator, kind: str) -> None:
    """With --json, the output also has the kind, the expiry and the lifetime of the token."""
    done = run("token", "--kind", kind, "--base-url", server.url, "--json")
    found = json.loads(done.out)

    assert {"kind", "token", "expires_at", "lifetime", "session_id"} == found.keys()
    assert kind == found["kind"]
    assert datetime.fromisoformat(found["expires_at"]).tzinfo is not None
    expected = 300 if kind == "single_use" else 3600
    assert expected - 2 < found["lifetime"] <= expected + 1


def test_options(run: Run) -> None:
    """The request to the service has the value of each option."""
    bodies: list[Any] = []

    def answer(peer: Peer) -> None:
        bodies.append(json.loads(peer.read_request()[1]))
        peer.send(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"token":"t"}')

    with serve(answer) as service:
        url = f"http://127.0.0.1:{service.port}"
        run("token", "--workspace", "mine", "--base-url", url)
        options = ("--lifetime", "90", "--reference-id", "call 7")
        done = run("token", "--kind", "single_use", *options, "--base-url", url)

    assert b"t\n" == done.out
    assert ["workspaces/mine"] == bodies[0]["resources"]
    assert {"single_use": True, "ttl": "90s", "client_reference_id": "call 7"} == bodies[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kind", "other"), "is not one of"),
        (("--lifetime", "60"), "--lifetime needs a token of the kind single_use"),
        (("--kind", "single_use", "--lifetime", "0"), "--lifetime must be above 0"),
        (("--kind", "single_use", "--lifetime", "nan"), "--lifetime must be"),
        (("--kind", "single_use", "--lifetime", "5000"), "--lifetime must be 1 to 3600 seconds"),
        (("--kind", "session", "--workspace", "w"), "--workspace needs a token of the kind"),
        (("--workspace", "a b"), "--workspace must be the name of a workspace"),
        (("--reference-id", "x"), "--reference-id needs a token"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], words: str) -> None:
    """With a wrong option, the exit status is 2 and the message names the option."""
    done = run("token", *arguments, "--base-url", "http://127.0.0.1:9")

    assert (2, b"") == (done.status, done.out)
    assert words in done.err


def test_failures(run: Run, server: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The status is 3 for a refused key, and 4 without a network. The output has no part of the key.
    """
    key = base64.b64encode(b"other-id:topsecret").decode()
    monkeypatch.setenv("INWORLD_API_KEY", key)
    refused = [
        run("token", "--kind", kind, "--base-url", server.url) for kind in ("jwt", "single_use")
    ]
    lost = run("token", "--base-url", "http://127.0.0.1:9")

    assert [3, 3, 4] == [done.status for done in (*refused, lost)]
    for done in (*refused, lost):
        assert b"" == done.out
        assert not any(part in done.err for part in ("topsecret", key, key[:4]))
