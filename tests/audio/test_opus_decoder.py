"""Lost Opus packets are recovered from the copies in later packets, or concealed."""

from __future__ import annotations

import ctypes
import fractions
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from inworld_sync.audio import opus_decoder
from inworld_sync.audio.opus_decoder import (
    LibopusDecoder,
    OpusDecoder,
    PyAvDecoder,
    can_recover,
    first_usable,
    load_libopus,
    new_decoder,
)
from inworld_sync.audio.opus_packets import OpusStream

from support.opus_tone import FRAME, RATE_HZ, has_copy

COUNT = 50
LOGGER = logging.getLogger("test")
Samples = np.ndarray[Any, Any]


def syllables(count: int = COUNT) -> Samples:
    """Return *count* blocks of 20 ms. Each block has another pitch, which no decoder can guess."""
    numbers = np.random.default_rng(1)
    phase, blocks = 0.0, []
    for _ in range(count):
        phases = phase + 2 * np.pi * numbers.uniform(150, 400) / RATE_HZ * np.arange(1, FRAME + 1)
        phase = phases[-1]
        weights = numbers.uniform(0.1, 1.0, 5)
        blocks.append(sum(w * np.sin(n * phases) for n, w in enumerate(weights, 1)) * 2000)
    return np.concatenate(blocks).astype("<i2")


def encoded(samples: Samples, **options: str) -> list[bytes]:
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = RATE_HZ, "s16", "mono"
    encoder.bit_rate, encoder.options = 48_000, {"application": "voip", **options}
    packets: list[bytes] = []
    for at in range(0, len(samples), FRAME):
        block = samples[at : at + FRAME].reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, at, fractions.Fraction(1, RATE_HZ)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def with_fec(samples: Samples, **options: str) -> list[bytes]:
    return encoded(samples, fec="1", packet_loss="5", **options)


def recoverable(packets: Sequence[bytes]) -> list[int]:
    """Return the numbers of some packets, not in a row, of which the next packet has a copy."""
    found = [number for number in range(4, COUNT - 3, 3) if has_copy(packets[number + 1])]
    assert len(found) > 10
    return found


def libopus() -> LibopusDecoder:
    library = load_libopus()
    assert library is not None, "PyAV's wheels have no libopus any more"
    return LibopusDecoder(library)


def heard(packets: Sequence[bytes], decoder: OpusDecoder, lost: Sequence[int] = ()) -> Samples:
    """Return the audio of all packets, of which the lost ones are replaced."""
    pcm, gap = b"", 0
    for number, packet in enumerate(packets):
        if number in lost:
            gap += 1
        else:
            replaced = decoder.replace_lost(gap * FRAME, packet)
            assert len(replaced) == 2 * gap * FRAME
            pcm += replaced + decoder.decode(packet)
            gap = 0
    return np.frombuffer(pcm, "<i2")


def heard_by_pyav(packets: Sequence[bytes]) -> Samples:
    """Return the audio of all packets, without code of the package."""
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.format, decoder.layout, decoder.sample_rate = "s16", "mono", RATE_HZ
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def likeness(samples: Samples, right: Samples, numbers: Sequence[int]) -> float:
    """Return the correlation of the blocks with the given numbers."""
    places = np.concatenate([np.arange(each * FRAME, (each + 1) * FRAME) for each in numbers])
    return float(np.corrcoef(samples[places], right[places])[0, 1])


def delayed(samples: Samples, by: Samples) -> Samples:
    """Delay samples as the encoder has delayed *by*."""
    size = 2 * len(by)
    spectrum = np.fft.rfft(by, size) * np.conj(np.fft.rfft(samples, size))
    lag = int(np.argmax(np.fft.irfft(spectrum)[:FRAME]))
    return np.concatenate([np.zeros(lag, "<i2"), samples])[: len(by)]


