"""
Reads requests of Flask and Django, and makes their responses.

The class of the request decides which framework is used. This module imports a framework only if
the program has imported that framework, so the package requires neither Flask nor Django.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, cast

from inworld_sync.errors import ConfigError

if TYPE_CHECKING:
    import flask
    from django.http import HttpRequest, HttpResponseBase

__all__ = ["Body", "EmptyBody", "WebRequest", "web_request"]


class Body(Protocol):
    """The blocks of a response. The server iterates over them, and finally calls :meth:`close`."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """Free all that the response uses. This method may be called twice, and from any thread."""


class EmptyBody:
    """
    The body of a response to HEAD.

    A response with this body has no ``Content-Length``. With ``b""``, the length would be 0.
    """

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        raise StopIteration

    def close(self) -> None:
        """Do nothing."""


class WebRequest(Protocol):
    """A request in the form that this package uses."""

    @property
    def method(self) -> str:
        """The method in upper case, such as ``GET``."""
        ...

    def header(self, name: str) -> str:
        """Return the value of a header; an empty text if the header is missing."""
        ...

    def respond(self, status: int, headers: Mapping[str, str], body: bytes | Body) -> object:
        """Make the response object of the framework."""
        ...


def web_request(request: object) -> WebRequest:
    """
    Return the request of a framework in the form that this package uses.

    Raises:
        ConfigError: *request* is not the request of Flask or Django.
    """
    # If the program has not imported a framework, the request does not belong to that framework.
    flask_module = sys.modules.get("flask")
    if flask_module is not None and isinstance(request, flask_module.Request):
        return _FlaskRequest(cast("flask.Request", request))
    django_http = sys.modules.get("django.http")
    if django_http is not None and isinstance(request, django_http.HttpRequest):
        return _DjangoRequest(cast("HttpRequest", request))
    raise ConfigError(
        "request must be flask.request, or the HttpRequest that Django passes to a view, got "
        f"{type(request).__name__}"
    )


class _FlaskRequest:
    def __init__(self, request: flask.Request) -> None:
        self._request = request

    @property
    def method(self) -> str:
        return self._request.method

    def header(self, name: str) -> str:
        return self._request.headers.get(name, "")

    def respond(
        self, status: int, headers: Mapping[str, str], body: bytes | Body
    ) -> flask.Response:
        import flask

        return flask.Response(body, status=status, headers=dict(headers))


class _DjangoRequest:
    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @property
    def method(self) -> str:
        return str(self._request.method)

    def header(self, name: str) -> str:
        return cast("Mapping[str, str]", self._request.headers).get(name, "")

    def respond(
        self, status: int, headers: Mapping[str, str], body: bytes | Body
    ) -> HttpResponseBase:
        from django.http import HttpResponse, StreamingHttpResponse

        if isinstance(body, bytes):
            return HttpResponse(body, status=status, headers=dict(headers))
        # Under ASGI, Django would read a synchronous iterator to its end before sending anything.
        asgi = sys.modules.get("django.core.handlers.asgi")
        is_asgi = asgi is not None and isinstance(self._request, asgi.ASGIRequest)
        blocks = _AsyncBody(body) if is_asgi else body
        return StreamingHttpResponse(blocks, status=status, headers=dict(headers))


class _AsyncBody:
    """
    A body for ASGI servers. Each body has one thread, which waits for the next block.

    Django's shared threads would limit how many responses can wait at once.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="inworld-web")

    def __aiter__(self) -> _AsyncBody:
        return self

    async def __anext__(self) -> bytes:
        from asgiref.sync import sync_to_async

        next_block = sync_to_async(
            self._next_block, thread_sensitive=False, executor=self._executor
        )
        block = await next_block()
        if block is None:
            raise StopAsyncIteration
        return block

    def _next_block(self) -> bytes | None:
        return next(self._body, None)

    def close(self) -> None:
        """Close the wrapped body. This ends a wait of the thread, and then the thread ends."""
        self._body.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
