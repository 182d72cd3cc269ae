"""
Sends spoken sentences over a simulated lossy network, in virtual time and with fixed seeds.

Each sentence is encoded with Opus, as for WebRTC. The network loses some packets. The code of the
emulator or of the client decodes the other packets. Then the emulator recognizes the sentence. The
result does not depend on the speed of the machine.
"""

from __future__ import annotations

import fractions
import logging
import random
from collections.abc import Callable, Sequence

import attrs
import av
import numpy as np

from inworld_sync import Inworld
from inworld_sync.audio.opus_packets import OpusPackets, OpusStream
from inworld_sync.audio.resample import Resampler

from support.sentences import word_errors, words_of

__all__ = ["DECODERS", "Sentence", "sentences"]

RATE_HZ = 48000
FRAME = 960
FRAME_SECONDS = 0.02
# The number of packets with silence before and after each sentence.
PAUSE = 25
VOICES = ("Dennis", "Ashley")
# The emulator waits this many steps of 20 ms for a missing packet.
REORDER_STEPS = 10
LOGGER = logging.getLogger("test")

# An arrival has a sequence number, the time of arrival in seconds, and the packet.
Arrival = tuple[int, float, bytes]
Decoder = Callable[[Sequence[Arrival], int], bytes]


def encoded(pcm: bytes, *, fec: bool) -> list[bytes]:
    """Encode 16-bit PCM of 48000 Hz, with silence before and after it. Return the Opus packets."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = RATE_HZ, "s16", "mono"
    encoder.bit_rate, encoder.time_base = 48_000, fractions.Fraction(1, RATE_HZ)
    encoder.options = {"application": "voip"}
    if fec:
        encoder.options = {"application": "voip", "fec": "1", "packet_loss": "5"}
    pause = bytes(2 * FRAME * PAUSE)
    samples = np.frombuffer(pause + pcm + pause, "<i2")
    packets: list[bytes] = []
    for at in range(0, len(samples) - FRAME + 1, FRAME):
        frame = av.AudioFrame.from_ndarray(
            samples[at : at + FRAME].reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts = RATE_HZ, at
        frame.time_base = encoder.time_base
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def sent(packets: Sequence[bytes], seed: int, loss: float, delay: float) -> list[Arrival]:
    """Return the packets that arrive, in the order of their arrival."""
    numbers = random.Random(seed)
    arrivals = [
        (number, number * FRAME_SECONDS + numbers.uniform(0.0, delay), packet)
        for number, packet in enumerate(packets)
        if numbers.random() >= loss
    ]
    return sorted(arrivals, key=lambda each: each[1])


def heard_by_emulator(arrivals: Sequence[Arrival], count: int) -> bytes:
    """Return the audio that the emulator decodes."""
    stream, waiting, pcm = OpusStream(LOGGER, REORDER_STEPS), list(arrivals), b""
    for step in range(count + 2 * REORDER_STEPS):
        while waiting and waiting[0][1] <= step * FRAME_SECONDS:
            number, _, packet = waiting.pop(0)
            pcm += b"".join(
                each.pcm for each in stream.add(1, number, number * FRAME, packet, step)
            )
        pcm += b"".join(each.pcm for each in stream.due(step))
    return pcm


def heard_by_client(arrivals: Sequence[Arrival], count: int) -> bytes:
    """Return the audio that the client decodes."""
    packets, waiting, pcm = OpusPackets(LOGGER), list(arrivals), b""
    for step in range(count + PAUSE):
        now = 1000.0 + step * FRAME_SECONDS
        while waiting and 1000.0 + waiting[0][1] <= now:
            number, at, packet = waiting.pop(0)
            packets.add(1, number, number * FRAME, packet, 1000.0 + at)
        pcm += packets.read(now)
    packets.close()
    return pcm


# The key is the side that speaks. The value is the decoder of the other side.
DECODERS: dict[str, Decoder] = {"user": heard_by_emulator, "answer": heard_by_client}


@attrs.frozen
class Sentence:
    """
    A sentence and its packets.

    Attributes:
        number: The number of the sentence. This number is a part of the seed.
        text: The spoken text.
        packets: The Opus packets.
    """

    number: int
    text: str
    packets: list[bytes]
    iw: Inworld

    @property
    def words(self) -> int:
        """The number of words."""
        return len(words_of(self.text))

    def errors(self, side: str, seed: int, *, loss: float, delay: float) -> int:
        """
        Return how many words are recognized wrongly.

        Args:
            side: The side that speaks: ``user`` or ``answer``.
            seed: The seed of the network.
            loss: The share of lost packets.
            delay: The longest delay of a packet in seconds.
        """
        arrivals = sent(self.packets, 1000 * seed + self.number, loss, delay)
        pcm = DECODERS[side](arrivals, len(self.packets))
        found = self.iw.stt.transcribe(pcm, sample_rate_hz=RATE_HZ).text
        return word_errors(self.text, found)


def sentences(iw: Inworld, texts: Sequence[str], *, fec: bool = True) -> list[Sentence]:
    """
    Speak the texts with two alternating voices, and encode the speech.

    Args:
        iw: Speaks and recognizes.
        texts: The texts.
        fec: Whether each packet has a copy of the previous packet (in-band FEC), as from the client
            and the emulator.
    """
    found = []
    for number, text in enumerate(texts):
        spoken = iw.tts.synthesize(text, voice=VOICES[number % len(VOICES)])
        resampler = Resampler(spoken.sample_rate_hz, RATE_HZ)
        pcm = resampler.feed(bytes(spoken.pcm)) + resampler.finish()
        found.append(Sentence(number, text, encoded(pcm, fec=fec), iw))
    return found
