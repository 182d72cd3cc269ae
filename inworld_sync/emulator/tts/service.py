"""The TTS WebSocket: create, text, flush, close; every message of the service's reference."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping

from inworld_sync.emulator.peer import WebSocketPeer
from inworld_sync.emulator.protojson import (
    ALREADY_EXISTS,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    Malformed,
    Refused,
    fatal,
    malformed,
    requests,
    status,
)
from inworld_sync.emulator.routes import Route, WebSocketRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.tts.config import UnknownModel, describe, read_config
from inworld_sync.emulator.tts.context import Close, Context, Flush, Text, Update

__all__ = ["TtsService"]

_PATH = "/tts/v1/voice:streamBidirectional"
_VERBS = ("create", "sendText", "flushContext", "closeContext", "cancelContext", "updateConfig")


class TtsService:
    """Speaks over WebSocket; thread-safe, one instance serves all connections."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    def routes(self) -> Iterable[Route]:
        """Return the WebSocket endpoint."""
        return [WebSocketRoute(path=_PATH, handler=self._serve)]

    def _serve(self, peer: WebSocketPeer) -> None:
        connection = _Connection(peer, self._shared)
        try:
            for request in requests(peer, self._shared.credentials):
                connection.handle(request)
        finally:
            connection.stop()


class _Connection:
    """
    The contexts of one connection.

    Locks: ``_lock`` guards the two tables, which contexts leave on their own threads.
    """

    def __init__(self, peer: WebSocketPeer, shared: SharedState) -> None:
        self._peer = peer
        self._shared = shared
        self._lock = threading.Lock()
        self._open: dict[str, Context] = {}
        self._closing: dict[str, Context] = {}

    def handle(self, request: Mapping[str, object]) -> None:
        """Work off one request; unknown ones are met with silence."""
        verb = next((name for name in _VERBS if name in request), None)
        if verb is None:
            return
        body, context_id = request[verb], request.get("contextId") or ""
        if not isinstance(body, dict) or not isinstance(context_id, str):
            self._peer.send(malformed(), wait=False)
            return
        try:
            if verb == "create":
                self._create(context_id, body)
            else:
                self._pass_on(verb, context_id, body)
        except Malformed:
            self._peer.send(malformed(), wait=False)
        except UnknownModel as error:
            fatal(self._peer, error.code, error.message)
        except Refused as error:
            self._refuse(context_id, error.code, error.message)

    def stop(self) -> None:
        """End all contexts, because the connection is over."""
        self._peer.close()
        with self._lock:
            contexts = [*self._open.values(), *self._closing.values()]
        for context in contexts:
            context.stop()
        for context in contexts:
            context.join()

    def _refuse(self, context_id: str, code: int, message: str) -> None:
        result = {"contextId": context_id, "status": status(code, message)}
        self._peer.send({"result": result}, wait=False)

    def _create(self, context_id: str, fields: dict[str, object]) -> None:
        config = read_config(fields, self._shared.settings)
        limit = self._shared.settings.max_contexts
        with self._lock:
            count = len(self._open) + len(self._closing)
            exists = context_id in self._open or context_id in self._closing
        if exists:
            raise Refused(ALREADY_EXISTS, f"context {context_id} already exists")
        if count >= limit:
            raise Refused(
                RESOURCE_EXHAUSTED,
                f"You have reached the limit of {limit} TTS contexts per connection. "
                "Please close other contexts on this connection to continue.",
            )
        context_id = context_id or uuid.uuid4().hex
        created = {"contextId": context_id, "contextCreated": describe(config), "status": status()}
        self._peer.send({"result": created}, wait=False)
        context = Context(context_id, config, self._peer, self._shared, self._forget)
        with self._lock:
            self._open[context_id] = context

    def _pass_on(self, verb: str, context_id: str, body: dict[str, object]) -> None:
        context = self._find(verb, context_id)
        if verb == "sendText":
            text = body.get("text") or ""
            if not isinstance(text, str):
                raise Malformed("text")
            context.put(Text(text, flush=body.get("flushContext") is not None))
        elif verb == "flushContext":
            context.put(Flush())
        elif verb == "updateConfig":
            fields = {name: value for name, value in body.items() if name != "modelId"}
            context.put(Update(read_config(fields, self._shared.settings, base=context.config)))
        else:
            with self._lock:
                self._closing[context.context_id] = self._open.pop(context.context_id)
            if verb == "cancelContext":
                context.cancel()
            else:
                context.put(Close())

    def _find(self, verb: str, context_id: str) -> Context:
        payload = " (payload=SEND_TEXT)" if verb == "sendText" else ""
        with self._lock:
            if not context_id and len(self._open) == 1:
                return next(iter(self._open.values()))
            count, context = len(self._open), self._open.get(context_id)
        if not context_id:
            raise Refused(
                INVALID_ARGUMENT,
                f"context_id is required when {count} contexts are open{payload}",
            )
        if context is None:
            raise Refused(NOT_FOUND, f"context {context_id} not found{payload}")
        return context

    def _forget(self, context: Context) -> None:
        with self._lock:
            self._closing.pop(context.context_id, None)
            self._open.pop(context.context_id, None)
