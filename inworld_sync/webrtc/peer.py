"""
Holds the aiortc objects of one WebRTC connection.

Threads: everything here runs on the loop of the connection, except :meth:`Peer.__init__`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)

from inworld_sync.audio.opus_decoder import can_recover
from inworld_sync.errors import ConnectError, ConnectionLost, RemoteProtocolError
from inworld_sync.webrtc.incoming import IncomingAudio
from inworld_sync.webrtc.outgoing import OutgoingTrack
from inworld_sync.webrtc.signaling import IceServer, is_readable

__all__ = ["CHANNEL", "Peer"]

CHANNEL = "oai-events"

# The timeout for answers of STUN and TURN servers. If a server does not answer in time, the offer
# has no candidate of this server.
_GATHER_SECONDS = 2

# A connection is checked for received packets this many times within ``ping_timeout``.
_CHECKS = 8

# If the SDP of a peer names no limit, the peer accepts messages of this size (RFC 8841, section
# 6.1).
_DEFAULT_MESSAGE_BYTES = 65536
_OPUS_LINE = re.compile(r"^a=rtpmap:([0-9]+) opus/48000/2\r\n", re.MULTILINE)
_MAX_MESSAGE_SIZE = re.compile(r"^a=max-message-size:\s*([0-9]{1,18})\s*$", re.MULTILINE)

# At most this many bytes wait in the data channel. Further messages wait in the queue of the link.
_CHANNEL_BYTES = 64 * 1024


class Events(Protocol):
    """The functions that a peer calls on the thread of the loop."""

    def channel_opened(self) -> None:
        """Messages can be sent from now on."""

    def channel_has_room(self) -> None:
        """More messages can be sent."""

    def message_arrived(self, text: str) -> None:
        """The service has sent a message."""

    def audio_arrived(self, pcm: bytes, delay_seconds: float) -> None:
        """This block of 20 ms has arrived on the service's track."""

    def peer_ended(self, error: ConnectionLost | ConnectError | None) -> None:
        """The connection has ended. If there is no error, the service has closed the connection."""


