"""Compares the C kernels, called from Python, with the fastest functions of other libraries."""

from __future__ import annotations

import base64 as stdlib
import binascii
import importlib
import itertools
import os
import random
import sys
from array import array
from collections.abc import Iterator
from types import ModuleType

from websocket import ABNF

from benchmarks.harness import Call, Case, Settings
from inworld_sync.audio import base64, g711, masking, meter, mix, pcm


def optional(name: str) -> ModuleType | None:
    """Return a module, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


np, av, audioop, pybase64 = map(optional, ("numpy", "av", "audioop", "pybase64"))
speedups = optional("websockets.speedups")


def noise(samples: int, seed: int = 0) -> bytes:
    """
    Return noise that is as loud as speech.

    The processor cannot predict branches that depend on noise.
    """
    generator = random.Random(seed)
    return array("h", [int(generator.gauss(0, 4000)) % 32767 for _ in range(samples)]).tobytes()


def cases(_: Settings) -> Iterator[Case]:
    """Yield all cases. Libraries that are not installed are left out."""
    for size in (160, 640, 4800, 20_160, 65_536):
        yield from base64_cases(size)
    for samples in (160, 4800, 20_160):
        yield from g711_cases(samples)
    for samples in (160, 10_080):
        yield from pcm_cases(samples)
        yield from mix_cases(samples)
    for size in (160, 27_400):
        yield from masking_cases(size)


def base64_cases(size: int) -> Iterator[Case]:
    """Yield the cases of base64: some fill an existing buffer, and others return new bytes."""
    plain = os.urandom(size)
    text = stdlib.b64encode(plain)
    out, text_out = bytearray(size), bytearray(len(text))
    theirs: dict[str, Call] = {"binascii": lambda: binascii.a2b_base64(text)}
    encoders: dict[str, Call] = {"binascii": lambda: binascii.b2a_base64(plain, newline=False)}
    if pybase64:
        theirs["pybase64"] = lambda: pybase64.b64decode(text, None, True)
        encoders["pybase64"] = lambda: pybase64.b64encode(plain)
    best = {160: 1.0, 4800: 0.55, 20_160: 0.5}
    targets = {"pybase64": {"avx2": 1.0, **({"avx512": best[size]} if size in best else {})}}
    if size == 20_160:
        targets["binascii"] = {"avx512": 1 / 12 if sys.version_info >= (3, 15) else 1 / 40}
    yield Case(
        "base64 decode", size, "bytes", lambda: base64.decode_into(text, out), theirs, targets
    )
    yield Case("... new bytes", size, "bytes", lambda: base64.decode(text), theirs)
    yield Case(
        "base64 encode",
        size,
        "bytes",
        lambda: base64.encode_into(plain, text_out),
        encoders,
        {"pybase64": {"any": 1.0}},
    )
    yield Case("... new bytes", size, "bytes", lambda: base64.encode(plain), encoders)


def g711_cases(samples: int) -> Iterator[Case]:
    """Yield the cases of encoding and decoding mu-law and A-law."""
    law, linear = os.urandom(samples), noise(samples)
    # With one repeated signal, the branch predictor learns the signal, and audioop seems faster.
    signals = itertools.cycle([noise(samples, seed) for seed in range(16)])
    out = bytearray(2 * samples)
    decoding = {
        4800: {"avx512": 1 / 3.5, "avx2": 1 / 2.5},
        20_160: {"avx512": 1 / 5, "avx2": 1 / 3},
    }
    for name, decode, encode in (
        ("ulaw", g711.decode_ulaw_into, g711.encode_ulaw_into),
        ("alaw", g711.decode_alaw_into, g711.encode_alaw_into),
    ):
        decoders: dict[str, Call] = {"copy of the PCM": copy_of(linear)}
        encoders: dict[str, Call] = {}
        if audioop:
            their_decode = getattr(audioop, f"{name}2lin")
            their_encode = getattr(audioop, f"lin2{name}")
            decoders["audioop-lts"] = lambda f=their_decode: f(law, 2)
            encoders["audioop-lts"] = lambda f=their_encode: f(next(signals), 2)
        if av and np and name == "ulaw":
            encoders["PyAV"] = av_encoder(linear)
        yield Case(
            f"{name} decode",
            samples,
            "samples",
            lambda f=decode: f(law, out),
            decoders,
            {"audioop-lts": decoding.get(samples, {})},
        )
        yield Case(
            f"{name} encode",
            samples,
            "samples",
            lambda f=encode: f(next(signals), out),
            encoders,
            {"audioop-lts": {"any": 1 / 80}, "PyAV": {"any": 1 / 5}} if samples == 20_160 else {},
        )


def av_encoder(linear: bytes) -> Call:
    """Return a function that calls PyAV's mu-law encoder, always with the same codec context."""
    context = av.CodecContext.create("pcm_mulaw", "w")
    context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    context.open()
    samples = np.frombuffer(linear, np.int16).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
    frame.sample_rate = 8000
    return lambda: bytes(context.encode(frame)[0])