def test_a_lost_packet_is_recovered() -> None:
    """The recovered audio is the lost audio, and the concealed audio is not."""
    packets = with_fec(syllables())
    lost, right = recoverable(packets), heard_by_pyav(packets)
    original = delayed(syllables(), right)
    recovered, concealed = heard(packets, libopus(), lost), heard(packets, PyAvDecoder(), lost)

    assert likeness(right, original, lost) > 0.9
    assert likeness(recovered, original, lost) > 0.8
    assert likeness(recovered, right, lost) > 0.8
    assert likeness(concealed, right, lost) < 0.4


def test_lost_packets_in_a_row() -> None:
    """The last lost packet is recovered, and the other lost packets are concealed."""
    packets = with_fec(syllables())
    ends = [number for number in range(8, COUNT - 2, 6) if has_copy(packets[number + 1])]
    lost = [number for end in ends for number in (end - 2, end - 1, end)]
    right, recovered = heard_by_pyav(packets), heard(packets, libopus(), lost)

    assert len(recovered) == len(right)
    assert likeness(recovered, right, ends) > 0.6
    assert likeness(recovered, right, [end - 1 for end in ends]) < 0.4


@pytest.mark.parametrize("lost", [(), (10, 20, 21, 30, 31, 32, 41)])
def test_packets_without_copies(lost: Sequence[int]) -> None:
    """If the sender adds no copies, the audio is the same as without FEC."""
    packets = encoded(syllables())
    recovered, concealed = heard(packets, libopus(), lost), heard(packets, PyAvDecoder(), lost)

    assert np.array_equal(recovered, concealed)
    assert lost or np.array_equal(recovered, heard_by_pyav(packets))


def test_packets_with_copies_and_no_loss() -> None:
    packets = with_fec(syllables())
    assert np.array_equal(heard(packets, libopus()), heard_by_pyav(packets))


def test_discontinuous_transmission() -> None:
    """
    Silence stays silent if the sender sends almost empty packets (DTX), and some of them are lost.
    """
    samples = np.concatenate([syllables(), np.zeros(60 * FRAME, "<i2"), syllables()])
    packets = with_fec(samples)
    # A packet of DTX has only its first byte (RFC 6716, section 3.2.1).
    for number in range(60, 108):
        packets[number] = packets[number][:1]
    lost = [52, *range(61, 107, 3), 80, 81, 107]
    found = heard(packets, libopus(), lost)

    assert len(found) == len(packets) * FRAME
    assert np.abs(found[60 * FRAME : 108 * FRAME].astype(int)).max() < 300
    assert likeness(found, heard_by_pyav(with_fec(samples)), range(115, 150)) > 0.8


@pytest.mark.parametrize("pause", [2, 4, 40])
def test_a_pause_without_packets(pause: int) -> None:
    """
    If the sender sends no packets in silence, and the first packet after the silence is lost, the
    timestamps show the silence or the silence is filled.
    """
    packets, gap = with_fec(syllables()), pause * FRAME
    stream, pieces = OpusStream(LOGGER, 3), []
    for number, packet in enumerate(packets):
        if number != 20:
            timestamp = number * FRAME + (gap if number >= 20 else 0)
            pieces += stream.add(7, number, timestamp, packet, number)

    after = pieces[20]
    is_filled = pause < 6
    assert after.timestamp == (20 * FRAME if is_filled else 21 * FRAME + gap)
    assert len(after.pcm) == 2 * (FRAME * 2 + gap if is_filled else FRAME)


