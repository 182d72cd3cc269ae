"""
Reads and writes the JSON of models and routers.

The rules of a router are checked when the router is written. The rules are not checked when a
router is read, so a list also has the routers that this version would refuse. Names may be in
camelCase or snake_case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from inworld_sync.errors import ConfigError, RemoteProtocolError
from inworld_sync.models.catalog import ModelInfo, Router, RouterRoute, RouterVariant
from inworld_sync.wire.codec import Json, JsonObject, camel, dump_text, load_object, object_in
from inworld_sync.wire.faults import text_in

__all__ = ["read_model", "read_router", "router_body"]

_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_WEIGHTS = 100
_MODEL_FIELDS = frozenset({"model", "provider", "modelCreator", "pricing", "spec", "isSupported"})
_ROUTER_FIELDS = ("name", "displayName", "defaults", "routes", "defaultRoute")


def read_model(value: Json) -> ModelInfo:
    """
    Read a model of the list.

    Raises:
        RemoteProtocolError: The model has no name.
    """
    model = object_in(value, "a model")
    name, provider = text_in(model, "model"), text_in(model, "provider")
    if not name:
        raise RemoteProtocolError("expected a model with a name in model, got none")
    is_whole = not provider or name.startswith(f"{provider}/")
    spec = _object(model, "spec")
    capabilities = _object(spec, "capabilities")
    return ModelInfo(
        id=name if is_whole else f"{provider}/{name}",
        provider=provider,
        creator=text_in(model, "modelCreator"),
        input_modalities=_texts(spec, "inputModalities"),
        output_modalities=_texts(spec, "outputModalities"),
        context_length=_count(spec, "contextLength"),
        max_completion_tokens=_count(spec, "maxCompletionTokens"),
        parameters=_texts(spec, "supportedParameters"),
        capabilities=frozenset(name for name, each in capabilities.items() if each is True),
        pricing=_object(model, "pricing"),
        is_supported=model.get("isSupported") is not False,
        extra={name: each for name, each in model.items() if name not in _MODEL_FIELDS},
    )


def router_body(router: Router) -> JsonObject:
    """
    Write a router.

    Raises:
        ConfigError: The router breaks a rule, or a field cannot be written as JSON.
    """
    _check(router)
    body: dict[str, object] = {"name": router.id, **router.extra}
    if router.display_name is not None:
        body["displayName"] = router.display_name
    if router.defaults is not None:
        body["defaults"] = router.defaults
    if router.routes:
        body["routes"] = [
            {"route": _route_body(route), "condition": {"cel_expression": route.condition}}
            for route in router.routes
        ]
    if router.default_route is not None:
        body["defaultRoute"] = _route_body(router.default_route)
    return load_object(dump_text(body))


def _check(router: Router) -> None:
    """Check the rules that the service documents."""
    if not _ID.fullmatch(router.id):
        raise ConfigError(
            "the id of a router must be lowercase letters, digits and dashes, got "
            f"{router.id!r:.100}"
        )
    if router.default_route is None and not router.routes:
        raise ConfigError("a router must have a default_route or routes, got neither")
    if router.default_route is not None and router.default_route.condition is not None:
        raise ConfigError("default_route must have no condition; a route in routes may have one")
    every = [*router.routes, *([] if router.default_route is None else [router.default_route])]
    _check_ids("routes of a router", [route.id for route in every])
    for route in router.routes:
        if not (route.condition or "").strip():
            raise ConfigError(f"the route {route.id!r} must have a condition, or be default_route")
    for route in every:
        _check_ids(f"variants of the route {route.id!r}", [each.id for each in route.variants])
        if not all(each.model.strip() for each in route.variants):
            raise ConfigError(f"a variant of the route {route.id!r} must have a model")
        if abs(sum(each.weight for each in route.variants) - _WEIGHTS) > 1e-9:
            weights = ", ".join(f"{each.weight:g}" for each in route.variants) or "no variants"
            raise ConfigError(
                f"the weights of the route {route.id!r} must sum to {_WEIGHTS}, got {weights}"
            )


def _check_ids(what: str, ids: Sequence[str]) -> None:
    if not all(each.strip() for each in ids) or len({*ids}) < len(ids):
        raise ConfigError(
            f"the {what} must have different ids, none of them blank, got {ids!r:.200}"
        )


def _route_body(route: RouterRoute) -> Mapping[str, object]:
    return {
        "route_id": route.id,
        "variants": [
            {
                "variant": {"variant_id": each.id, "model_id": each.model, **each.extra},
                "weight": each.weight,
            }
            for each in route.variants
        ],
    }


def read_router(value: object) -> Router:
    """
    Read a router.

    Raises:
        RemoteProtocolError: The router cannot be read.
    """
    router = _camel_names(object_in(value, "a router"))
    # The name is a path such as routers/my-router.
    router_id = text_in(router, "name").rpartition("/")[2]
    if not router_id:
        raise RemoteProtocolError("expected a router with a name, got none")
    default = router.get("defaultRoute")
    routes = _list(router, "routes")
    defaults = router.get("defaults")
    try:
        return Router(
            router_id,
            None if default is None else _read_route(default, None),
            tuple(_read_conditional(each) for each in routes),
            display_name=text_in(router, "displayName") or None,
            defaults=defaults if isinstance(defaults, dict) else None,
            extra={name: each for name, each in router.items() if name not in _ROUTER_FIELDS},
        )
    except ConfigError as error:
        raise RemoteProtocolError(f"the service sent a router that is not valid: {error}") from None


def _read_conditional(value: Json) -> RouterRoute:
    entry = object_in(value, "a route of a router")
    condition = _camel_names(_object(entry, "condition"))
    return _read_route(entry.get("route"), text_in(condition, "celExpression"))


def _read_route(value: object, condition: str | None) -> RouterRoute:
    route = _camel_names(object_in(value, "a route of a router"))
    return RouterRoute(
        text_in(route, "routeId"),
        tuple(map(_read_variant, _list(route, "variants"))),
        condition,
    )


def _read_variant(value: Json) -> RouterVariant:
    entry = object_in(value, "a variant of a route")
    variant = object_in(entry.get("variant"), "a variant of a route")
    named = _camel_names(variant)
    # Proto-JSON leaves out zeros.
    weight = entry.get("weight", 0)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise RemoteProtocolError(f"expected a number as weight, got {type(weight).__name__}")
    known = ("variant_id", "variantId", "model_id", "modelId")
    return RouterVariant(
        text_in(named, "modelId"),
        weight,
        id=text_in(named, "variantId"),
        extra={name: each for name, each in variant.items() if name not in known},
    )


def _camel_names(body: JsonObject) -> JsonObject:
    return {camel(name): value for name, value in body.items()}


def _object(body: JsonObject, name: str) -> JsonObject:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _list(body: JsonObject, name: str) -> Iterable[Json]:
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RemoteProtocolError(f"expected an array as {name}, got {type(value).__name__}")
    return value


def _texts(body: JsonObject, name: str) -> tuple[str, ...]:
    value = body.get(name)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _count(body: JsonObject, name: str) -> int | None:
    value = body.get(name)
    return value if type(value) is int and value > 0 else None
