"""
Makes traces of packet arrivals from a seed, with constants from published measurements.

A trace lists the packets of one stream. Times are in seconds unless the name ends with ``_ms``. The
place of a sample is its index in the stream. Lengths are counts of samples at 16 kHz.

There are three families of traces:

``udp``    The stream has packets of 20 ms, which may be lost or overtaken (RTP).
``tcp``    Packets arrive in order and none is lost, but retransmissions delay them (relays,
           telephony streams).
``burst``  Audio arrives faster than real time, in utterances whose end is known (speech
           synthesis).

The constants come from these sources:

- Wi-Fi delays: WiFiSeer (MobiSys 2016), 3 ms at 50 %, 20 ms at 90 % and 250 ms at 99 %
- LTE delays: ITU-R M.2134 and Nguyen 2014
- LTE outages: Simula 2015
- full buffers: Jiang 2012
- delay spikes: Ramjee 1994 and Moon 1998
- loss recovery of TCP: RFC 8985, RFC 6298 and Linux
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import norm

from benchmarks.playout.speech import Mask, Signal

RATE_HZ = 16000

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Random: TypeAlias = np.random.Generator
# Maps the times of sending, in s, to one-way delays, in ms.
Delay: TypeAlias = Callable[[Random, Floats], Floats]
# The chunks of one utterance. Each entry has the count of samples in the chunk, and the time in s
# from the arrival of the first chunk to the arrival of this chunk.
Chunks: TypeAlias = list[tuple[int, float]]


@attrs.frozen(eq=False)
class Trace:
    """One stream. Each array has one entry per packet, in the order of sending."""

    name: str
    family: str
    place: Integers  # the position of the packet's first sample in the stream
    length: Integers  # the count of samples in the packet
    sent_s: Floats  # when the packet was complete
    arrival_s: Floats  # infinite for a lost packet
    item: Integers  # the utterance of the packet; 0 in a live stream
    last: Mask  # True for the last packet of an item
    pauses: list[tuple[int, int]] = attrs.field(factory=list)  # first sample and end of each pause

    @property
    def total(self) -> int:
        """Return the count of samples of the stream."""
        return int(self.place[-1] + self.length[-1])


# ---- delays ------------------------------------------------------------------------------------

WIFI_GOOD = [(1e-4, 0.8), (0.5, 3), (0.9, 10), (0.99, 40), (0.999, 120)]
WIFI_BAD = [(1e-4, 0.8), (0.5, 3), (0.9, 20), (0.99, 250), (0.999, 500)]


def in_order(times: Floats) -> Floats:
    """Delay arrivals so that no packet overtakes another."""
    return np.maximum.accumulate(times)


def wifi(random: Random, count: int, quantiles: list[tuple[float, float]], memory: float) -> Floats:
    """
    Return correlated delays with these quantiles, in ms.

    Before it is mapped to the quantiles, the noise of each packet has the correlation *memory* with
    the noise of the packet before it.
    """
    noise = random.standard_normal(count) * np.sqrt(1 - memory * memory)
    noise[0] = random.standard_normal()
    normal = lfilter([1], [1, -memory], noise)
    knots = np.array([norm.ppf(share) for share, _ in quantiles])
    logs = np.log([value for _, value in quantiles])
    result = np.interp(normal, knots, logs)
    beyond = normal > knots[-1]
    slope = (logs[-1] - logs[-2]) / (knots[-1] - knots[-2])
    result[beyond] = logs[-1] + (normal[beyond] - knots[-1]) * slope * 0.5
    return np.exp(result)


def outages(
    random: Random, sent_s: Floats, every_s: float, low_ms: float, high_ms: float
) -> Floats:
    """Return the delays of packets that wait for the end of an outage and then arrive together."""
    extra = np.zeros(len(sent_s))
    at = random.exponential(every_s)
    while at < sent_s[-1]:
        span = random.uniform(low_ms, high_ms) / 1000
        hit = (sent_s >= at) & (sent_s < at + span)
        extra[hit] = np.maximum(extra[hit], (at + span - sent_s[hit]) * 1000)
        at += span + random.exponential(every_s)
    return extra


def lte(random: Random, sent_s: Floats) -> Floats:
    """
    Return the delays of LTE.

    They come from HARQ retransmissions (8 ms each, 10 % block errors), from retransmissions of the
    link layer, and from handovers.
    """
    count = len(sent_s)
    delay = random.uniform(0, 8, count)
    delay += 8 * np.minimum(random.geometric(0.9, count) - 1, 4)
    again = random.random(count) < 0.004
    delay[again] += random.uniform(50, 110, again.sum())
    return delay + outages(random, sent_s, 25, 30, 80)


def bufferbloat(random: Random, sent_s: Floats) -> Floats:
    """Return the delays of a queue that other traffic often fills to 220-420 ms within 4-9 s."""
    delay = np.zeros(len(sent_s))
    at, queue = 0.0, 20.0
    while at < sent_s[-1]:
        span, top = random.uniform(4, 9), random.uniform(220, 420)
        if random.random() < 0.35:
            idle = random.uniform(2, 8)
            hit = (sent_s >= at) & (sent_s < at + idle)
            delay[hit] = np.maximum(5, queue - (sent_s[hit] - at) * 1000 * 0.8)
            at, queue = at + idle, 5.0
        hit = (sent_s >= at) & (sent_s < at + span)
        share = (sent_s[hit] - at) / span
        delay[hit] = queue + (top - queue) * (1 - (1 - share) ** 2)
        at, queue = at + span, top * random.uniform(0.4, 0.7)
    return delay


def step(random: Random, sent_s: Floats) -> Floats:
    """Return delays that are 120 ms higher in the middle third, as if the route had changed."""
    delay = random.gamma(2, 5, len(sent_s))
    delay[(sent_s > sent_s[-1] / 3) & (sent_s < 2 * sent_s[-1] / 3)] += 120
    return delay


def gamma(mean_ms: float) -> Delay:
    """Return a function that returns delays without correlation, of a gamma distribution."""
    return lambda random, sent_s: random.gamma(2.0, mean_ms / 2.0, len(sent_s))


def lost_packets(random: Random, count: int, rate: float, burst: float) -> Mask:
    """
    Return a mask that is True for the packets that are lost (Gilbert-Elliott model).

    *rate* is the share of lost packets. *burst* is the mean number of packets lost in a row.
    """
    leave = 1 / burst
    enter = rate * leave / (1 - rate)
    bad, lost = False, np.zeros(count, bool)
    for index in range(count):
        draw = random.random()
        bad = draw >= leave if bad else draw < enter
        lost[index] = bad
    return lost


# ---- TCP ---------------------------------------------------------------------------------------

RTO_LEAST_MS = 200.0  # Linux


@attrs.frozen
class Tcp:
    """The lost segments and the interruptions of a TCP connection."""

    loss: float  # share of lost segments
    # The mean time between interruptions in s, and their shortest and longest duration in ms.
    blackouts: tuple[float, float, float] | None = None

    def arrivals(self, random: Random, sent_s: Floats, delay_ms: Floats) -> Floats:
        """
        Return the arrival times of an application-limited flow with head-of-line blocking.

        The sender detects a lost segment at the earlier of two times. The first time is a quarter
        of a round trip after the acknowledgment of a later segment. The second time is two round
        trips after the sender has sent the lost segment. Without a later segment, the sender
        detects the loss two round trips and 200 ms after sending. Each lost retransmission adds
        1.25 round trips.
        """
        count = len(sent_s)
        arrival_ms = in_order(sent_s * 1000 + delay_ms)
        round_trip_ms = 2 * float(np.median(delay_ms))
        seen_ms = arrival_ms.copy()
        lost = random.random(count) < self.loss
        for index in np.flatnonzero(lost):
            later = index + 1
            while later < count and lost[later]:
                later += 1
            acknowledged = seen_ms[later] + round_trip_ms / 2 if later < count else np.inf
            probe = sent_s[index] * 1000 + 2 * round_trip_ms + (200 if later >= count else 0)
            found = min(acknowledged + round_trip_ms / 4, probe)
            while random.random() < self.loss:
                found += round_trip_ms * 1.25
            arrival_ms[index] = found + round_trip_ms / 2
        if self.blackouts is not None:
            self._black_out(random, sent_s, arrival_ms, round_trip_ms)
        return in_order(arrival_ms) / 1000

    def _black_out(
        self, random: Random, sent_s: Floats, arrival_ms: Floats, round_trip_ms: float
    ) -> None:
        """
        Delay the packets that are sent during interruptions.

        The retransmission timeout doubles with each retransmission.
        """
        assert self.blackouts is not None
        every_s, low_ms, high_ms = self.blackouts
        at = random.exponential(every_s)
        while at < sent_s[-1]:
            span_ms = random.uniform(low_ms, high_ms)
            hit = np.flatnonzero((sent_s >= at) & (sent_s < at + span_ms / 1000))
            if len(hit):
                first_ms = sent_s[hit[0]] * 1000
                timeout_ms = max(RTO_LEAST_MS, round_trip_ms * 1.5)
                recovered_ms = first_ms + timeout_ms
                if first_ms + 2 * round_trip_ms > at * 1000 + span_ms:
                    recovered_ms = min(recovered_ms, first_ms + 2 * round_trip_ms)
                while recovered_ms < at * 1000 + span_ms:
                    timeout_ms *= 2
                    recovered_ms += timeout_ms
                arrival_ms[hit] = np.maximum(arrival_ms[hit], recovered_ms + round_trip_ms / 2)
            at += span_ms / 1000 + random.exponential(every_s)


# ---- live streams ------------------------------------------------------------------------------


def live(
    name: str,
    seconds: float,
    delay: Delay,
    seed: int,
    *,
    packet_ms: int = 20,
    skew_ppm: float = 0.0,
    ordered: bool = True,
    loss: tuple[float, float] | None = None,
    overtaken: float = 0.0,
    tcp: Tcp | None = None,
) -> Trace:
    """
    Return a stream that is sent in real time.

    *skew_ppm* is the error of the sender's clock. *loss* has the rate and the burst for
    :func:`lost_packets`. *overtaken* is the share of packets that are overtaken by later packets.
    """
    random = np.random.default_rng(seed)
    count = int(seconds * 1000 / packet_ms)
    length = int(RATE_HZ * packet_ms / 1000)
    number = np.arange(count)
    sent_s = (number + 1) * packet_ms / 1000 / (1 + skew_ppm * 1e-6)
    delay_ms = delay(random, sent_s)
    if tcp is not None:
        arrival_s = tcp.arrivals(random, sent_s, delay_ms)
    else:
        arrival_s = sent_s + delay_ms / 1000
        if ordered:
            arrival_s = in_order(arrival_s)
        if overtaken:
            hit = random.random(count) < overtaken
            arrival_s[hit] += random.uniform(0.02, 0.06, hit.sum())
    if loss is not None:
        arrival_s[lost_packets(random, count, *loss)] = np.inf
    if np.isinf(arrival_s[0]):
        arrival_s[0] = sent_s[0] + min(delay_ms[0], np.median(delay_ms)) / 1000
    last = np.zeros(count, bool)
    last[-1] = True
    return Trace(
        name=name,
        family="tcp" if tcp is not None else name.split("_")[0],
        place=number * length,
        length=np.full(count, length),
        sent_s=sent_s,
        arrival_s=arrival_s,
        item=np.zeros(count, int),
        last=last,
    )


def live_traces(seconds: float = 60, seed: int = 0) -> Iterator[Trace]:
    """Yield a trace of each of the sixteen networks on which live mode is evaluated."""

    def trace(
        name: str,
        number: int,
        delay: Delay,
        tcp: Tcp | None = None,
        *,
        packet_ms: int = 20,
        ordered: bool = True,
        loss: tuple[float, float] | None = None,
        overtaken: float = 0.0,
    ) -> Trace:
        return live(
            name,
            seconds,
            delay,
            seed * 1000 + number,
            packet_ms=packet_ms,
            ordered=ordered,
            loss=loss,
            overtaken=overtaken,
            tcp=tcp,
        )

    yield trace("udp_lan", 1, lambda r, s: 0.5 + r.exponential(1.0, len(s)))
    yield trace("udp_wifi_good", 2, lambda r, s: wifi(r, len(s), WIFI_GOOD, 0.7))
    yield trace("udp_wifi_bad", 3, lambda r, s: wifi(r, len(s), WIFI_BAD, 0.9))
    yield trace("udp_lte", 4, lte)
    yield trace("udp_lte_excess", 5, lambda r, s: lte(r, s) + outages(r, s, 20, 300, 1200))
    yield trace("udp_bufferbloat", 6, lambda r, s: bufferbloat(r, s) + r.gamma(2, 3, len(s)))
    yield trace("udp_spikes", 7, lambda r, s: r.gamma(2, 4, len(s)) + outages(r, s, 8, 60, 400))
    yield trace("udp_step", 8, step)
    yield trace("udp_loss3_reorder", 9, gamma(10), ordered=False, loss=(0.03, 2), overtaken=0.01)
    yield trace("tcp_loss1_rtt60", 10, lambda r, s: 30 + wifi(r, len(s), WIFI_GOOD, 0.7), Tcp(0.01))
    yield trace("tcp_loss2_rtt150", 11, lambda r, s: 75 + r.gamma(2, 4, len(s)), Tcp(0.02))
    yield trace("tcp_wifi_bad", 12, lambda r, s: 20 + wifi(r, len(s), WIFI_BAD, 0.9), Tcp(0.005))
    yield trace("tcp_lte", 13, lambda r, s: 30 + lte(r, s), Tcp(0.003, (25, 60, 500)))
    yield trace(
        "tcp_blackout", 14, lambda r, s: 25 + r.gamma(2, 3, len(s)), Tcp(0.001, (15, 100, 900))
    )
    # The event loop of the sender stalls. Packets are late but in order, and TCP loses no packet.
    yield trace(
        "tcp_sender_pauses",
        15,
        lambda r, s: 5 + r.exponential(2, len(s)) + outages(r, s, 2.5, 40, 200),
    )
    yield trace(
        "tcp_delta100", 16, lambda r, s: 30 + r.gamma(1.5, 15, len(s)), Tcp(0.01), packet_ms=100
    )


def lossy_traces(seconds: float = 120, seed: int = 0) -> Iterator[Trace]:
    """Yield two traces, with 3 % and 5 % of lost packets. Several packets in a row may be lost."""
    for index, loss in enumerate(((0.03, 2), (0.05, 3))):
        number = 500 + 10 * seed + index
        yield live("udp_loss", seconds, gamma(10), number, ordered=False, loss=loss)


def drift_traces(seconds: float = 600, seed: int = 0) -> Iterator[Trace]:
    """
    Yield two traces with little jitter, in which the clock of the sender is wrong.

    The errors are +200 ppm and -200 ppm, so the clock is wrong by 120 ms after 10 minutes.
    """
    for index, ppm in enumerate((200, -200)):
        number = seed * 1000 + 95 + index
        yield live(
            f"udp_drift{ppm:+d}ppm",
            seconds,
            lambda r, s: 0.5 + r.exponential(1.0, len(s)),
            number,
            skew_ppm=ppm,
        )


# ---- bursts ------------------------------------------------------------------------------------


def chunks(
    random: Random,
    seconds: float,
    chunk_ms: tuple[float, float],
    pace: float | Callable[[Random], float],
    stall_every_s: float = 0,
    stall_ms: tuple[float, float] = (0, 0),
    first_ms: float | None = None,
    network: Callable[[Random], float] | None = None,
) -> Chunks:
    """
    Return one utterance that arrives over a TCP connection with a loss of 1 %.

    *pace* is the time between two chunks, divided by the duration of a chunk. With 0.25, the audio
    arrives four times faster than real time.
    """
    found: Chunks = []
    at, left, latest = 0.0, int(seconds * RATE_HZ), 0.0
    stall_at = random.exponential(stall_every_s) if stall_every_s else np.inf
    while left > 0:
        first = not found
        size_ms = (first_ms or random.uniform(*chunk_ms)) if first else random.uniform(*chunk_ms)
        size = min(left, int(size_ms * RATE_HZ / 1000))
        if not first:
            at += size / RATE_HZ * (pace(random) if callable(pace) else pace)
        if at > stall_at:
            at += random.uniform(*stall_ms) / 1000
            stall_at = at + random.exponential(stall_every_s)
        arrival = at + (float(network(random)) / 1000 if network else 0)
        if random.random() < 0.01 * max(1, size * 2 / 1400):
            arrival += 60 * 1.25 / 1000
        latest = max(latest, arrival)
        found.append((size, latest))
        left -= size
    return [(size, arrival - found[0][1]) for size, arrival in found]


def sentences(random: Random, seconds: float) -> tuple[Chunks, list[tuple[int, int]]]:
    """
    Return the chunks of several sentences, and the pauses in them.

    The text comes from a language model, so a sentence may start late. Its audio then arrives four
    times faster than real time. Each sentence ends with a pause of 160 ms.
    """
    found: Chunks = []
    pauses = []
    at, audio = 0.0, 0.0
    while audio < seconds:
        length = random.uniform(1.2, 3.5)
        found += [
            (size, at + when) for size, when in chunks(random, length, (80, 250), 0.25, first_ms=60)
        ]
        audio += length
        end = sum(size for size, _ in found)
        pauses.append((end - int(0.16 * RATE_HZ), end))
        at = max(at + length * 0.25, audio + random.normal(-0.35, 0.35))
        at = max(at, found[-1][1] + 0.02)
    return found, pauses


def utterances(
    name: str,
    seed: int,
    count: int,
    make: Callable[[Random, float], Chunks | tuple[Chunks, list[tuple[int, int]]]],
) -> Trace:
    """Return a trace of *count* utterances of 1.5 to 9 s, with a pause after each utterance."""
    random = np.random.default_rng(seed)
    rows: list[tuple[int, int, float, int, bool]] = []
    pauses: list[tuple[int, int]] = []
    at, place = 0.5, 0
    for item in range(count):
        made = make(random, random.uniform(1.5, 9.0))
        parts, silent = made if isinstance(made, tuple) else (made, [])
        pauses += [(place + low, place + high) for low, high in silent]
        end, spoken = at, 0.0
        for index, (size, when) in enumerate(parts):
            rows.append((place, size, at + when, item, index == len(parts) - 1))
            place += size
            spoken += size / RATE_HZ
            end = max(end, at + when)
        at = max(end, at + spoken) + random.uniform(1.0, 3.0) + 1.5
    places, lengths, sent, items, lasts = (np.array(column) for column in zip(*rows, strict=True))
    return Trace(name, "burst", places, lengths, sent, in_order(sent), items, lasts, pauses)


def burst_traces(seed: int = 0, count: int = 40) -> Iterator[Trace]:
    """Yield a trace of each of the five servers with which burst mode is evaluated."""

    def good(random: Random) -> float:
        return float(wifi(random, 1, WIFI_GOOD, 0)[0])

    def bad(random: Random) -> float:
        return float(wifi(random, 1, WIFI_BAD, 0)[0])

    def trace(name: str, number: int, make: Callable[[Random, float], Chunks]) -> Trace:
        return utterances(name, seed * 1000 + number, count, make)

    yield trace(
        "tts_fast",
        60,
        lambda r, s: chunks(r, s, (100, 500), r.uniform(0.12, 0.35), first_ms=60, network=good),
    )
    yield trace(
        "tts_fast_wifi_bad",
        61,
        lambda r, s: chunks(r, s, (100, 500), r.uniform(0.2, 0.4), first_ms=60, network=bad),
    )
    yield trace(
        "tts_marginal",
        62,
        lambda r, s: chunks(
            r, s, (80, 250), lambda q: q.normal(0.86, 0.12), 4, (60, 350), 80, good
        ),
    )
    yield trace(
        "s2s_stalls",
        63,
        lambda r, s: chunks(r, s, (50, 110), r.uniform(0.35, 0.65), 2.5, (150, 900), 50, good),
    )
    yield utterances("tts_sentences", seed * 1000 + 64, count, sentences)


def shaped(trace: Trace, source: Signal, active: Mask) -> tuple[Signal, Mask]:
    """
    Return the source of a burst trace, and a mask of its active samples.

    Each item is faded in at its start and faded out at its end. The pauses are almost silent, and
    the mask is False there.
    """
    wave, spoken = source.copy(), active.copy()
    fade = int(0.015 * RATE_HZ)
    rise = np.linspace(0, 1, fade, dtype=np.float32)
    for item in np.unique(trace.item):
        mine = trace.item == item
        low = trace.place[mine][0]
        high = trace.place[mine][-1] + trace.length[mine][-1]
        wave[low : low + fade] *= rise
        wave[high - fade : high] *= rise[::-1]
    for low, high in trace.pauses:
        wave[low - fade : low] *= rise[::-1]
        wave[low : high - fade] *= 0.002
        wave[high - fade : high] *= rise * 0.5
        spoken[low:high] = False
    return wave, spoken
