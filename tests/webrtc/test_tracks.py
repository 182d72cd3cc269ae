"""A stall of the process does not change the audio of the tracks."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace
from typing import Any

import av
import numpy as np

from inworld_sync.transport.deadline import Deadline
from inworld_sync.webrtc.incoming import IncomingAudio
from inworld_sync.webrtc.outgoing import OutgoingTrack

from support.opus_tone import FRAME, opus_tone
from support.tone_hearing import tone

FRAME_SECONDS = 0.02
PATIENCE_SECONDS = 20.0


def loud_blocks(samples: np.ndarray[Any, Any]) -> list[bool]:
    """Return for each block of 20 ms whether the block has sound."""
    blocks = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return [bool(np.abs(block.astype(int)).max() > 1000) for block in blocks]


def test_the_user_s_audio_after_a_stall() -> None:
    """After a stall, no silence is sent between the audio before and the audio after the stall."""
    deadline = Deadline(PATIENCE_SECONDS, "the test")
    pcm = tone(0.4, 400.0)

    async def packets() -> list[bytes]:
        track = OutgoingTrack()
        track.put(pcm[: len(pcm) // 2], deadline)
        found = [bytes(await track.recv()) for _ in range(10)]
        time.sleep(0.3)
        asyncio.get_running_loop().call_later(
            FRAME_SECONDS / 4, track.put, pcm[len(pcm) // 2 :], deadline
        )
        return found + [bytes(await track.recv()) for _ in range(12)]

    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", 48000
    frames = [frame for each in asyncio.run(packets()) for frame in decoder.decode(av.Packet(each))]
    loud = loud_blocks(np.concatenate([frame.to_ndarray()[0] for frame in frames]))

    assert sum(loud) >= 20
    assert all(loud[loud.index(True) : loud.index(True) + 20])


def test_the_service_s_audio_after_a_stall() -> None:
    """After a stall, the packets that wait in the socket are read before audio is delivered."""
    payloads = opus_tone(100)
    delivered: list[bytes] = []

    async def run() -> None:
        audio = IncomingAudio(
            lambda pcm, delay_seconds: delivered.append(pcm), logging.getLogger("test")
        )
        task = asyncio.ensure_future(audio.run())
        began = time.monotonic()
        for number, payload in enumerate(payloads):
            while time.monotonic() < began + number * FRAME_SECONDS:
                await asyncio.sleep(0.001)
            audio.add(
                SimpleNamespace(
                    ssrc=1, sequence_number=number, timestamp=number * FRAME, payload=payload
                )
            )
            # The event loop needs several passes to handle a packet.
            for _ in range(3):
                await asyncio.sleep(0)
            if number == 50:
                time.sleep(0.5)
        while time.monotonic() < began + len(payloads) * FRAME_SECONDS + 1.0:
            await asyncio.sleep(0.01)
        task.cancel()
        audio.close()

    asyncio.run(run())
    samples = np.frombuffer(b"".join(delivered), "<i2")
    loud = loud_blocks(samples)
    first, last = loud.index(True), len(loud) - 1 - loud[::-1].index(True)
    assert all(loud[first : last + 1])
    assert sum(loud) >= 95