class Peer:
    """
    One side of a WebRTC connection: a data channel, and an audio track in each direction.

    Args:
        events: The functions to call.
        host: The host of the service. If the host is a loopback address, the loopback interface is
            used too.
        ice_servers: STUN and TURN servers.
        ping_timeout: If no packet arrives for this many seconds, the connection counts as lost.
        logger: Gets a message about each ICE server whose address cannot be read, and about each
            packet that cannot be decoded.
    """

    def __init__(
        self,
        events: Events,
        host: str,
        ice_servers: Sequence[IceServer],
        ping_timeout: float,
        logger: logging.Logger,
    ) -> None:
        self._events = events
        self._uses_loopback = _is_loopback(host)
        self._servers = list(_usable(ice_servers, logger))
        self._ping_timeout = ping_timeout
        self._logger = logger
        self._tasks: list[asyncio.Task[None]] = []
        self._has_opened = False
        self._is_over = False
        self.outgoing = OutgoingTrack()
        self.max_message_bytes = _DEFAULT_MESSAGE_BYTES
        self._connection: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._incoming: IncomingAudio | None = None

    async def offer(self) -> str:
        """Create the connection, gather candidates, and return the offer."""
        connection = self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=self._servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        transceiver = connection.addTransceiver(self.outgoing, direction="sendrecv")
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([each for each in codecs if each.mimeType == "audio/opus"])
        self._incoming = IncomingAudio(self._events.audio_arrived, self._logger)
        self._incoming.attach(transceiver.receiver)
        channel = self._channel = connection.createDataChannel(CHANNEL)
        channel.bufferedAmountLowThreshold = _CHANNEL_BYTES // 2
        channel.on("open", self._opened)
        channel.on("message", self._received)
        channel.on("bufferedamountlow", self._events.channel_has_room)
        channel.on("close", self._closed)
        connection.on("connectionstatechange", self._changed)
        self._allow_loopback(transceiver)
        await connection.setLocalDescription(await connection.createOffer())
        sdp: str = connection.localDescription.sdp
        return _with_fec(sdp) if can_recover() else sdp

    async def accept(self, sdp: str) -> None:
        """
        Use the service's answer.

        Raises:
            RemoteProtocolError: The answer does not fit the offer.
        """
        assert self._connection is not None
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            # None means that no more candidates follow. Without this call, ICE would wait for more
            # candidates and never fail.
            await self._connection.addIceCandidate(None)
        except Exception as error:
            # aiortc raises errors of many classes for a wrong description.
            raise RemoteProtocolError(
                "the answer to the offer must be a session description (SDP) with the audio and "
                f"the data channel of the offer: {type(error).__name__}: {error}"
            ) from error
        found = _MAX_MESSAGE_SIZE.search(sdp)
        if found is not None:
            # 0 means that there is no limit.
            self.max_message_bytes = int(found[1]) or 1 << 30
        if not re.search(r"^a=candidate:", sdp, re.MULTILINE):
            raise RemoteProtocolError(
                "the answer to the offer has no candidate, which is an address to connect to"
            )

    def send(self, text: str) -> bool:
        """Send a message. Return False if the channel has no room, or is not open."""
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return False
        if channel.bufferedAmount > _CHANNEL_BYTES:
            return False
        try:
            channel.send(text)
        except ValueError as error:
            # The SDP has several limits, and the message is longer than the limit that aiortc uses.
            self._end(ConnectionLost(f"a message could not be sent: {error}"))
            return False
        return True

    @property
    def unsent_bytes(self) -> int:
        """How many bytes of messages wait in the channel."""
        return 0 if self._channel is None else self._channel.bufferedAmount

    @property
    def state(self) -> str:
        """A description of the connection's state, for errors."""
        connection = self._connection
        if connection is None or connection.iceGatheringState != "complete":
            return "gathering candidates"
        if connection.iceConnectionState != "completed":
            return f"ICE is {connection.iceConnectionState}"
        if connection.connectionState != "connected":
            return f"DTLS is {connection.connectionState}"
        return "the data channel is not open"

    async def close(self) -> None:
        """Close everything. This method may be called twice."""
        self._is_over = True
        self.outgoing.end()
        for task in self._tasks:
            task.cancel()
        if self._connection is not None:
            await self._connection.close()
        if self._incoming is not None:
            self._incoming.close()

    def _allow_loopback(self, transceiver: RTCRtpTransceiver) -> None:
        """
        Add the loopback interface, which aioice always leaves out, if the service is on this
        machine, or if this machine has no other address.
        """
        connection = transceiver.receiver.transport.transport.iceGatherer._connection  # noqa: SLF001 - there is no public way
        gather = connection.get_component_candidates

        async def gather_with_loopback(
            component: int, addresses: list[str], timeout: int = 5
        ) -> object:
            if self._uses_loopback or not addresses:
                addresses = [*addresses, "127.0.0.1"]
            return await gather(component, addresses, min(timeout, _GATHER_SECONDS))

        connection.get_component_candidates = gather_with_loopback  # type: ignore[method-assign,assignment]

    # Called by aiortc.

    def _opened(self) -> None:
        if not self._has_opened and not self._is_over:
            self._has_opened = True
            assert self._incoming is not None
            self._tasks = [
                asyncio.ensure_future(self._incoming.run()),
                asyncio.ensure_future(self._watch()),
            ]
            self._events.channel_opened()

    def _received(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            message = message.decode("utf-8", "replace")
        self._events.message_arrived(message)

    def _closed(self) -> None:
        self._end(None)

    def _changed(self) -> None:
        assert self._connection is not None
        state = self._connection.connectionState
        if state == "failed" and not self._has_opened:
            self._end(
                ConnectError(
                    "no UDP path to the service works (ICE or DTLS failed): check that UDP is not "
                    "blocked; behind most firewalls, a TURN server is needed, see ice_servers"
                )
            )
        elif state == "failed":
            self._end(ConnectionLost("the UDP path to the service no longer works (ICE failed)"))
        elif state == "closed":
            self._end(None)

    def _end(self, error: ConnectionLost | ConnectError | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._events.peer_ended(error)

    async def _watch(self) -> None:
        """End the connection if no packet arrives for ``ping_timeout``."""
        assert self._connection is not None
        received, silent_seconds = -1, 0.0
        step = self._ping_timeout / _CHECKS
        while silent_seconds < self._ping_timeout:
            before = time.monotonic()
            await asyncio.sleep(step)
            count = sum(
                report.packetsReceived
                for report in (await self._connection.getStats()).values()
                if report.type == "transport"
            )
            # A stall of this process counts as at most two steps.
            silent_seconds += min(time.monotonic() - before, 2 * step)
            if count != received:
                received, silent_seconds = count, 0.0
        self._end(
            ConnectionLost(
                f"the service was silent for {self._ping_timeout:g} s: no packet of audio or data "
                "arrived; see ping_timeout"
            )
        )


def _with_fec(sdp: str) -> str:
    """Ask the peer for in-band FEC, which aiortc does not do (RFC 7587, section 6.1)."""
    return _OPUS_LINE.sub(r"\g<0>a=fmtp:\1 useinbandfec=1\r\n", sdp)


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _usable(servers: Iterable[IceServer], logger: logging.Logger) -> Iterable[RTCIceServer]:
    """Return the servers for aiortc, without addresses that aiortc cannot read."""
    for server in servers:
        urls = []
        for url in server.urls:
            if is_readable(url):
                urls.append(url)
            else:
                logger.info("the ICE server %.80r is ignored: its address cannot be read", url)
        if urls:
            yield RTCIceServer(urls, server.username, server.credential)
