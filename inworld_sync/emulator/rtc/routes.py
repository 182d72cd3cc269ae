"""
Serves the endpoints of WebRTC: the list of ICE servers, and the exchange of an offer for an answer.

Source: the official WebRTC page for ``/v1/realtime/calls``, and the OpenAPI text for
``/v1/realtime/webrtc``, which no known client uses.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from inworld_sync.emulator.faults import FaultKind
from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.realtime.config import Json, SessionConfig
from inworld_sync.emulator.realtime.events import InvalidRequest, new_id
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.rtc.offer import checked_offer
from inworld_sync.emulator.rtc.rest_config import session_of
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import (
    INVALID_ARGUMENT,
    RESOURCE_EXHAUSTED,
    UNIMPLEMENTED,
    Refused,
)

if TYPE_CHECKING:
    from inworld_sync.emulator.rtc.call import Call

__all__ = ["ROUTES"]

_CALLS = "/v1/realtime/calls"
_WEBRTC = "/v1/realtime/webrtc"
# All calls are counted under one path, so that one limit applies to all of them.
_COUNTED = _CALLS
_ANSWER_SECONDS = 10.0
_NOT_SDP = "this is no session description"


def _ice_servers(_: Request, shared: SharedState) -> Response:
    return Response.of_json({"ice_servers": _listed_servers(shared)})


def _call(request: Request, shared: SharedState) -> Response:
    """Answer an offer, which is the whole body or the field ``sdp`` of a JSON object."""
    call_id = new_id("call")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/sdp":
        answer = _answer(request, shared, call_id, _text(request.body), {})
        headers = {"Content-Type": "application/sdp"}
        return Response(status=200, headers=headers, body=answer.encode())
    if kind != "application/json":
        raise Refused(
            INVALID_ARGUMENT,
            f"Content-Type must be application/sdp or application/json, got {kind[:60]!r}",
            http_status=415,
        )
    body = _object(request)
    session = body.get("session", {})
    if not isinstance(session, dict):
        raise Refused(INVALID_ARGUMENT, "session must be an object")
    # By default, the session of the offer is not applied, as in the service. Clients send
    # session.update on the data channel.
    applied = session if shared.settings.realtime.calls_apply_session else {}
    answer = _answer(request, shared, call_id, body.get("sdp"), applied)
    servers = _listed_servers(shared)
    return Response.of_json({"id": call_id, "sdp": answer, "ice_servers": servers})


def _webrtc(request: Request, shared: SharedState) -> Response:
    session_id = new_id("sess")
    body = _object(request)
    session = session_of(body.get("sessionConfig", {}))
    answer = _answer(request, shared, session_id, body.get("sdp"), session)
    return Response.of_json({"sdp": answer, "sessionId": session_id})


ROUTES = (
    HttpRoute(
        method="GET",
        path="/v1/realtime/ice-servers",
        handler=_ice_servers,
        takes_single_use=False,
    ),
    HttpRoute(method="POST", path=_CALLS, handler=_call, takes_single_use=False),
    HttpRoute(method="POST", path=_WEBRTC, handler=_webrtc, takes_single_use=False),
)


def _listed_servers(shared: SharedState) -> list[object]:
    return [dict(server) for server in shared.settings.realtime.ice_servers]


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Refused(INVALID_ARGUMENT, "the offer is not UTF-8") from None


def _object(request: Request) -> Json:
    try:
        body = read_json(request.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(INVALID_ARGUMENT, "the body must be a JSON object with the field sdp")
    return body


def _answer(request: Request, shared: SharedState, call_id: str, sdp: object, session: Json) -> str:
    """Start a call, and return the SDP of the answer."""
    offer = checked_offer(sdp)
    session_id = call_id if call_id.startswith("sess") else new_id("sess")
    config = SessionConfig.start(session_id, model=None, openai=False, uses_tracks=True)
    if session:
        try:
            config = config.updated(session, shared.settings)
        except InvalidRequest as error:
            raise Refused(INVALID_ARGUMENT, f"{error.message} ({error.param})") from error
    make_call = _call_class()
    faults = request.faults
    kinds = {fault.kind for fault in faults}
    slot = contextlib.ExitStack()

    async def start() -> str:
        call = make_call(call_id, shared, config, faults=faults, slot=slot)
        answer = await call.answer(offer)
        if FaultKind.ICE_FAILURE in kinds:
            await call.end(silently=True)
        return answer

    if not slot.enter_context(shared.connection_slot(_COUNTED, has_credential=True)):
        slot.close()
        message = "too many concurrent connections"
        raise Refused(RESOURCE_EXHAUSTED, message, http_status=429)
    try:
        answer = shared.calls.run(start(), _ANSWER_SECONDS, shared.stopping)
    except BaseException:
        slot.close()
        raise
    return _NOT_SDP if FaultKind.BAD_SDP in kinds else answer


def _call_class() -> type[Call]:
    try:
        from inworld_sync.emulator.rtc.call import Call
    except ModuleNotFoundError as error:
        missing = (error.name or "a module").partition(".")[0]
        if missing == "inworld_sync":
            raise
        raise Refused(
            UNIMPLEMENTED,
            f"WebRTC needs the extra 'webrtc' ({missing} is missing): "
            "pip install 'inworld-sync[webrtc]'",
        ) from error
    return Call
