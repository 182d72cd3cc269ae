"""
A small client of Realtime over WebRTC. The client uses aiortc, and no code of the package.

The client uses the loopback address only, so it works on a machine without a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import http.client
import json
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from inworld_sync.emulator import Emulator

from support.realtime_client import RealtimeClient

__all__ = ["RATE_HZ", "RtcClient", "RtcConnection", "open_rtc", "post_offer", "post_offer_to"]

RATE_HZ = 48000
FRAME = RATE_HZ // 50
_TIMEOUT = 20.0


class _Microphone(MediaStreamTrack):
    """Sends the queued samples in real time, and silence between them."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.waiting = np.zeros(0, "<i2")
        self._sent = 0
        self._began = 0.0

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._began = self._began or loop.time()
        await asyncio.sleep(self._began + self._sent / RATE_HZ - loop.time())
        samples, self.waiting = self.waiting[:FRAME], self.waiting[FRAME:]
        samples = np.pad(samples, (0, FRAME - len(samples)))
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, self._sent
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._sent += FRAME
        return frame


class RtcConnection:
    """
    One peer connection, whose event loop runs on a separate thread.

    Attributes:
        states: The states of the connection, in order.
        ended: Set when the connection was closed or has failed.
    """

    def __init__(self, *, changed_offer: Callable[[str], str] = str) -> None:
        self.states: list[str] = []
        self.ended = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtc-client")
        self._thread.start()
        self._messages: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.opened = threading.Event()
        self._heard: list[np.ndarray[Any, Any]] = []
        self._news = threading.Condition()
        self._changed_offer = changed_offer
        self._microphone = _Microphone()
        self.run(self._prepare())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT)

    def offer(self) -> str:
        """Return the SDP of the offer."""
        sdp: str = self.run(self._offer())
        return self._changed_offer(sdp)

    def accept(self, answer: str, *, opens: bool = True) -> None:
        """Apply the SDP of the answer. If *opens* is true, wait until the data channel is open."""
        self.run(self._pc.setRemoteDescription(RTCSessionDescription(answer, "answer")))
        assert not opens or self.opened.wait(_TIMEOUT), "the data channel does not open"

    def send(self, text: str | bytes) -> None:
        """Send a message on the data channel."""
        self._loop.call_soon_threadsafe(self._channel.send, text)

    def recv(self, timeout: float) -> str:
        """Return the next message."""
        message = self._messages.get(timeout=timeout)
        assert message is not None, "the data channel was closed"
        return message

    def speak(self, samples: np.ndarray[Any, Any]) -> None:
        """Queue samples for the track of the microphone."""

        def add() -> None:
            self._microphone.waiting = np.concatenate([self._microphone.waiting, samples])

        self._loop.call_soon_threadsafe(add)

    def heard(self) -> np.ndarray[Any, Any]:
        """Return all samples of the server's track so far."""
        with self._news:
            return np.concatenate([np.zeros(0, "<i2"), *self._heard])

    def listen(self, seconds: float) -> np.ndarray[Any, Any]:
        """Wait for *seconds* of new audio on the server's track. Return all samples so far."""
        wanted = len(self.heard()) + round(seconds * RATE_HZ)
        with self._news:
            enough = self._news.wait_for(lambda: sum(map(len, self._heard)) >= wanted, _TIMEOUT)
        assert enough, "the server's track has ended"
        return self.heard()

    def vanish(self) -> None:
        """Close the sockets without a message to the server."""
        self.run(self._pc.sctp.transport.transport.stop())

    def close(self) -> None:
        """Close the connection and end the thread."""
        with contextlib.suppress(TimeoutError):
            self.run(self._pc.close())
        self.run(self._cancel_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_TIMEOUT)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _cancel_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self) -> None:
        self._pc = pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._channel = pc.createDataChannel("oai-events")
        pc.addTrack(self._microphone)
        self._channel.on("open", self.opened.set)
        self._channel.on("message", self._messages.put)
        self._channel.on("close", lambda: self._messages.put(None))
        pc.on("track", lambda track: asyncio.ensure_future(self._listen(track)))
        pc.on("connectionstatechange", self._note_state)

    def _note_state(self) -> None:
        self.states.append(self._pc.connectionState)
        if self.states[-1] in ("closed", "failed"):
            self.ended.set()

    async def _offer(self) -> str:
        transports = {self._pc.sctp.transport.transport}
        transports |= {each.transport.transport for each in self._pc.getReceivers()}
        for transport in transports:
            _use_loopback(transport._connection)
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return self._pc.localDescription.sdp

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                left = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
                with self._news:
                    self._heard.append(left)
                    self._news.notify_all()


def _use_loopback(connection: Any) -> None:
    gather = connection.get_component_candidates

    async def on_loopback(component: int, addresses: list[str], timeout: int = 5) -> Any:
        return await gather(component=component, addresses=["127.0.0.1"], timeout=timeout)

    connection.get_component_candidates = on_loopback


class RtcClient(RealtimeClient):
    """Sends and reads events in order. The connection ``rtc`` sends and receives audio."""

    def __init__(self, rtc: RtcConnection) -> None:
        super().__init__(rtc)  # type: ignore[arg-type]
        self.rtc = rtc


def post_offer(
    server: Emulator,
    body: str | Mapping[str, Any],
    path: str = "/v1/realtime/calls",
    **headers: str,
) -> tuple[int, str, Mapping[str, str]]:
    """Send an offer, as SDP or in JSON. Return the status, the body and the headers."""
    return post_offer_to(server.port, server.api_key, body, path, **headers)


def post_offer_to(
    port: int,
    api_key: str,
    body: str | Mapping[str, Any],
    path: str = "/v1/realtime/calls",
    **headers: str,
) -> tuple[int, str, Mapping[str, str]]:
    """Send an offer to a server of another process."""
    kind = "application/sdp" if isinstance(body, str) else "application/json"
    text = body if isinstance(body, str) else json.dumps(body)
    sent = {"Authorization": f"Basic {api_key}", "Content-Type": kind, **headers}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    with contextlib.closing(connection):
        connection.request("POST", path, text, sent)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.headers)


@contextlib.contextmanager
def open_rtc(
    server: Emulator, path: str = "/v1/realtime/calls", **connection: Any
) -> Iterator[RtcClient]:
    """Start a call with the key of the server, and read the first event."""
    with contextlib.closing(RtcConnection(**connection)) as rtc:
        status, answer, _ = post_offer(server, rtc.offer(), path)
        assert status == 200, answer
        rtc.accept(answer)
        client = RtcClient(rtc)
        assert client.receive()["type"] == "session.created"
        yield client
