"""
Serves routers over HTTP. In the service, creating and updating a router are long-running
operations. In the emulator, these operations end at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.llm.router_table import router_id
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, Refused

__all__ = ["ROUTES"]

_PATH = "/router/v1/routers"
_DEFAULT_PAGE = 100
_MAX_ROUTER_BYTES = 256 * 1024


def _list(request: Request, shared: SharedState) -> Response:
    size_text = request.query_value("page_size") or request.query_value("pagesize")
    token = request.query_value("page_token") or request.query_value("pagetoken")
    try:
        size, start = int(size_text or 0) or _DEFAULT_PAGE, int(token or 0)
    except ValueError:
        size = start = -1
    if size < 0 or start < 0:
        raise Refused(INVALID_ARGUMENT, "invalid page_size or page_token")
    routers = shared.routers.list()
    end = start + size
    following = str(end) if end < len(routers) else ""
    return Response.of_json({"routers": routers[start:end], "nextPageToken": following})


def _create(request: Request, shared: SharedState) -> Response:
    return _operation(shared.routers.create(_read(request)))


def _get(request: Request, shared: SharedState) -> Response:
    return Response.of_json(shared.routers.get(router_id(request.path)))


def _update(request: Request, shared: SharedState) -> Response:
    mask = request.query_value("update_mask") or request.query_value("updatemask")
    names = None if mask is None else [name.strip() for name in mask.split(",")]
    return _operation(shared.routers.update(router_id(request.path), _read(request), names))


def _delete(request: Request, shared: SharedState) -> Response:
    shared.routers.delete(router_id(request.path))
    return Response.of_json({})


ROUTES = (
    HttpRoute(method="GET", path=_PATH, handler=_list),
    HttpRoute(method="POST", path=_PATH, handler=_create),
    HttpRoute(method="GET", path=f"{_PATH}/*", handler=_get),
    HttpRoute(method="PATCH", path=f"{_PATH}/*", handler=_update),
    HttpRoute(method="DELETE", path=f"{_PATH}/*", handler=_delete),
)


def _read(request: Request) -> Mapping[str, Any]:
    if len(request.body) > _MAX_ROUTER_BYTES:
        raise Refused(RESOURCE_EXHAUSTED, f"a router has at most {_MAX_ROUTER_BYTES} bytes")
    try:
        body = read_json(request.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(INVALID_ARGUMENT, "the body is not a JSON object")
    return body


def _operation(router: Mapping[str, Any]) -> Response:
    """Make the response of an operation that has ended."""
    name = f"operations/{uuid.uuid4()}"
    return Response.of_json({"name": name, "done": True, "response": router})
