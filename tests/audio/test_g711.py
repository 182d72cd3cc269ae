"""On every instruction set, mu-law and A-law follow the tables of ITU-T G.711."""

from __future__ import annotations

import json
import random
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from inworld_sync.audio import g711
from inworld_sync.errors import AudioError

TABLES = json.loads(Path(__file__, "../../vectors/g711_decision_values.json").resolve().read_text())
ALL_SAMPLES = range(-32768, 32768)
LENGTHS = [*range(200), 255, 256, 257, 1023, 1024, 1025]


class Law:
    """
    A reference implementation of one law, made from the tables of ITU-T G.711.

    The numbers in this class have the unit of the tables. A 16-bit sample is ``unit`` times a
    number of the table. A sample on a decision value belongs to the interval above this value, for
    positive and for negative samples, as in the code of ITU-T G.191.
    """

    def __init__(self, name: str, unit: int, signal: Callable[[int, bool], int]) -> None:
        self.unit = unit
        self.signal = signal
        ends = TABLES[name]["segment_ends"]
        self.decisions = [0]
        # Table 1a has 32 equal intervals up to the first end. Table 2a begins with an interval at
        # zero that has half the width of the next intervals. After this interval, the first segment
        # has 15 full intervals. In both tables, each later segment has 16 intervals.
        if name == "alaw":
            self.decisions += [ends[0] * step // 32 for step in range(1, 33)]
        else:
            self.decisions += list(range(1, ends[0] + 1, 2))
        for low, high in pairwise(ends):
            self.decisions += [low + (high - low) * step // 16 for step in range(1, 17)]
        middles = [(low + high) / 2 for low, high in pairwise(self.decisions)]
        # The value of an interval is its middle. The interval at zero of table 2a has the value 0.
        self.values = middles if name == "alaw" else [0, *middles[1:]]

    def encode(self, sample: int) -> int:
        value = sample / self.unit
        # Each interval includes its lower end. For a negative sample, this is the end that is
        # farther from zero.
        if sample >= 0:
            interval = bisect_right(self.decisions, value) - 1
        else:
            interval = bisect_left(self.decisions, -value) - 1
        return self.signal(min(interval, 127), sample >= 0)

    def decode_all(self) -> list[int]:
        linear = [0] * 256
        for interval, value in enumerate(self.values):
            linear[self.signal(interval, True)] = round(value * self.unit)
            linear[self.signal(interval, False)] = round(-value * self.unit)
        return linear


def ulaw_signal(interval: int, positive: bool) -> int:
    """Return the code of table 2a. The positive codes count down from 11111111 to 10000000."""
    return (0xFF if positive else 0x7F) - interval


def alaw_signal(interval: int, positive: bool) -> int:
    """Return the code of table 1a. Codes count up from 0x80 or 0x00, with even bits inverted."""
    return ((0x80 if positive else 0x00) + interval) ^ 0b01010101


LAWS = {"ulaw": Law("ulaw", 4, ulaw_signal), "alaw": Law("alaw", 8, alaw_signal)}
ENCODED = {name: bytes(law.encode(sample) for sample in ALL_SAMPLES) for name, law in LAWS.items()}
DECODED = {name: law.decode_all() for name, law in LAWS.items()}

ENCODE = {"ulaw": g711.encode_ulaw, "alaw": g711.encode_alaw}
DECODE = {"ulaw": g711.decode_ulaw, "alaw": g711.decode_alaw}
ENCODE_INTO = {"ulaw": g711.encode_ulaw_into, "alaw": g711.encode_alaw_into}
DECODE_INTO = {"ulaw": g711.decode_ulaw_into, "alaw": g711.decode_alaw_into}

each_law = pytest.mark.parametrize("law", ["ulaw", "alaw"])
every_level = pytest.mark.usefixtures("level")


def s16(samples: range | list[int]) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def law_noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@each_law
def test_the_reference_is_the_table(law: str) -> None:
    """The reference implementation has the 128 intervals of the Recommendation."""
    assert (129, TABLES[law]["peak"]) == (len(LAWS[law].decisions), LAWS[law].decisions[-1])


@every_level
@each_law
def test_decodes_every_code(law: str) -> None:
    """All 256 codes are decoded to the values of the table."""
    assert s16(DECODED[law]) == DECODE[law](bytes(range(256)))


@every_level
@each_law
def test_encodes_every_sample(law: str) -> None:
    """All 65,536 samples are encoded to the codes of the table."""
    assert ENCODED[law] == ENCODE[law](s16(ALL_SAMPLES))


@every_level
@each_law
@pytest.mark.parametrize("shift", [1, 7, 31])
def test_place_in_the_buffer(law: str, shift: int) -> None:
    """The code of a sample does not depend on its index in the buffer."""
    samples = list(ALL_SAMPLES)
    turned = samples[shift:] + samples[:shift]

    assert ENCODED[law][shift:] + ENCODED[law][:shift] == ENCODE[law](s16(turned))


@every_level
@each_law
def test_every_length(law: str) -> None:
    """Any number of samples is converted, and the bytes after the result are unchanged."""
    for size in LENGTHS:
        codes = law_noise(size)
        pcm = s16([DECODED[law][code] for code in codes])
        out = bytearray(b"\xa5" * (2 * size + 70))
        assert 2 * size == DECODE_INTO[law](codes, out)
        assert pcm + b"\xa5" * 70 == out

        samples = list(array("h", random.Random(size).randbytes(2 * size)))
        expected = bytes(ENCODED[law][sample + 32768] for sample in samples)
        out = bytearray(b"\xa5" * (size + 70))
        assert size == ENCODE_INTO[law](s16(samples), out)
        assert expected + b"\xa5" * 70 == out


@every_level
@each_law
@pytest.mark.parametrize("shift", range(1, 5))
def test_any_alignment(law: str, shift: int) -> None:
    """Input and output may begin at any memory address."""
    codes = law_noise(500)
    pcm = s16([DECODED[law][code] for code in codes])
    out = bytearray(1000 + shift)
    DECODE_INTO[law](memoryview(bytes(shift) + codes)[shift:], memoryview(out)[shift:])
    assert pcm == out[shift:]

    out = bytearray(500 + shift)
    ENCODE_INTO[law](memoryview(bytes(shift) + pcm)[shift:], memoryview(out)[shift:])
    assert ENCODE[law](pcm) == out[shift:]


@every_level
@pytest.mark.parametrize(("law", "negative_zero"), [("ulaw", 0x7F), ("alaw", None)])
def test_decoding_and_encoding_keeps_the_code(law: str, negative_zero: int | None) -> None:
    """Decoding and encoding a code returns the same code, except for mu-law's negative zero."""
    expected = [0xFF if code == negative_zero else code for code in range(256)]

    assert expected == list(ENCODE[law](DECODE[law](bytes(range(256)))))


def sun_ulaw(sample: int) -> int:
    """Return the code by the rule of Sun's g711.c, which negates a sample after the shift."""
    magnitude = min(abs(sample >> 2), 8159) + 33
    segment = magnitude.bit_length() - 6
    code = 0x7F if segment > 7 else segment << 4 | (magnitude >> (segment + 1) & 15)
    return code ^ (0xFF if sample >= 0 else 0x7F)


@every_level
def test_where_audioop_differs() -> None:
    """
    The rule of Sun's g711.c, which audioop uses, differs from G.711 for negative samples.

    As a 16-bit sample, each boundary between two negative codes is nearer to zero by 4.
    """
    ours = g711.encode_ulaw(s16(ALL_SAMPLES))
    expected = sorted(
        step - 4 * decision for decision in LAWS["ulaw"].decisions[1:-1] for step in range(4)
    )

    assert expected == [
        sample for sample in ALL_SAMPLES if ours[sample + 32768] != sun_ulaw(sample)
    ]


@each_law
def test_large_buffers(law: str) -> None:
    """Half a megabyte is converted correctly."""
    repeat = 6

    assert ENCODED[law] * repeat == ENCODE[law](s16(ALL_SAMPLES) * repeat)
    assert s16(DECODED[law]) * 1100 == DECODE[law](bytes(range(256)) * 1100)


@each_law
def test_refuses_half_a_sample(law: str) -> None:
    """An odd count of bytes raises an error."""
    with pytest.raises(AudioError, match="s16 audio has 2 bytes per sample, got 3 bytes") as caught:
        ENCODE[law](b"abc")

    assert caught.value.offset_bytes == 2


@each_law
def test_refuses_too_small_a_buffer(law: str) -> None:
    """A buffer that is one byte too small raises an error and is not changed."""
    small = bytearray(7)
    with pytest.raises(AudioError, match="needs 8 bytes, got a buffer of 7"):
        DECODE_INTO[law](bytes(4), small)
    with pytest.raises(AudioError, match="needs 8 bytes, got a buffer of 7"):
        ENCODE_INTO[law](bytes(16), small)

    assert small == bytearray(7)
    small.clear()
