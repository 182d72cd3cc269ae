"""Calls views of Flask and Django without a server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
import django.http
import flask
from django.conf import settings
from django.test import RequestFactory

__all__ = ["FRAMEWORKS", "Answer", "Page", "events_of"]

Headers: TypeAlias = "Mapping[str, str] | None"

FRAMEWORKS = ["flask", "django"]


@attrs.frozen
class Answer:
    """The response of a view."""

    status: int
    headers: Mapping[str, str]
    blocks: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.blocks)


class Page:
    """
    Calls views with requests of one framework.

    Args:
        framework: ``flask`` or ``django``.
    """

    def __init__(self, framework: str) -> None:
        if not settings.configured:
            settings.configure()
        self.framework = framework
        self._app = flask.Flask("page")

    @contextlib.contextmanager
    def request(
        self, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Iterator[Any]:
        """Yield a request of the framework."""
        if self.framework == "flask":
            with self._app.test_request_context("/", method=method, headers=headers):
                yield flask.request
        else:
            yield RequestFactory().generic(method, "/", headers=headers or {})

    def call(
        self,
        view: Callable[[Any], Any],
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call a view, read the whole response and close it."""
        with (
            self.request(method, headers) as request,
            contextlib.closing(view(request)) as response,
        ):
            kind = flask.Response if self.framework == "flask" else django.http.HttpResponseBase
            assert isinstance(response, kind)
            blocks = list(self.blocks(response))
            return Answer(response.status_code, dict(response.headers), blocks)

    def blocks(self, response: Any) -> Iterator[bytes]:
        """Iterate over the body of a response."""
        return iter(response.response if self.framework == "flask" else response)


def events_of(body: bytes) -> list[dict[str, str]]:
    """Return the fields of all server-sent events, without comments."""
    events = [
        dict(line.split(": ", 1) for line in event.split("\n") if line and line[0] != ":")
        for event in body.decode().split("\n\n")
    ]
    return [event for event in events if event]
