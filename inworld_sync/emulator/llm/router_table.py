"""
Stores the routers of one server, checks their rules, and chooses a variant.

Source: Inworld Router API reference, "Create router", and the page "Conditional routing".
"""

from __future__ import annotations

import random
import re
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from inworld_sync.emulator.status import (
    ALREADY_EXISTS,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    Refused,
)

__all__ = ["RouterTable", "Variant", "router_id"]

_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# Matches a condition that the emulator evaluates: a name, ``==`` and a text in quotation marks.
_CONDITION: Final = re.compile(r"\s*(\w+)\s*==\s*(?:\"([^\"]*)\"|'([^']*)')\s*")
_MAX_ROUTERS: Final = 100
_FIELDS: Final = ("displayName", "defaults", "routes", "defaultRoute")


@attrs.frozen
class Variant:
    """
    The variant that a router has chosen.

    Attributes:
        model: The model that answers.
        instructions: The texts of the message templates of this variant and of the router.
    """

    model: str
    instructions: tuple[str, ...]


def router_id(name: str) -> str:
    """Return the id in a name such as ``routers/my-router``."""
    return name.rpartition("/")[2]


class RouterTable:
    """
    The routers of one server.

    Thread safety: any thread may use this object; one lock guards the table.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routers: dict[str, dict[str, Any]] = {}

    def list(self) -> list[dict[str, Any]]:
        """Return all routers, in the order of their creation."""
        with self._lock:
            return [*self._routers.values()]

    def get(self, name: str) -> dict[str, Any]:
        """Return a router; raise Refused if it does not exist."""
        with self._lock:
            found = self._routers.get(router_id(name))
        if found is None:
            raise Refused(NOT_FOUND, f"Router not found: {router_id(name)}")
        return found

    def create(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Add a router; raise Refused if it is invalid or already exists."""
        name = router_id(str(fields.get("name") or ""))
        if not _ID.fullmatch(name):
            raise Refused(
                INVALID_ARGUMENT, "name must have lowercase letters, digits and dashes only"
            )
        router = {"name": f"routers/{name}", **_known(fields)}
        _check(router)
        with self._lock:
            if name in self._routers:
                raise Refused(ALREADY_EXISTS, f"Router already exists: {name}")
            if len(self._routers) >= _MAX_ROUTERS:
                raise Refused(RESOURCE_EXHAUSTED, f"at most {_MAX_ROUTERS} routers may exist")
            self._routers[name] = router
        return router

    def update(
        self, name: str, fields: Mapping[str, Any], mask: Sequence[str] | None
    ) -> dict[str, Any]:
        """
        Replace the fields listed in *mask*. With None, replace the fields in *fields*.

        A field that is listed in *mask*, but is not in *fields*, is removed.
        """
        router = self.get(name)
        given = _known(fields)
        names = given if mask is None else [_camel(each) for each in mask]
        if unknown := [each for each in names if each not in _FIELDS]:
            raise Refused(INVALID_ARGUMENT, f"unknown field in update_mask: {unknown[0]}")
        kept = {field: value for field, value in router.items() if field not in names}
        changed = {**kept, **{field: given[field] for field in names if field in given}}
        _check(changed)
        with self._lock:
            self._routers[router_id(name)] = changed
        return changed

    def delete(self, name: str) -> None:
        """Remove a router; raise Refused if it does not exist."""
        self.get(name)
        with self._lock:
            self._routers.pop(router_id(name), None)

    def choose(self, name: str, metadata: Mapping[str, object], user: str) -> Variant | None:
        """
        Choose a variant of a router.

        Returns:
            The variant; None if no route matches.

        Raises:
            Refused: There is no such router.
        """
        router = self.get(name)
        route = next(
            (each["route"] for each in router.get("routes", ()) if _matches(each, metadata)),
            router.get("defaultRoute"),
        )
        if route is None:
            return None
        # One user always gets the same variant.
        draw = zlib.crc32(user.encode(errors="replace")) % 100 if user else random.randrange(100)  # noqa: S311
        variant = _drawn(route["variants"], draw)
        return Variant(
            variant["model_id"],
            (*_templates(router.get("defaults") or {}), *_templates(variant)),
        )


def _drawn(variants: Sequence[Mapping[str, Any]], draw: float) -> Mapping[str, Any]:
    """Return the variant that the number *draw*, 0 to 99, selects by weight."""
    for each in variants[:-1]:
        draw -= each["weight"]
        if draw < 0:
            return each["variant"]  # type: ignore[no-any-return]
    return variants[-1]["variant"]  # type: ignore[no-any-return]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields under the names that responses use. Null fields are left out."""
    named = {_camel(name): value for name, value in fields.items() if value is not None}
    return {name: named[name] for name in _FIELDS if name in named}


def _check(router: Mapping[str, Any]) -> None:
    routes = router.get("routes", [])
    if not isinstance(routes, list) or not all(isinstance(each, dict) for each in routes):
        raise Refused(INVALID_ARGUMENT, "routes must be a list of objects")
    for each in routes:
        condition = each.get("condition")
        expression = condition.get("cel_expression") if isinstance(condition, dict) else None
        if not isinstance(expression, str) or not _CONDITION.fullmatch(expression):
            raise Refused(
                INVALID_ARGUMENT,
                "a conditional route needs a cel_expression; the emulator evaluates "
                "name == 'value' only",
            )
        _check_route(each.get("route"))
    if router.get("defaultRoute") is not None:
        _check_route(router["defaultRoute"])
    elif not routes:
        raise Refused(INVALID_ARGUMENT, "a router needs routes or a defaultRoute")


def _check_route(route: object) -> None:
    if not isinstance(route, dict) or not isinstance(route.get("route_id"), str):
        raise Refused(INVALID_ARGUMENT, "a route needs a route_id")
    variants = route.get("variants")
    if not isinstance(variants, list) or not variants:
        raise Refused(INVALID_ARGUMENT, "a route needs at least one variant")
    weights = []
    for each in variants:
        variant = each.get("variant") if isinstance(each, dict) else None
        if not isinstance(variant, dict) or not all(
            isinstance(variant.get(name), str) for name in ("variant_id", "model_id")
        ):
            raise Refused(INVALID_ARGUMENT, "a variant needs a variant_id and a model_id")
        weight = each.get("weight")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
            raise Refused(INVALID_ARGUMENT, "a variant needs a weight of 0 or more")
        weights.append(weight)
    if sum(weights) != 100:
        raise Refused(INVALID_ARGUMENT, "the weights of a route must sum to exactly 100")


def _matches(conditional: Mapping[str, Any], metadata: Mapping[str, object]) -> bool:
    found = _CONDITION.fullmatch(conditional["condition"]["cel_expression"])
    return found is not None and metadata.get(found[1]) == (found[2] or found[3] or "")


def _templates(holder: Mapping[str, Any]) -> Iterator[str]:
    templates = holder.get("message_templates")
    for each in templates if isinstance(templates, list) else ():
        if isinstance(each, dict) and isinstance(each.get("content"), str):
            yield each["content"]
