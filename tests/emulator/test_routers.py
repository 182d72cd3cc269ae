"""The emulator's list of models and its routers, tested without the client of this package."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from inworld_sync.emulator import Emulator

from support.tone import ToneSynthesizer

PATH = "/router/v1/routers"


def route(*weights: float, **fields: Any) -> dict[str, Any]:
    variants = [
        {"variant": {"variant_id": f"v{number}", "model_id": "openai/gpt-4o"}, "weight": weight}
        for number, weight in enumerate(weights)
    ]
    return {"route_id": "r", "variants": variants, **fields}


ROUTER = {"name": "routers/a", "displayName": "A", "default_route": route(100)}


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator(synthesizer=ToneSynthesizer()) as server:
        yield server


def send(
    server: Emulator, method: str, path: str = PATH, body: object = None
) -> tuple[int, dict[str, Any]]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Basic {server.api_key}"}
        connection.request(method, path, None if body is None else data, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_models(server: Emulator) -> None:
    """The list of models has the fields of the documentation."""
    status, body = send(server, "GET", "/llm/v1alpha/models")

    assert 200 == status
    assert {"model", "provider", "modelCreator", "pricing", "spec", "isSupported"} == body[
        "models"
    ][0].keys()


def test_operation(server: Emulator) -> None:
    """The answer to a create or an update is an operation that is done and has the router."""
    status, operation = send(server, "POST", body=ROUTER)

    assert (200, True) == (status, operation["done"])
    assert operation["response"] == {
        "name": "routers/a",
        "displayName": "A",
        "defaultRoute": route(100),
    }
    assert (200, operation["response"]) == send(server, "GET", f"{PATH}/a")
    assert 200 == send(server, "PATCH", f"{PATH}/a", {"displayName": "B"})[0]
    assert "B" == send(server, "GET", f"{PATH}/a")[1]["displayName"]


def test_update_mask(server: Emulator) -> None:
    """An update replaces or removes exactly the fields of its mask."""
    send(server, "POST", body=ROUTER)
    send(server, "PATCH", f"{PATH}/a?update_mask=display_name", {"defaultRoute": route(50, 50)})

    assert {"name": "routers/a", "defaultRoute": route(100)} == send(server, "GET", f"{PATH}/a")[1]
    for mask in ("name", "x"):
        assert 400 == send(server, "PATCH", f"{PATH}/a?update_mask={mask}", ROUTER)[0]


def test_pages(server: Emulator) -> None:
    """The list of routers is returned in pages."""
    for name in ("a", "b", "c"):
        assert 200 == send(server, "POST", body={**ROUTER, "name": name})[0]
    first = send(server, "GET", f"{PATH}?page_size=2")[1]
    rest = send(server, "GET", f"{PATH}?page_size=2&page_token={first['nextPageToken']}")[1]

    assert ["routers/a", "routers/b"] == [each["name"] for each in first["routers"]]
    assert ("", ["routers/c"]) == (
        rest["nextPageToken"],
        [each["name"] for each in rest["routers"]],
    )
    assert 400 == send(server, "GET", f"{PATH}?page_size=-1")[0]
    assert 400 == send(server, "GET", f"{PATH}?page_token=x")[0]


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        [],
        {},
        {"name": "A b", "defaultRoute": route(100)},
        {"name": 5, "defaultRoute": {}},
        {"name": "a"},
        {"name": "a", "defaultRoute": 5},
        {"name": "a", "defaultRoute": route()},
        {"name": "a", "defaultRoute": route(99)},
        {"name": "a", "defaultRoute": route(-1, 101)},
        {"name": "a", "defaultRoute": route(100, route_id=5)},
        {"name": "a", "defaultRoute": {"route_id": "r", "variants": ["x"]}},
        {"name": "a", "defaultRoute": {"route_id": "r", "variants": [{"weight": 100}]}},
        {"name": "a", "routes": "x"},
        {"name": "a", "routes": [{"route": route(100)}]},
        {"name": "a", "routes": [{"route": route(100), "condition": {"cel_expression": "x > 1"}}]},
        {"name": "a", "routes": [{"condition": {"cel_expression": "x == 'y'"}}]},
    ],
)
def test_invalid_routers(server: Emulator, body: object) -> None:
    """A router that breaks a rule is refused with code 3."""
    status, error = send(server, "POST", body=body)

    assert (400, 3) == (status, error["code"])


def test_router_that_names_a_router(server: Emulator) -> None:
    """A router cannot have a router as its model, so a request to such a router gets 404."""
    looped = {"route_id": "r", "variants": [
        {"variant": {"variant_id": "v", "model_id": "inworld/loop"}, "weight": 100}
    ]}  # fmt: skip
    send(server, "POST", body={"name": "loop", "defaultRoute": looped})
    chat = {"model": "inworld/loop", "messages": [{"role": "user", "content": "x"}]}

    assert 404 == send(server, "POST", "/v1/chat/completions", chat)[0]


def test_no_route(server: Emulator) -> None:
    """A request that no route matches is refused with the message of the service."""
    conditional = {"route": route(100), "condition": {"cel_expression": 'tier == "gold"'}}
    send(server, "POST", body={"name": "a", "routes": [conditional]})
    chat = {"model": "inworld/a", "messages": [{"role": "user", "content": "x"}]}
    status, error = send(server, "POST", "/v1/chat/completions", chat)

    assert (400, True) == (status, "No route matched" in error["error"]["message"])
    chat["extra_body"] = {"metadata": {"tier": "gold"}}  # type: ignore[assignment]
    chat["user"] = "\ud800"  # this is one half of a surrogate pair
    assert 200 == send(server, "POST", "/v1/chat/completions", chat)[0]


def test_limit(server: Emulator) -> None:
    """The number and the size of routers are limited, so that they cannot fill the memory."""
    found = [send(server, "POST", body={**ROUTER, "name": f"a{n}"})[0] for n in range(101)]

    assert ([200] * 100, 413) == (found[:-1], found[-1])
    assert 413 == send(server, "PATCH", f"{PATH}/a1", {"displayName": "x" * 300_000})[0]