def test_wrong_packets() -> None:
    """Wrong packets raise ``ValueError`` or become audio. The decoder continues afterwards."""
    numbers, decoder = random.Random(5), libopus()
    packets, errors = with_fec(syllables()), set()
    for _ in range(3000):
        packet = bytearray(numbers.choice(packets))
        for _ in range(numbers.randrange(4)):
            packet[numbers.randrange(len(packet))] = numbers.randrange(256)
        kinds = [bytes(packet), bytes(packet[: numbers.randrange(1, len(packet) + 1)])]
        wrong = numbers.choice([*kinds, numbers.randbytes(numbers.randrange(1, 1500))])
        samples = numbers.randrange(120 * 48 + 1)
        try:
            assert len(decoder.replace_lost(samples, wrong)) == 2 * samples
            assert 0 < len(decoder.decode(wrong)) <= 2 * 120 * 48
        except ValueError as error:
            errors.add(str(error))
    assert errors == {"corrupted stream"}
    last = heard(packets, decoder)
    assert likeness(last, heard_by_pyav(packets), range(10, COUNT - 1)) > 0.99


def test_a_decoder_keeps_its_memory() -> None:
    """Many decoders in use at the same time do not change each other."""
    packets = with_fec(syllables(20))
    right, decoders = heard_by_pyav(packets), [libopus() for _ in range(50)]
    blocks: list[list[bytes]] = [[each.decode(packet) for each in decoders] for packet in packets]
    for number in range(50):
        assert b"".join(block[number] for block in blocks) == right.tobytes()


def stream_of(packets: Sequence[bytes], lost: Sequence[int]) -> Samples:
    """Return the audio of a stream, and check that it has no gap."""
    stream, pieces = OpusStream(LOGGER, 3), []
    for number, packet in enumerate(packets):
        if number not in lost:
            pieces += stream.add(7, number, number * FRAME, packet, number)
    pieces += stream.due(len(packets) + 3)
    end = 0
    for each in pieces:
        assert each.timestamp == end
        end += len(each.pcm) // 2
    return np.frombuffer(b"".join(each.pcm for each in pieces), "<i2")


def test_a_stream() -> None:
    """A stream recovers lost packets and packets that cannot be decoded."""
    packets = with_fec(syllables())
    lost, right = recoverable(packets), heard_by_pyav(packets)
    assert likeness(stream_of(packets, lost), right, lost) > 0.8

    packets = [b"\xff" if number in lost else each for number, each in enumerate(packets)]
    assert likeness(stream_of(packets, []), right, lost) > 0.8


def test_without_libopus(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without the library, lost packets are concealed, and the audio has no gap."""
    caplog.set_level("DEBUG")
    assert can_recover()
    monkeypatch.setattr(opus_decoder, "load_libopus", lambda: None)
    packets = with_fec(syllables())
    lost = recoverable(packets)
    found = stream_of(packets, lost)

    assert not can_recover()
    assert isinstance(new_decoder(LOGGER), PyAvDecoder)
    assert "no libopus was found" in caplog.text
    assert np.array_equal(found, heard(packets, PyAvDecoder(), lost))


def test_unusable_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are not libopus are not used, and neither is an unknown version of libopus."""
    text = tmp_path / "libopus.so"
    text.write_text("not a library")
    libc: str = ctypes.CDLL(None)._name or str(tmp_path / "missing")
    assert first_usable([str(tmp_path / "missing"), str(text), libc]) is None

    for version, is_usable in ((b"libopus 2.0", False), (b"unknown", False), (None, False)):
        fake = fake_library(lambda version=version: version)
        monkeypatch.setattr(ctypes, "CDLL", lambda path, fake=fake: fake)
        assert (first_usable(["some path"]) is fake) is is_usable
    fake = fake_library(lambda: b"libopus 1.3.1")
    monkeypatch.setattr(ctypes, "CDLL", lambda path: fake)
    assert first_usable(["some path"]) is fake


def fake_library(version: Callable[[], bytes | None]) -> Any:
    """Return a library with the names of libopus."""

    def other() -> None:
        raise AssertionError("only the version may be read")

    names = ("strerror", "decoder_get_size", "decoder_init", "decode")
    functions = {f"opus_{name}": lambda: other() for name in names}
    return SimpleNamespace(opus_get_version_string=version, **functions)
