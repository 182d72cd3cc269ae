"""Implements ``iw.routers``, the routers that choose between language models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from inworld_sync.errors import ConfigError, RemoteProtocolError, ServiceError, error_from_status
from inworld_sync.models.catalog import Router
from inworld_sync.transport.backoff import Backoff
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.urls import quote_part
from inworld_sync.wire.catalog import read_router, router_body
from inworld_sync.wire.codec import JsonObject, object_in
from inworld_sync.wire.faults import connection_fault, text_in

__all__ = ["Routers"]

_PATH: Final = "/router/v1/routers"
_OPERATIONS_PATH: Final = "/lro/v1alpha"
# An update replaces these fields.
_MASK: Final = "display_name,defaults,routes,default_route"
_PAGE_SIZE: Final = 100
_MAX_PAGES: Final = 100
_FIRST_DELAY_SECONDS: Final = 0.5


class Routers:
    """
    The routers of the account. Programs use this object as ``iw.routers``.

    For all calls except :meth:`list` and :meth:`get`, the key needs the right to write routers.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def list(self, *, timeout: float | None = 10.0) -> list[Router]:
        """
        Return all routers.

        Args:
            timeout: The largest number of seconds for the whole list, retries included.

        Raises:
            ServiceError: The service refused the request.
            TransportError: Could not connect, the connection was lost, or the timeout passed.
            RemoteProtocolError: The list cannot be read.
        """
        return list(self._pages(Deadline(timeout, "listing the routers")))

    def get(self, router: str, *, timeout: float | None = 10.0) -> Router:
        """
        Return the router whose id is *router*.

        Args:
            router: The id, with or without ``inworld/``.
            timeout: The largest number of seconds for the request, retries included.

        Raises:
            ConfigError: *router* is blank or not a str.
            NotFoundError: No router has this id.
        """
        return self._get(_path_of(router), Deadline(timeout, "getting the router"))

    def create(self, router: Router, *, timeout: float | None = 60.0) -> Router:
        """
        Create a router, and wait until the service has made it.

        Args:
            router: The router with all of its settings.
            timeout: The largest number of seconds for the whole call. After this time, the service
                may still make the router; see :meth:`get`.

        Returns:
            The router as the service has it.

        Raises:
            ServiceError: The service refused the router, for example because its id exists already.
            TransportError: Could not connect, the connection was lost, or the timeout passed.
        """
        deadline = Deadline(timeout, "creating the router")
        return self._finish(self._send("POST", _PATH, deadline, _body(router)), router, deadline)

    def update(self, router: Router, *, timeout: float | None = 60.0) -> Router:
        """
        Replace all settings of a router, and wait until the service has replaced them.

        Args:
            router: The new router. It replaces the router that has the same id.
            timeout: The largest number of seconds for the whole call.

        Returns:
            The router as the service has it.

        Raises:
            NotFoundError: No router has this id.
            ServiceError: The service refused the settings.
            TransportError: Could not connect, the connection was lost, or the timeout passed.
        """
        deadline = Deadline(timeout, "updating the router")
        body = _body(router)
        path = _path_of(router.id)
        query = {"update_mask": _MASK}
        return self._finish(self._send("PATCH", path, deadline, body, query), router, deadline)

    def delete(self, router: str, *, timeout: float | None = 10.0) -> None:
        """
        Delete a router.

        Args:
            router: The id, with or without ``inworld/``.
            timeout: The largest number of seconds for the request.

        Raises:
            ConfigError: *router* is blank or not a str.
            NotFoundError: No router has this id.
        """
        self._send("DELETE", _path_of(router), Deadline(timeout, "deleting the router"))

    def _pages(self, deadline: Deadline) -> Iterator[Router]:
        query = {"page_size": str(_PAGE_SIZE)}
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            page = self._send("GET", _PATH, deadline, query=query)
            routers = page.get("routers") or []
            if not isinstance(routers, list):
                raise RemoteProtocolError(
                    f"expected an array as routers, got {type(routers).__name__}"
                )
            yield from map(read_router, routers)
            token = text_in(page, "nextPageToken")
            if not token:
                return
            if token in seen:
                raise RemoteProtocolError("the service sent the same page of routers twice")
            seen.add(token)
            query["page_token"] = token
        raise RemoteProtocolError(
            f"expected at most {_MAX_PAGES} pages of routers, the service announced more"
        )

    def _send(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        json: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> JsonObject:
        response = self._http.request(method, path, json=json, query=query, deadline=deadline)
        return object_in(response.json(), f"the answer to {method} {path}")

    def _finish(self, operation: JsonObject, router: Router, deadline: Deadline) -> Router:
        """Wait for the end of a long-running operation; return its router."""
        backoff = Backoff(_FIRST_DELAY_SECONDS)
        while operation.get("done") is not True:
            name = text_in(operation, "name")
            if not name:
                raise RemoteProtocolError("expected an operation with a name, got none")
            self._http.pause(deadline.at_most(backoff.next_delay()))
            deadline.check()
            path = f"{_OPERATIONS_PATH}/{quote(name)}"
            operation = self._send("GET", path, deadline)
        if operation.get("error") is not None:
            raise _error_of(operation)
        response = operation.get("response")
        if isinstance(response, dict) and "name" in response:
            return read_router(response)
        return self._get(_path_of(router.id), deadline)

    def _get(self, path: str, deadline: Deadline) -> Router:
        return read_router(self._send("GET", path, deadline))


def _error_of(operation: JsonObject) -> ServiceError:
    fault = connection_fault(operation["error"])
    return error_from_status(fault.code, fault.message, fault.details)


def _body(router: Router) -> JsonObject:
    if not isinstance(router, Router):
        raise ConfigError(f"router must be a Router, got {type(router).__name__}")
    return router_body(router)


def _path_of(router: str) -> str:
    if not isinstance(router, str) or not router.removeprefix("inworld/").strip():
        raise ConfigError(f"router must be the id of a router, got {router!r}")
    return f"{_PATH}/{quote_part('router', router.removeprefix('inworld/'))}"
