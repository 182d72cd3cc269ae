"""
Implements one WebRTC call: a peer connection with a data channel, two tracks, and a Realtime
session.

Threads: everything here runs on the event loop, except the session, which has a thread of its own.
A call ends when the client disconnects, when the session ends, when nothing was received for
``Settings.idle_timeout``, when the client does not connect in time, or when the server closes.

aiortc uses all addresses of the machine except the loopback address. By default, the emulator
listens on the loopback address only. So each call replaces the addresses of its ICE connection with
those of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import threading
import time
from collections.abc import Coroutine, Sequence

import aioice
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCSessionDescription,
)

from inworld_sync.audio.opus_decoder import can_recover
from inworld_sync.emulator.faults import Fault
from inworld_sync.emulator.peer import PeerGone
from inworld_sync.emulator.realtime.config import SessionConfig
from inworld_sync.emulator.realtime.events import EventSender
from inworld_sync.emulator.realtime.service import run_session
from inworld_sync.emulator.realtime.session import Session
from inworld_sync.emulator.rtc.peer import ChannelPeer
from inworld_sync.emulator.rtc.track_audio import TrackAudio
from inworld_sync.emulator.rtc.tracks import InputTrack, OutputTrack
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.status import INVALID_ARGUMENT, Refused

__all__ = ["CHANNEL", "Call", "uses_fec"]

CHANNEL = "oai-events"
_logger = logging.getLogger("inworld_sync.emulator")
_CHECK_SECONDS = 0.25
# An ending call waits at most _FLUSH_SECONDS for the sending of its last events, and at most
# _CLOSE_SECONDS for each step of the end.
_FLUSH_SECONDS = 1.0
_FLUSH_STEP_SECONDS = 0.01
_CLOSE_SECONDS = 2.0
_OPUS_LINE = re.compile(r"^a=rtpmap:([0-9]+) opus/48000/2\r\n", re.MULTILINE)


class Call:
    """
    One call.

    Args:
        call_id: The id of the call.
        shared: The state of the server.
        config: The settings of the session.
        faults: The faults of the call.
        slot: An exit stack with the place of the call. The stack is closed when the call has ended.

    Thread safety: only the thread of the event loop uses this object; any thread may call ``join``.
    """

    def __init__(
        self,
        call_id: str,
        shared: SharedState,
        config: SessionConfig,
        *,
        faults: Sequence[Fault],
        slot: contextlib.ExitStack,
    ) -> None:
        self._id = call_id
        self._shared = shared
        self._config = config
        self._faults = faults
        self._slot = slot
        self._loop = asyncio.get_running_loop()
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._output = OutputTrack()
        self._channel: RTCDataChannel | None = None
        self._peer: ChannelPeer | None = None
        self._audio: TrackAudio | None = None
        self._session_thread: threading.Thread | None = None
        # How many parts run: the connection and, later, the session.
        self._running = 1
        self._transports: set[RTCIceTransport] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._is_active = False
        self._connection.on("datachannel", self._on_channel)
        self._connection.on("connectionstatechange", self._on_state)

    async def answer(self, offer: str) -> str:
        """
        Accept an offer, and return the SDP of the answer.

        Raises:
            Refused: The offer cannot be accepted.
        """
        self._shared.calls.add(self)
        connection = self._connection
        try:
            transceiver = connection.addTransceiver(self._output)
            transceiver.setCodecPreferences(_opus())
            track = InputTrack(transceiver.receiver, self._on_audio)
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            if uses_fec(offer):
                self._output.add_copies()
            self._restrict_addresses()
            await connection.setLocalDescription(await connection.createAnswer())
        except BaseException as error:
            await self.end()
            if not isinstance(error, Exception):
                raise
            # aiortc raises exceptions of many types for an SDP that it cannot use.
            reason = f"{type(error).__name__}: {error}"[:300]
            message = f"sdp is not an offer that can be answered: {reason}"
            raise Refused(INVALID_ARGUMENT, message) from error
        self._start(self._watch())
        self._start(track.run())
        sdp: str = connection.localDescription.sdp
        if can_recover():
            sdp = _OPUS_LINE.sub(r"\g<0>a=fmtp:\1 useinbandfec=1\r\n", sdp)
        return sdp

    async def end(self, *, silently: bool = False) -> None:
        """End the call. With *silently*, the client gets no message about the end."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end(silently=silently))
        await asyncio.shield(self._ending)

    def join(self, seconds: float) -> None:
        """Wait for the end of the session's thread, for at most *seconds*."""
        if self._session_thread is not None:
            self._session_thread.join(seconds)

    async def _end(self, *, silently: bool) -> None:
        if self._peer is not None:
            self._peer.end()
        if self._audio is not None:
            self._audio.close()
        try:
            if silently:
                await self._attempt(self._stop_ice())
            await self._attempt(self._connection.close())
            await self._attempt(self._stop_ice())
        finally:
            for task in self._tasks:
                task.cancel()
            self._slot.close()
            self._leave()

    async def _attempt(self, work: Coroutine[object, object, None]) -> None:
        """Do a step of the end. If the step fails, log the error, so that later steps run too."""
        task = asyncio.ensure_future(work)
        # A step that takes longer is not cancelled, because a cancelled close() fails in aiortc.
        done, _ = await asyncio.wait({task}, timeout=_CLOSE_SECONDS)
        if not done:
            _logger.warning("%s did not end within %s s", self._id, _CLOSE_SECONDS)
        elif error := task.exception():
            _logger.error("a step of the end of %s failed", self._id, exc_info=error)

    async def _stop_ice(self) -> None:
        """Close the sockets without a message to the client."""
        for transport in self._transports:
            await transport.stop()

    def _leave(self) -> None:
        """Leave the table of calls when the connection and the session have ended."""
        self._running -= 1
        if self._running == 0:
            self.join(_CLOSE_SECONDS)
            self._shared.calls.remove(self)

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _restrict_addresses(self) -> None:
        """Use the addresses on which the server listens instead of the addresses from aioice."""
        users = [*self._connection.getReceivers(), self._connection.sctp]
        self._transports = {each.transport.transport for each in users if each is not None}
        for transport in self._transports:
            # aiortc has no public attribute for the ICE connection.
            _use_addresses(transport._connection, self._shared.address)  # noqa: SLF001

    # Events of the connection.

    def _on_audio(self, pcm: bytes) -> None:
        self._is_active = True
        if self._peer is not None:
            self._peer.add_audio(pcm)

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label != CHANNEL or self._peer is not None or self._ending is not None:
            return
        settings = self._shared.settings
        peer = ChannelPeer(
            self._loop,
            channel,
            faults=self._faults,
            latency=settings.latency_ms / 1000,
            on_close=self._end_soon,
        )
        events = EventSender(
            peer,
            beta_names=settings.realtime.beta_names,
            explains_errors=settings.realtime.explains_errors,
        )
        self._channel, self._peer, self._audio = channel, peer, TrackAudio(events)
        self._output.source = self._audio.pop
        session = Session(self._shared, events, self._config, self._audio)
        channel.on("message", self._on_message)
        channel.on("close", self._end_soon)
        self._session_thread = threading.Thread(
            target=self._run,
            args=(session, peer),
            name=f"inworld-emulator-{self._id}",
            daemon=True,
        )
        try:
            self._session_thread.start()
            self._running += 1
        except RuntimeError as error:  # the system has no thread left
            _logger.warning("the emulator drops a call: %s", error)
            self._session_thread = None
            self._end_soon()

    def _run(self, session: Session, peer: ChannelPeer) -> None:
        """Run the session, on its own thread."""
        try:
            run_session(session, peer)
        except PeerGone:
            pass
        except Exception:
            # An error of the emulator ends only this call. The log shows the error.
            _logger.exception("%s failed", self._id)
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._leave)

    def _on_message(self, message: str | bytes) -> None:
        self._is_active = True
        if self._peer is not None:
            self._peer.add_event(message)

    def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._end_soon()

    def _end_soon(self, *, silently: bool = False) -> None:
        if self._ending is None:
            self._start(self._flush_and_end(silently=silently))

    async def _flush_and_end(self, *, silently: bool) -> None:
        """Send the last events, then end the call."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        while (
            not silently
            and self._channel is not None
            and self._connection.connectionState == "connected"
            and self._channel.bufferedAmount
            and time.monotonic() < deadline
        ):
            await asyncio.sleep(_FLUSH_STEP_SECONDS)
        await self.end(silently=silently)

    async def _watch(self) -> None:
        """End the call if the client does not connect, or if nothing is received."""
        settings = self._shared.settings
        waited = idle = 0.0
        # This loop counts steps and reads no clock. While the process stalls, packets of the client
        # may wait, and with a clock the call would end.
        while idle < settings.idle_timeout and (
            self._peer is not None or waited < settings.realtime.ice_timeout
        ):
            self._is_active = False
            await asyncio.sleep(_CHECK_SECONDS)
            waited += _CHECK_SECONDS
            idle = 0.0 if self._is_active else idle + _CHECK_SECONDS
        self._end_soon()


def _opus() -> list[RTCRtpCodecCapability]:
    """Return the codecs of the tracks: only Opus."""
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    return [each for each in codecs if each.mimeType.lower() == "audio/opus"]


def _use_addresses(connection: aioice.Connection, listening: str) -> None:
    """
    Let an ICE connection use the address on which the server listens.

    Args:
        connection: The connection, which has not gathered its candidates yet.
        listening: The address of the server. Unspecified addresses mean all addresses of the
            machine, including loopback.
    """
    gather = connection.get_component_candidates
    address = ipaddress.ip_address(listening)
    loopback = ["127.0.0.1", "::1"] if address.version == 6 else ["127.0.0.1"]

    async def gather_own(
        component: int, addresses: list[str], timeout: int = 5
    ) -> list[aioice.Candidate]:
        if address.is_unspecified:
            addresses = [*addresses, *loopback]
        else:
            addresses = loopback if address.is_loopback else [listening]
        return await gather(component=component, addresses=addresses, timeout=timeout)

    connection.get_component_candidates = gather_own  # type: ignore[method-assign]


def uses_fec(offer: str) -> bool:
    """Return whether the decoder of the client uses in-band FEC (RFC 7587, section 6.1)."""
    return any(
        re.search(
            rf"^a=fmtp:{number} (?:.*;)?[ \t]*useinbandfec[ \t]*=[ \t]*1[ \t]*(?:;|\r?$)",
            offer,
            re.MULTILINE | re.IGNORECASE,
        )
        for number in re.findall(
            r"^a=rtpmap:([0-9]+) opus/48000/2[ \t]*\r?$", offer, re.MULTILINE | re.IGNORECASE
        )
    )
