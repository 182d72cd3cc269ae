"""
Serves one accepted TCP connection, with its HTTP requests, its upgrade to WebSocket and its faults.

Threads: each connection runs on a thread of its own.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus

import attrs
from websockets.http11 import Request as UpgradeRequest
from websockets.server import ServerProtocol

from inworld_sync.emulator.credentials import Credential, Verdict
from inworld_sync.emulator.faults import Cut, Fault, FaultKind, delay_or_cut, parse_faults
from inworld_sync.emulator.frame_writer import send_slowly
from inworld_sync.emulator.http import (
    BadRequest,
    Request,
    RequestReader,
    Response,
    response_head,
    service_headers,
)
from inworld_sync.emulator.peer import PeerGone, WebSocketPeer
from inworld_sync.emulator.protojson import refusal
from inworld_sync.emulator.routes import Routes, WebSocketRoute
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import (
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    Refused,
    status,
)
from inworld_sync.emulator.stream import Stream, TlsStream
from inworld_sync.errors import ConfigError

__all__ = ["Connection"]

_logger = logging.getLogger("inworld_sync.emulator")

# At DEBUG, the websockets library logs every header of an upgrade, with the credential. So the
# library gets this logger, which logs nothing. The logger is not registered, so it changes no level
# of the host program.
_no_logger = logging.Logger("inworld_sync.emulator.protocol", logging.CRITICAL)  # noqa: LOG001
_LINGER_SECONDS = 0.5
_UNAUTHORIZED = Response(status=401, headers={"Content-Type": "text/plain"}, body=b"Unauthorized")
_NOT_FOUND = Response.of_status(NOT_FOUND, "Not Found", http_status=404)


class Connection:
    """
    Serves one TCP connection until it ends.

    Thread safety: only the connection's thread calls ``run``. Any thread may call ``stop`` and
    ``abort``.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        name: str,
        routes: Routes,
        shared: SharedState,
        faults: tuple[Fault, ...],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._name = name
        self._routes = routes
        self._shared = shared
        self._settings = shared.settings
        self._faults = faults
        self._tls = tls
        self._socket = sock
        self._stream = Stream(sock)
        self._peer: WebSocketPeer | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        """Serve requests until the client, a fault or ``stop`` ends the connection."""
        try:
            self._pause(FaultKind.ACCEPT_DELAY)
            if self._tls is not None:
                stream = TlsStream(self._socket, self._tls)
                stream.handshake(self._settings.request_timeout)
                self._stream = stream
            self._serve()
        except (OSError, Cut):
            pass  # the client disconnected, or a fault ended the connection
        except Exception:
            # An error of the emulator ends only this connection. The log shows the error.
            _logger.exception("%s failed", self._name)
        finally:
            self._stream.abort()
            self._stream.close()

    def stop(self) -> None:
        """End the connection. A WebSocket ends with CLOSE 1001, an HTTP connection ends at once."""
        self._stopped.set()
        if (peer := self._peer) is not None:
            peer.close(1001, "the server is closing")
        else:
            self._stream.abort()

    def abort(self) -> None:
        """End the connection without a CLOSE."""
        self._stopped.set()
        if (peer := self._peer) is not None:
            peer.abort()
        self._stream.abort()

    def _serve(self) -> None:
        cut = self._fault(FaultKind.CUT_UPLOAD)
        reader = RequestReader(
            self._stream,
            cut_bytes=None if cut is None else int(cut.value),
            timeout=self._settings.request_timeout,
            first_timeout=self._settings.credential_timeout,
            max_body_bytes=self._settings.max_body_bytes,
        )
        keep_alive = True
        while keep_alive and not self._stopped.is_set():
            try:
                request = reader.read()
            except BadRequest as error:
                self._refuse(error)
                return
            if request is None:
                return
            started = time.monotonic()
            if (refused := self._shared.allowed_hosts.refusal(request)) is not None:
                response = Response.of_status(PERMISSION_DENIED, refused, http_status=403)
                self._answer(response, started, keep_alive=False)
                return
            try:
                self._faults += parse_faults(request.query_value("fault") or "")
            except ConfigError as error:
                self._refuse(BadRequest(str(error)))
                return
            self._strike_before_answer(started)
            if request.wants_websocket:
                self._upgrade(request, reader.rest, started)
                return
            keep_alive = request.keeps_alive
            self._answer(self._handle(request), started, keep_alive=keep_alive)

    def _refuse(self, error: BadRequest) -> None:
        response = Response.of_status(INVALID_ARGUMENT, str(error), http_status=error.status)
        self._answer(response, time.monotonic(), keep_alive=False)
        # Closing a socket that has unread bytes resets the connection and loses the response.
        self._stream.finish()
        deadline = time.monotonic() + _LINGER_SECONDS
        while (left := deadline - time.monotonic()) > 0 and self._stream.receive(left):
            pass

    # Faults before the first message.

    def _fault(self, kind: FaultKind) -> Fault | None:
        return next((fault for fault in self._faults if fault.kind is kind), None)

    def _pause(self, kind: FaultKind) -> None:
        if (fault := self._fault(kind)) is not None and self._stopped.wait(fault.value):
            raise Cut

    def _strike_before_answer(self, started: float) -> None:
        self._pause(FaultKind.RESPONSE_DELAY)
        if self._fault(FaultKind.DROP_REQUEST):
            raise Cut
        if self._fault(FaultKind.RESET_REQUEST):
            self._stream.reset()
            raise Cut
        if (fault := self._fault(FaultKind.HTTP_STATUS)) is not None:
            http_status = int(fault.value)
            headers = {"Location": "/elsewhere"} if 300 <= http_status < 400 else {}
            body = status(UNAVAILABLE, "fault")
            response = Response.of_json(body, status=http_status, headers=headers)
            self._answer(response, started, keep_alive=False)
            self._stream.finish()
            raise Cut

    # HTTP.

    def _handle(self, request: Request) -> Response:
        """Make the response to a request. A request from a web page also gets CORS headers."""
        response = self._preflight(request) or self._result(request)
        origin = request.headers.get("origin")
        if origin is None or not self._settings.cors:
            return response
        headers = {**response.headers, "Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return attrs.evolve(response, headers=headers)

    def _preflight(self, request: Request) -> Response | None:
        """
        Make the response to a preflight, with which a browser asks whether a page may send a
        request.
        """
        method = request.headers.get("access-control-request-method")
        if request.method != "OPTIONS" or method is None or not self._settings.cors:
            return None
        if self._routes.http(attrs.evolve(request, method=method)) is None:
            return _NOT_FOUND
        return Response(
            # The service uses Envoy, which sends this status.
            status=200,
            headers={
                "Access-Control-Allow-Methods": method,
                "Access-Control-Allow-Headers": request.headers.get(
                    "access-control-request-headers", "*"
                ),
                "Access-Control-Max-Age": "600",
            },
        )

    def _result(self, request: Request) -> Response:
        route = self._routes.http(request)
        if route is None:
            return _NOT_FOUND
        if not route.is_signed:
            credential = Credential.of(request)
            verdict = self._shared.credentials.judge(
                credential, bearer_key=True, single_use=route.takes_single_use
            )
            if verdict is not Verdict.GOOD:
                if route.has_openai_errors:
                    return _UNAUTHORIZED
                return self._refusal(verdict, credential)
        try:
            return route.handler(attrs.evolve(request, faults=self._faults), self._shared)
        except Refused as error:
            return refusal(error)
        except Exception:
            # The handler may call an engine of the user. The engine can raise any exception.
            _logger.exception("%s: %s %s failed", self._name, request.method, request.path)
            return Response.of_status(INTERNAL, "internal error of the emulator", http_status=500)

    def _refusal(self, verdict: Verdict, credential: Credential) -> Response:
        http_status, body = self._shared.credentials.http_error(verdict, credential)
        challenge = {"www-authenticate": str(body["message"])} if http_status == 401 else {}
        return Response.of_json(body, status=http_status, headers=challenge)

    def _answer(self, response: Response, started: float, *, keep_alive: bool) -> None:
        if self._stopped.wait(self._settings.latency_ms / 1000):
            raise Cut
        head = response_head(response, started=started, keep_alive=keep_alive)
        if isinstance(response.body, bytes):
            self._send(head + response.body)
            return
        self._send(head)
        for part in self._faulty_parts(response.body):
            self._send(b"%x\r\n%s\r\n" % (len(part), part))
        self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        slow = self._fault(FaultKind.SLOW)
        if slow is None:
            self._stream.send(data)
        else:
            send_slowly(self._stream, data, slow.value, self._stopped)

    def _faulty_parts(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the parts of a streamed body, with the faults that apply to HTTP."""
        for sent, part in enumerate(parts):
            for fault in self._faults:
                if fault.is_due(sent):
                    part = self._strike_part(fault, part)
            if part:
                yield part

    def _strike_part(self, fault: Fault, part: bytes) -> bytes:
        kind = fault.kind
        delay_or_cut(fault, self._stream, self._stopped)
        if kind is FaultKind.HALF_FRAME:
            half = part[: len(part) // 2]
            self._stream.send(b"%x\r\n%s" % (len(part), half))
            raise Cut
        error = b'{"error":{"code":%d,"message":"fault","details":[]}}\n' % int(fault.value)
        if part.startswith(b"data:"):
            error = b"data: %b\n" % error
        instead = {
            FaultKind.BAD_JSON: part.rstrip()[:-2] + b"\n",
            FaultKind.DUPLICATE: part + part,
            FaultKind.LOSE: b"",
            FaultKind.ERROR: error,
            FaultKind.FATAL_ERROR: error,
        }
        return instead.get(kind, part)

    # WebSocket.

    def _upgrade(self, request: Request, rest: bytes, started: float) -> None:
        route = self._routes.websocket(request.path)
        if route is None:
            self._answer(_NOT_FOUND, started, keep_alive=False)
            return
        # The credential is judged only once, since a token may be for one use only. Realtime
        # refuses single-use tokens.
        credential = Credential.of(request)
        verdict = self._shared.credentials.judge(
            credential,
            bearer_key=route.checked_at_upgrade,
            single_use=not route.checked_at_upgrade,
        )
        has_credential = verdict is Verdict.GOOD
        if route.checked_at_upgrade and not has_credential:
            self._answer(self._refusal(verdict, credential), started, keep_alive=False)
            return
        with self._shared.connection_slot(route.path, has_credential=has_credential) as free:
            if not free:
                response = Response.of_status(
                    RESOURCE_EXHAUSTED, "too many concurrent connections", http_status=429
                )
                self._answer(response, started, keep_alive=False)
                return
            self._run_websocket(route, request, rest, verdict)

    def _run_websocket(
        self, route: WebSocketRoute, request: Request, rest: bytes, verdict: Verdict
    ) -> None:
        protocol = ServerProtocol(max_size=self._settings.max_message_bytes, logger=_no_logger)
        protocol.receive_data(request.head)
        event = next(iter(protocol.events_received()), None)
        if not isinstance(event, UpgradeRequest):
            self._refuse(BadRequest("the request is not an upgrade to WebSocket"))
            return
        # The library refuses a subprotocol whose name contains "/". The name may be a credential in
        # base64, which may contain "/".
        if "Sec-WebSocket-Protocol" in event.headers:
            del event.headers["Sec-WebSocket-Protocol"]
        response = protocol.accept(event)
        response.headers.update(service_headers(time.monotonic()))
        if offered := request.headers.get("sec-websocket-protocol"):
            # Some clients fail unless the server echoes a subprotocol that they offered.
            response.headers["Sec-WebSocket-Protocol"] = offered.split(",")[0].strip()
        protocol.send_response(response)
        self._stream.send(b"".join(protocol.data_to_send()))
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return
        protocol.receive_data(rest)
        peer = WebSocketPeer(
            self._stream,
            protocol,
            request=request,
            verdict=verdict,
            settings=self._settings,
            faults=self._faults,
            name=self._name,
        )
        self._peer = peer
        if self._stopped.is_set():
            peer.abort()
        try:
            route.handler(peer, self._shared)
        except PeerGone:
            pass
        except Exception:
            # The handler may call an engine of the user. The engine can raise any exception.
            _logger.exception("%s: %s failed", self._name, request.path)
            peer.close(1011, "internal error of the emulator")
        finally:
            peer.finish()