def copy_of(data: bytes) -> Call:
    """Return a function that copies the data. The time of a call shows the speed of the memory."""
    source, target = memoryview(data), memoryview(bytearray(len(data)))
    return lambda: target.__setitem__(slice(None), source)


def pcm_cases(samples: int) -> Iterator[Case]:
    """Yield the cases of conversion between integers and floats, compared with numpy."""
    linear = noise(samples)
    floats = pcm.f32_from_s16(linear)
    out = bytearray(4 * samples)
    into: dict[str, Call] = {"copy of the floats": copy_of(floats)}
    back: dict[str, Call] = {"copy of the floats": copy_of(floats)}
    if np:
        values = np.frombuffer(floats, np.float32) * np.float32(1.1)
        into["numpy idiom"] = lambda: np.frombuffer(linear, np.int16).astype(np.float32) / 32768.0
        back["numpy idiom"] = lambda: (np.clip(values, -1.0, 1.0) * 32767).astype(np.int16)
    long = samples == 10_080
    yield Case(
        "PCM16 to float32",
        samples,
        "samples",
        lambda: pcm.f32_from_s16_into(linear, out),
        into,
        {"numpy idiom": {"any": 1 / 4}, "copy of the floats": {"any": 1.3}} if long else {},
    )
    yield Case(
        "float32 to PCM16",
        samples,
        "samples",
        lambda: pcm.s16_from_f32_into(floats, out),
        back,
        {"numpy idiom": {"any": 1 / 5}} if long else {},
    )


def mix_cases(samples: int) -> Iterator[Case]:
    """Yield the cases of gain, mix and level, compared with audioop (removed in Python 3.13)."""
    linear, other = noise(samples), noise(samples, 1)
    out = bytearray(2 * samples)
    gains, mixes, meters = {}, {}, {}
    if audioop:
        gains = {"audioop-lts": lambda: audioop.mul(linear, 2, 0.7)}
        mixes = {"audioop-lts": lambda: audioop.add(linear, other, 2)}
        meters = {"audioop-lts": lambda: (audioop.rms(linear, 2), audioop.max(linear, 2))}
    yield Case("gain", samples, "samples", lambda: mix.gain_into(linear, 0.7, out), gains)
    yield Case("mix", samples, "samples", lambda: mix.mix_into(linear, other, out), mixes)
    yield Case("level", samples, "samples", lambda: meter.measure(linear), meters)


def masking_cases(size: int) -> Iterator[Case]:
    """Yield the case of masking the payload of a WebSocket frame."""
    payload, key = os.urandom(size), os.urandom(4)
    out = bytearray(size)
    peers: dict[str, Call] = {"websocket-client": lambda: ABNF.mask(key, payload)}
    if speedups:
        peers["websockets (C)"] = lambda: speedups.apply_mask(payload, key)
    yield Case("mask", size, "bytes", lambda: masking.mask_into(payload, key, out), peers)
