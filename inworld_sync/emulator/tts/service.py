"""Serves the TTS WebSocket, with every message of the service's reference."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping

from inworld_sync.emulator.fields import text
from inworld_sync.emulator.peer import WebSocketPeer
from inworld_sync.emulator.protojson import Command, commands, fatal, malformed
from inworld_sync.emulator.routes import WebSocketRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import (
    ALREADY_EXISTS,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RESOURCE_EXHAUSTED,
    Malformed,
    Refused,
    status,
)
from inworld_sync.emulator.tts.config import UnknownModel, describe, read_config
from inworld_sync.emulator.tts.context import Context

__all__ = ["ROUTES"]

_VERBS = ("create", "sendText", "flushContext", "closeContext", "cancelContext", "updateConfig")


def _serve(peer: WebSocketPeer, shared: SharedState) -> None:
    connection = _Connection(peer, shared)
    try:
        for command in commands(peer, _VERBS):
            connection.handle(command)
    finally:
        connection.stop()


ROUTES = (WebSocketRoute(path="/tts/v1/voice:streamBidirectional", handler=_serve),)


class _Connection:
    """
    The contexts of one connection.

    Locks: ``_lock`` guards the table of contexts. Each context removes itself from the table on its
    own thread.
    """

    def __init__(self, peer: WebSocketPeer, shared: SharedState) -> None:
        self._peer = peer
        self._shared = shared
        self._lock = threading.Lock()
        self._contexts: dict[str, Context] = {}

    def handle(self, command: Command) -> None:
        """Run one command."""
        context_id = ""
        try:
            context_id = text(command.fields, "contextId")
            if command.verb == "create":
                self._create(context_id, command.body)
            else:
                self._pass_on(command.verb, context_id, command.body)
        except Malformed:
            malformed(self._peer)
        except UnknownModel as error:
            fatal(self._peer, error.code, error.message)
        except Refused as error:
            result = {"contextId": context_id, "status": status(error.code, error.message)}
            self._peer.send({"result": result}, wait=False)

    def stop(self) -> None:
        """End all contexts, because the connection has ended."""
        self._peer.close()
        with self._lock:
            contexts = list(self._contexts.values())
        for context in contexts:
            context.cancel()
        for context in contexts:
            context.join()

    def _create(self, context_id: str, fields: Mapping[str, object]) -> None:
        config = read_config(fields, self._shared.settings)
        limit = self._shared.settings.max_contexts
        with self._lock:
            count, exists = len(self._contexts), context_id in self._contexts
        if exists:
            raise Refused(ALREADY_EXISTS, f"context {context_id} already exists")
        if count >= limit:
            raise Refused(
                RESOURCE_EXHAUSTED,
                f"You have reached the limit of {limit} TTS contexts per connection. "
                "Please close other contexts on this connection to continue.",
            )
        context_id = context_id or uuid.uuid4().hex
        context = Context(context_id, config, self._peer, self._shared, self._forget)
        with self._lock:
            self._contexts[context_id] = context
        created = {"contextId": context_id, "contextCreated": describe(config), "status": status()}
        self._peer.send({"result": created}, wait=False)

    def _pass_on(self, verb: str, context_id: str, body: Mapping[str, object]) -> None:
        context = self._find(verb, context_id)
        if verb == "sendText":
            context.add_text(text(body, "text"), flush=body.get("flushContext") is not None)
        elif verb == "flushContext":
            context.flush()
        elif verb == "updateConfig":
            fields = {name: value for name, value in body.items() if name != "modelId"}
            context.update(read_config(fields, self._shared.settings, base=context.config))
        elif verb == "cancelContext":
            context.cancel()
        else:
            context.close()

    def _find(self, verb: str, context_id: str) -> Context:
        payload = " (payload=SEND_TEXT)" if verb == "sendText" else ""
        with self._lock:
            found = {key: one for key, one in self._contexts.items() if not one.is_closing}
        if not context_id and len(found) != 1:
            raise Refused(
                INVALID_ARGUMENT,
                f"context_id is required when {len(found)} contexts are open{payload}",
            )
        context_id = context_id or next(iter(found))
        if context_id not in found:
            raise Refused(NOT_FOUND, f"context {context_id} not found{payload}")
        return found[context_id]

    def _forget(self, context: Context) -> None:
        with self._lock:
            self._contexts.pop(context.context_id, None)
