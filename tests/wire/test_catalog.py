"""Models and routers are read from JSON and written as JSON. Invalid routers are refused."""

from __future__ import annotations

from typing import Any

import pytest

from inworld_sync import (
    ConfigError,
    ModelInfo,
    RemoteProtocolError,
    Router,
    RouterRoute,
    RouterVariant,
)
from inworld_sync.wire.catalog import read_model, read_router, router_body

MODELS: list[tuple[dict[str, Any], ModelInfo]] = [
    ({"model": "gpt-4o", "provider": "openai"}, ModelInfo(id="openai/gpt-4o", provider="openai")),
    (
        {"model": "openai/gpt-4o", "provider": "openai"},
        ModelInfo(id="openai/gpt-4o", provider="openai"),
    ),
    ({"model": "m"}, ModelInfo(id="m")),
    ({"model": "m", "provider": None, "spec": None, "pricing": 5}, ModelInfo(id="m")),
    (
        {
            "model": "models/a",
            "provider": "inworld",
            "modelCreator": "b",
            "pricing": {"prompt": 0.1},
            "spec": {
                "inputModalities": ["text", "image", 5],
                "outputModalities": ["text"],
                "contextLength": 1000,
                "maxCompletionTokens": 0,
                "supportedParameters": ["seed"],
                "capabilities": {"vision": True, "reasoning": False, "levels": ["a"]},
            },
            "isSupported": False,
            "new": 1,
        },
        ModelInfo(
            id="inworld/models/a",
            provider="inworld",
            creator="b",
            input_modalities=("text", "image"),
            output_modalities=("text",),
            context_length=1000,
            parameters=("seed",),
            capabilities=frozenset({"vision"}),
            pricing={"prompt": 0.1},
            is_supported=False,
            extra={"new": 1},
        ),
    ),
]


@pytest.mark.parametrize(("value", "model"), MODELS)
def test_model(value: dict[str, Any], model: ModelInfo) -> None:
    """Each form in which services describe a model is read."""
    assert model == read_model(value)


@pytest.mark.parametrize("value", [None, 5, [], {}, {"model": 5}, {"model": ""}])
def test_wrong_model(value: Any) -> None:
    """A model without a name raises RemoteProtocolError."""
    with pytest.raises(RemoteProtocolError, match="expected"):
        read_model(value)


DEFAULT = RouterRoute("default", [RouterVariant("openai/gpt-4o")])
FULL = Router(
    "my-router",
    RouterRoute("default", [RouterVariant("a/b", 60, id="x"), RouterVariant("c", 40, id="y")]),
    [
        RouterRoute(
            "premium",
            RouterVariant("auto", id="v", extra={"web_search": {"engine": "exa"}}),
            'tier == "premium"',
        )
    ],
    display_name="Mine",
    defaults={"message_templates": [{"role": "system", "content": "Be brief."}]},
    extra={"new": 1},
)
BODY = {
    "name": "my-router",
    "new": 1,
    "displayName": "Mine",
    "defaults": {"message_templates": [{"role": "system", "content": "Be brief."}]},
    "routes": [
        {
            "route": {
                "route_id": "premium",
                "variants": [
                    {
                        "variant": {
                            "variant_id": "v",
                            "model_id": "auto",
                            "web_search": {"engine": "exa"},
                        },
                        "weight": 100,
                    }
                ],
            },
            "condition": {"cel_expression": 'tier == "premium"'},
        }
    ],
    "defaultRoute": {
        "route_id": "default",
        "variants": [
            {"variant": {"variant_id": "x", "model_id": "a/b"}, "weight": 60},
            {"variant": {"variant_id": "y", "model_id": "c"}, "weight": 40},
        ],
    },
}


def test_router() -> None:
    """A router is written as the service documents it, and read back unchanged."""
    assert BODY == router_body(FULL)
    assert FULL == read_router({**BODY, "name": "workspaces/w/routers/my-router"})
    assert "inworld/my-router" == FULL.model


def test_other_spellings() -> None:
    """A router is read, whether the names of its fields are in camelCase or in snake_case."""
    variant = {"variant": {"variantId": "v", "modelId": "m"}}
    route = {"routeId": "r", "variants": [variant]}
    expected = Router("a", RouterRoute("r", [RouterVariant("m", 0, id="v")]))

    assert expected == read_router({"name": "a", "default_route": route, "routes": None})


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"name": "a", "routes": 5},
        {"name": "a", "routes": [5]},
        {"name": "a", "routes": [{}]},
        {"name": "a", "defaultRoute": 5},
        {"name": "a", "defaultRoute": {"variants": 5}},
        {"name": "a", "defaultRoute": {"variants": [5]}},
        {"name": "a", "defaultRoute": {"variants": [{}]}},
        {"name": "a", "defaultRoute": {"variants": [{"variant": {}, "weight": "x"}]}},
        {"name": "a", "defaultRoute": {"variants": [{"variant": {}, "weight": -1}]}},
    ],
)
def test_wrong_router(value: object) -> None:
    """A router in an unexpected form raises RemoteProtocolError."""
    with pytest.raises(RemoteProtocolError):
        read_router(value)


def two(first: float, second: float) -> list[RouterVariant]:
    return [RouterVariant("a", first, id="x"), RouterVariant("b", second, id="y")]


@pytest.mark.parametrize(
    ("router", "words"),
    [
        (Router("My_Router", DEFAULT), "lowercase letters"),
        (Router("", DEFAULT), "lowercase letters"),
        (Router("a/b", DEFAULT), "lowercase letters"),
        (Router("a"), "default_route or routes"),
        (Router("a", RouterRoute("r", [])), "sum to 100, got no variants"),
        (Router("a", RouterRoute("r", two(50, 49))), "sum to 100, got 50, 49"),
        (Router("a", RouterRoute("r", [RouterVariant(" ")])), "must have a model"),
        (Router("a", RouterRoute("r", [RouterVariant("m", id=" ")])), "different ids"),
        (Router("a", RouterRoute("r", [RouterVariant("m", 50)] * 2)), "different ids"),
        (Router("a", RouterRoute("r", two(50, 50), "x == 'y'")), "default_route must have no"),
        (Router("a", None, [DEFAULT]), "must have a condition"),
        (Router("a", DEFAULT, [RouterRoute("default", two(50, 50), "x == 'y'")]), "different ids"),
        (Router("a", DEFAULT, defaults={"x": {1, 2}}), "JSON"),
    ],
)
def test_rules(router: Router, words: str) -> None:
    """A router that the service would refuse raises an error before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        router_body(router)

    assert words in str(caught.value)


@pytest.mark.parametrize("make", [
    lambda: Router(5),  # type: ignore[arg-type]
    lambda: Router("a", "b"),  # type: ignore[arg-type]
    lambda: Router("a", DEFAULT, ["b"]),  # type: ignore[list-item]
    lambda: RouterRoute("a", ["b"]),  # type: ignore[list-item]
    lambda: RouterVariant("a", "b"),  # type: ignore[arg-type]
])  # fmt: skip
def test_wrong_types(make: Any) -> None:
    """A value of a wrong type raises an error in the constructor."""
    with pytest.raises(ConfigError):
        make()
