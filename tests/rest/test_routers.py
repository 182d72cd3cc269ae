"""Tests of models and routers over real sockets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from inworld_sync import (
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequestError,
    Inworld,
    NotFoundError,
    RemoteProtocolError,
    Router,
    RouterRoute,
    RouterVariant,
    ServiceError,
)

from support.peers import Peer, serve
from support.scripted import KEY

ROUTER = Router("my-router", RouterRoute("default", [RouterVariant("openai/gpt-4o")]))
DESCRIBED = {
    "name": "routers/my-router",
    "defaultRoute": {
        "route_id": "default",
        "variants": [
            {"variant": {"variant_id": "default", "model_id": "openai/gpt-4o"}, "weight": 100}
        ],
    },
}
Sent = list[tuple[str, str, Any]]


@contextmanager
def answering(*answers: object) -> Iterator[tuple[Inworld, Sent]]:
    """Yield a client, and the requests that its server gets. The server repeats the last answer."""
    sent: Sent = []

    def script(peer: Peer) -> None:
        while True:
            head, body = peer.read_request()
            method, target, _ = head.decode().split(" ", 2)
            sent.append((method, target, json.loads(body) if body else None))
            answer = json.dumps(answers[min(len(sent), len(answers)) - 1]).encode()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    with (
        serve(script) as server,
        Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}") as iw,
    ):
        yield iw, sent


def test_models() -> None:
    """The list of models needs one request. In the answer, null means an empty list."""
    with answering({"models": [{"model": "a", "provider": "b"}]}, {"models": None}) as (iw, sent):
        assert ["b/a"] == [model.id for model in iw.models.list()]
        assert [] == iw.models.list()

    assert [("GET", "/llm/v1alpha/models", None)] * 2 == sent


@pytest.mark.parametrize("body", [[], {"models": {}}, {"models": [5]}])
def test_wrong_models(body: object) -> None:
    """A list that cannot be read raises a protocol error."""
    with answering(body) as (iw, _), pytest.raises(RemoteProtocolError, match="expected"):
        iw.models.list()


def test_create_waits_for_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """``create`` polls the operation of a router until the operation is done."""
    monkeypatch.setattr("inworld_sync.rest.routers._FIRST_DELAY_SECONDS", 0.001)
    operation = {"name": "operations/a b", "done": False}
    with answering(operation, operation, {**operation, "done": True, "response": DESCRIBED}) as (
        iw,
        sent,
    ):
        assert ROUTER == iw.routers.create(ROUTER)

    assert [
        ("POST", "/router/v1/routers"),
        ("GET", "/lro/v1alpha/operations/a%20b"),
        ("GET", "/lro/v1alpha/operations/a%20b"),
    ] == [each[:2] for each in sent]
    assert {**DESCRIBED, "name": "my-router"} == sent[0][2]


def test_operation_without_a_router() -> None:
    """If the answer of the operation has no router, the client requests the router."""
    with answering({"done": True}, DESCRIBED) as (iw, sent):
        assert ROUTER == iw.routers.create(ROUTER)

    assert ("GET", "/router/v1/routers/my-router", None) == sent[1]


def test_operation_that_fails() -> None:
    """If an operation fails, the code of the operation selects the class of the raised error."""
    error = {"code": 3, "message": "no such model", "details": []}
    with answering({"name": "o", "done": True, "error": error}) as (iw, _):
        with pytest.raises(InvalidRequestError, match="no such model"):
            iw.routers.create(ROUTER)


@pytest.mark.parametrize("operation", [{}, {"done": False}, {"name": 5}])
def test_operation_without_a_name(operation: object) -> None:
    """An operation that cannot be polled raises a protocol error."""
    with answering(operation) as (iw, _), pytest.raises(RemoteProtocolError, match="operation"):
        iw.routers.create(ROUTER)


def test_operation_that_never_ends() -> None:
    """The timeout limits the whole call, with all its requests."""
    with answering({"name": "o"}) as (iw, _), pytest.raises(DeadlineExceeded, match="creating"):
        iw.routers.create(ROUTER, timeout=0.5)


def test_create_is_not_repeated() -> None:
    """If the connection breaks after a request, the request is not repeated."""
    sent: list[bytes] = []

    def script(peer: Peer) -> None:
        sent.append(peer.read_request()[1])

    with serve(script) as server:
        with Inworld(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}") as iw:
            with pytest.raises(ConnectionLost):
                iw.routers.create(ROUTER)

    assert 1 == len(sent)


def test_pages() -> None:
    """All pages of the list are requested."""
    first = {"routers": [DESCRIBED], "nextPageToken": "t"}
    with answering(first, {"routers": None}) as (iw, sent):
        assert [ROUTER] == iw.routers.list()

    targets = [target for _, target, _ in sent]
    assert "/router/v1/routers?page_size=100&page_token=t" == targets[1]


def test_router_without_a_name() -> None:
    """A router that has no name raises a protocol error."""
    with answering({}) as (iw, _), pytest.raises(RemoteProtocolError, match="a router with a name"):
        iw.routers.get("a")


def test_pages_in_a_circle() -> None:
    """A page token that repeats raises an error."""
    with answering({"routers": [], "nextPageToken": "t"}) as (iw, _):
        with pytest.raises(RemoteProtocolError, match="same page"):
            iw.routers.list()


def test_update_replaces_all_settings() -> None:
    """An update names every field, so the service removes each field that has no value."""
    with answering({"done": True, "response": DESCRIBED}) as (iw, sent):
        iw.routers.update(ROUTER)

    method, target, _ = sent[0]
    mask = "display_name%2Cdefaults%2Croutes%2Cdefault_route"
    assert ("PATCH", f"/router/v1/routers/my-router?update_mask={mask}") == (method, target)


def test_nothing_is_sent_for_wrong_arguments() -> None:
    """Wrong arguments are refused before a request."""
    with answering({}) as (iw, sent):
        for call in (iw.routers.get, iw.routers.delete):
            for name in ("", " ", "inworld/", None, 5, "\ud800"):
                with pytest.raises(ConfigError, match="router must be"):
                    call(name)  # type: ignore[arg-type]
        for save in (iw.routers.create, iw.routers.update):
            for router in (Router("a"), "a", {"name": "a"}):
                with pytest.raises(ConfigError, match="router"):
                    save(router)  # type: ignore[arg-type]

    assert [] == sent


def test_id_is_quoted() -> None:
    """An id is quoted in a path, so the id cannot select another path."""
    with answering(DESCRIBED) as (iw, sent):
        iw.routers.get("../v1/a?b#c")

    assert "/router/v1/routers/..%2Fv1%2Fa%3Fb%23c" == sent[0][1]


# With the emulator.


def test_life_of_a_router(iw: Inworld) -> None:
    """A router is created, listed, changed and deleted."""
    changed = Router("my-router", RouterRoute("other", [RouterVariant("auto")]))

    assert ROUTER == iw.routers.create(ROUTER)
    with pytest.raises(ServiceError, match="exists") as caught:
        iw.routers.create(ROUTER)
    assert 409 == caught.value.status
    assert [ROUTER] == iw.routers.list()
    assert changed == iw.routers.update(changed)
    assert changed == iw.routers.get("inworld/my-router")
    iw.routers.delete("my-router")
    assert [] == iw.routers.list()
    for call in (iw.routers.get, iw.routers.delete):
        with pytest.raises(NotFoundError):
            call("my-router")
    with pytest.raises(NotFoundError):
        iw.routers.update(changed)


def test_routing(iw: Inworld) -> None:
    """A condition selects a route. Each user keeps one variant. The router's prompt comes first."""
    halves = [RouterVariant("openai/gpt-4o", 50, id="a"), RouterVariant("auto", 50, id="b")]
    premium = RouterRoute("premium", [RouterVariant("anthropic/claude-opus-4-6")], "tier == 'gold'")
    prompt = {"message_templates": [{"role": "system", "content": "My name is Eve."}]}
    router = Router("r", RouterRoute("default", halves), [premium], defaults=prompt)
    iw.routers.create(router)

    gold = iw.llm.chat("What is my name?", model=router.model, metadata={"tier": "gold"})
    assert ("anthropic/claude-opus-4-6", "Your name is Eve.") == (gold.model, gold.text)
    for user in map(str, range(5)):
        models = {iw.llm.chat("x", model=router.model, user=user).model for _ in range(5)}
        assert 1 == len(models)
    users = {iw.llm.chat("x", model=router.model, user=str(user)).model for user in range(30)}
    assert {"openai/gpt-4o", "openai/gpt-4o-mini"} == users


def test_fallback(iw: Inworld) -> None:
    """If a model of a route does not exist, the next model answers."""
    answer = iw.llm.chat("x", model="no/a", fallback_models=["inworld/no", "openai/gpt-4o"])
    attempts = answer.metadata["attempts"]
    assert isinstance(attempts, list)

    assert "openai/gpt-4o" == answer.model
    assert [("no/a", False), ("inworld/no", False), ("openai/gpt-4o", True)] == [
        (each["model"], each["success"]) for each in itertools.chain(attempts)
    ]
