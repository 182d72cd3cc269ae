"""Opens realtime sessions over WebRTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from inworld_sync.limits.limiter import Place
from inworld_sync.locks import imports
from inworld_sync.models.realtime import Session
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.realtime.service import SessionOptions, open_session
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.transport.credential import Header
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.webrtc.signaling import OfferForm, check_form, given_ice_servers
from inworld_sync.wire.realtime.endpoint import TrackEndpoint
from inworld_sync.wire.realtime.session import session_object
from inworld_sync.wire.realtime.session_config import SessionConfig

if TYPE_CHECKING:
    from inworld_sync.webrtc.link import WebRtcLink

__all__ = ["connect"]


def connect(
    connector: Connector,
    http: HttpClient,
    session: Session,
    options: SessionOptions,
    *,
    timeout: float | None,
    offer_form: OfferForm,
    ice_servers: Iterable[Mapping[str, object]] | None,
) -> RealtimeSession:
    """
    Open a session; see ``Inworld.connect_webrtc``.

    Args:
        connector: Acquires places of the limiter, and has the credential.
        http: Exchanges offers and answers.
        session: The settings of the session.
        options: The settings of the client for the session.
        timeout: Seconds for the whole call.
        offer_form: How the offer is sent.
        ice_servers: STUN and TURN servers.
    """
    try:
        with imports:
            from inworld_sync.webrtc.link import WebRtcLink
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"connect_webrtc() needs the extra 'webrtc' ({error.name} is missing): "
            "pip install 'inworld-sync[webrtc]'",
            name=error.name,
        ) from error

    check_form(offer_form)
    servers = None if ice_servers is None else given_ice_servers(ice_servers)
    body: Mapping[str, object] = session_object(session)
    if offer_form == "session_config":
        body = SessionConfig.from_session(session).to_json()

    def open_link(name: str, timeout: float | None, reconnects: bool, place: Place) -> WebRtcLink:
        def attempt(header: Header, deadline: Deadline) -> WebRtcLink:
            link = WebRtcLink.open(
                name,
                http,
                header,
                form=offer_form,
                session=body,
                ice_servers=servers,
                deadline=deadline,
            )
            link.on_refused = lambda: connector.credential.reject(header)
            return link

        doing = f"connecting to {http.options.base_url} over WebRTC"
        return connector.open_with(
            attempt, name, doing, timeout=timeout, place=place, reconnects=reconnects
        )

    return open_session(
        connector, session, TrackEndpoint(), options, timeout=timeout, open_link=open_link
    )
