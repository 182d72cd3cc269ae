"""
Exchanges the offer and the answer of a WebRTC connection over HTTP.

There are three forms of an offer. Clients use the two forms at ``/v1/realtime/calls``. Only the
specification has the form at ``/v1/realtime/webrtc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, get_args

import attrs

from inworld_sync.errors import ConfigError, InworldError, RemoteProtocolError
from inworld_sync.secret import Secret
from inworld_sync.transport.credential import Header
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import Exchange, HttpClient, HttpResponse
from inworld_sync.wire.codec import dump_text
from inworld_sync.wire.realtime.commands import CALLS_PATH

__all__ = [
    "Answer",
    "IceServer",
    "OfferForm",
    "check_form",
    "fetch_ice_servers",
    "given_ice_servers",
    "is_readable",
    "send_offer",
]

OfferForm: TypeAlias = Literal["sdp", "json", "session_config"]

_ICE_PATH = "/v1/realtime/ice-servers"
_SPECIFICATION_PATH = "/v1/realtime/webrtc"

# The timeout for the list of ICE servers, so that a slow answer leaves time for the rest of the
# call. A connection may be possible without the list.
_MAX_ICE_SECONDS = 3.0

_MAX_PORT = 65535

# An answer has about 2000 characters. An answer above this limit is refused, because the time to
# read an answer grows with the square of the number of candidates.
_MAX_SDP_CHARACTERS = 64 * 1024


@attrs.frozen
class IceServer:
    """
    A STUN or TURN server.

    Attributes:
        urls: The addresses of the server, such as ``turn:turn.example:3478?transport=udp``.
        username: The user name for a TURN server.
        credential: The password for a TURN server.
    """

    urls: tuple[str, ...]
    username: str | None = attrs.field(default=None, repr=False)
    credential: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Answer:
    """
    The service's answer to an offer.

    Attributes:
        sdp: The session description of the answer.
        call_id: The id of the call or the session; None if the answer has no id.
    """

    sdp: str = attrs.field(repr=False)
    call_id: str | None = None


def check_form(form: str) -> None:
    """Raise :class:`ConfigError` for an unknown form of offers."""
    if form not in get_args(OfferForm):
        raise ConfigError(f"offer_form must be one of {get_args(OfferForm)}, got {form!r}")


def fetch_ice_servers(http: HttpClient, header: Header, deadline: Deadline) -> list[IceServer]:
    """Return the service's STUN and TURN servers. Return an empty list if the request fails."""
    limited = Deadline(deadline.at_most(_MAX_ICE_SECONDS), "getting ICE servers").earlier(deadline)
    try:
        response = Exchange(http, "GET", _ICE_PATH, limited).run(dict([header]), None, None)
        return read_ice_servers(response.json())
    except InworldError as error:
        # A connection may be possible without these servers.
        http.options.logger.info("the ICE servers could not be fetched: %s", error)
        return []


def read_ice_servers(body: object) -> list[IceServer]:
    """Read a list of servers. Entries that cannot be read are left out."""
    rows = None
    if isinstance(body, dict):
        rows = body.get("ice_servers", body.get("iceServers"))
    if not isinstance(rows, list):
        raise RemoteProtocolError("the answer about ICE servers must have a list ice_servers")
    found = []
    for row in rows:
        fields: Mapping[str, object] = row if isinstance(row, dict) else {}
        urls = fields.get("urls")
        listed = urls if isinstance(urls, list) else [urls]
        texts = tuple(each for each in listed if isinstance(each, str))
        if texts:
            found.append(
                IceServer(texts, _secret(fields, "username"), _secret(fields, "credential"))
            )
    return found


def is_readable(url: str) -> bool:
    """Return whether an address of a STUN or TURN server can be read and has a possible port."""
    from aiortc.rtcicetransport import parse_stun_turn_uri

    try:
        # With a larger port, asyncio closes the sockets of all candidates.
        return 0 < int(parse_stun_turn_uri(url)["port"]) <= _MAX_PORT
    except ValueError:
        return False


def given_ice_servers(servers: Iterable[Mapping[str, object]]) -> list[IceServer]:
    """
    Read the servers of an application.

    Raises:
        ConfigError: A server has no address, or an address that cannot be read.
    """
    rows = list(servers)
    found = read_ice_servers({"ice_servers": rows})
    for url in (url for server in found for url in server.urls):
        if not is_readable(url):
            raise ConfigError(
                f"urls of ice_servers must be such as 'turn:turn.example:3478', got {url!r:.80}"
            )
    if len(found) != len(rows):
        raise ConfigError(
            "ice_servers must be mappings with urls, and with username and credential for TURN, "
            "such as {'urls': 'turn:turn.example:3478', 'username': ..., 'credential': ...}"
        )
    return found


def send_offer(
    http: HttpClient,
    header: Header,
    form: OfferForm,
    sdp: str,
    session: Mapping[str, object],
    deadline: Deadline,
) -> Answer:
    """
    Send an offer, and return the answer.

    Args:
        http: Sends the request.
        header: The credential.
        form: How the offer is sent: ``sdp`` as text, ``json`` as an object with the session, or
            ``session_config`` in the form of the specification.
        sdp: The session description of the offer.
        session: The settings of the session, in the spelling of *form*.
        deadline: The deadline of the exchange.

    Raises:
        ServiceError: The service refuses the offer.
        RemoteProtocolError: The answer has no session description.
        TransportError: Could not connect, or no answer came in time.
    """
    path = _SPECIFICATION_PATH if form == "session_config" else CALLS_PATH
    if form == "sdp":
        content_type, body = "application/sdp", sdp.encode()
    else:
        name = "session" if form == "json" else "sessionConfig"
        content_type, body = "application/json", dump_text({"sdp": sdp, name: session}).encode()
    headers = {**dict([header]), "Content-Type": content_type, "Accept": content_type}
    response = Exchange(http, "POST", path, deadline).run(headers, body, None)
    return read_answer(response, form)


def read_answer(response: HttpResponse, form: OfferForm) -> Answer:
    """Read the answer to an offer that was sent in *form*."""
    call_id = None
    if form == "sdp":
        sdp: object = response.body.decode("utf-8", "replace")
    else:
        body = response.json()
        fields: Mapping[str, object] = body if isinstance(body, dict) else {}
        sdp, call_id = fields.get("sdp"), fields.get("id") or fields.get("sessionId")
    if not isinstance(sdp, str) or not sdp.startswith("v=0"):
        raise RemoteProtocolError(
            "the answer to an offer must be a session description (SDP), which begins with v=0, "
            f"got {len(response.body)} bytes of "
            f"{response.headers.get('content-type', 'no content type')!r}"
        )
    if len(sdp) > _MAX_SDP_CHARACTERS:
        raise RemoteProtocolError(
            "the answer to an offer must be a session description (SDP) of at most "
            f"{_MAX_SDP_CHARACTERS} characters, got {len(sdp)} characters"
        )
    return Answer(sdp, call_id if isinstance(call_id, str) else None)


def _secret(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return Secret(value) if isinstance(value, str) else None
