"""Implements ``iw.models``, the language models of the service."""

from __future__ import annotations

from typing import Final

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models.catalog import ModelInfo
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.wire.catalog import read_model
from inworld_sync.wire.codec import object_in

__all__ = ["Models"]

_PATH: Final = "/llm/v1alpha/models"


class Models:
    """
    The language models. Programs use this object as ``iw.models``.

    The service has no list of its TTS and STT models. ``TTS_MODELS`` and ``STT_MODELS`` have the
    models that the documentation names.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    def list(self, *, timeout: float | None = 10.0) -> list[ModelInfo]:
        """
        Return the language models for ``iw.llm`` and realtime sessions.

        Args:
            timeout: The largest number of seconds for the request, retries included.

        Raises:
            ServiceError: The service refused the request.
            TransportError: Could not connect, the connection was lost, or the timeout passed.
            RemoteProtocolError: The list cannot be read.
        """
        deadline = Deadline(timeout, "listing the models")
        response = self._http.request("GET", _PATH, deadline=deadline)
        models = object_in(response.json(), "the list of models").get("models")
        if not isinstance(models, list | None):
            raise RemoteProtocolError(f"expected an array as models, got {type(models).__name__}")
        return [read_model(each) for each in models or ()]
