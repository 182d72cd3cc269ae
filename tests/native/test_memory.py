"""
The kernels access no memory outside their arguments.

Inputs and outputs begin or end at protected pages. So a read or a write that is one byte too far
ends the process.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator

import pytest

if sys.platform == "win32":
    pytest.skip("the guard pages are made with mprotect", allow_module_level=True)

from inworld_sync._native import ffi, lib

from support.guarded import GuardedBytes

every_level = pytest.mark.usefixtures("level")

# All sizes up to 269, and some larger sizes. 269 is more than two unrolled steps of the widest
# kernel.
SIZES = [*range(270), *range(500, 530), 1021, 1022, 1023, 1024]
ROOM = 4 * 1024


@pytest.fixture
def source() -> Iterator[GuardedBytes]:
    guarded = GuardedBytes(2 * ROOM)
    yield guarded
    guarded.close()


@pytest.fixture
def target() -> Iterator[GuardedBytes]:
    guarded = GuardedBytes(2 * ROOM)
    yield guarded
    guarded.close()


def gain(dst: object, src: object, samples: int) -> None:
    lib.iw_pcm_gain_s16(dst, src, samples, 0.7)


def mix(dst: object, src: object, samples: int) -> None:
    lib.iw_pcm_mix_s16(dst, src, src, samples)


def mask(dst: object, src: object, size: int) -> None:
    lib.iw_ws_mask(dst, src, size, b"\x12\x34\x56\x78", 3)


# (function, bytes per sample of the input, bytes per sample of the output)
SAMPLE_KERNELS = [
    (lib.iw_g711_decode_ulaw, 1, 2),
    (lib.iw_g711_decode_alaw, 1, 2),
    (lib.iw_g711_encode_ulaw, 2, 1),
    (lib.iw_g711_encode_alaw, 2, 1),
    (lib.iw_pcm_f32_from_s16, 2, 4),
    (lib.iw_pcm_s16_from_f32, 4, 2),
    (lib.iw_pcm_swap_s16, 2, 2),
    (gain, 2, 2),
    (mix, 2, 2),
    (mask, 1, 1),
]


@every_level
@pytest.mark.parametrize(("function", "src_bytes", "dst_bytes"), SAMPLE_KERNELS)
def test_sample_kernels(
    source: GuardedBytes,
    target: GuardedBytes,
    function: Callable[..., None],
    src_bytes: int,
    dst_bytes: int,
) -> None:
    """A kernel accesses only its samples, at any address."""
    for samples in SIZES:
        plain = random.Random(samples).randbytes(samples * src_bytes)
        expected = ffi.new("uint8_t[]", samples * dst_bytes)
        function(expected, plain, samples)
        ends = source.at_end(len(plain)), target.at_end(len(expected))
        starts = source.at_start(), target.at_start()
        for src, dst in (ends, starts):
            ffi.memmove(src, plain, len(plain))
            function(dst, src, samples)
            assert ffi.buffer(expected)[:] == ffi.buffer(dst, len(expected))[:]


@every_level
@pytest.mark.parametrize("function", [lib.iw_pcm_peak_s16, lib.iw_pcm_energy_s16])
def test_meters(source: GuardedBytes, function: Callable[..., int]) -> None:
    """A meter accesses only its samples."""
    for samples in SIZES:
        plain = random.Random(samples).randbytes(2 * samples)
        expected = function(plain, samples)
        for src in (source.at_end(len(plain)), source.at_start()):
            ffi.memmove(src, plain, len(plain))
            assert expected == function(src, samples)


@every_level
def test_base64_encode(source: GuardedBytes, target: GuardedBytes) -> None:
    """Encoding accesses only its input and its result."""
    for size in SIZES:
        plain = random.Random(size).randbytes(size)
        room = (size + 2) // 3 * 4
        ends = source.at_end(size), target.at_end(room)
        starts = source.at_start(), target.at_start()
        for src, dst in (ends, starts):
            ffi.memmove(src, plain, size)
            assert room == lib.iw_base64_encode(dst, room, src, size)


@every_level
def test_base64_decode(source: GuardedBytes, target: GuardedBytes) -> None:
    """Decoding into a buffer of exactly the right size writes nothing after the buffer."""
    for size in SIZES:
        plain = random.Random(size).randbytes(size)
        text = ffi.new("uint8_t[]", (size + 2) // 3 * 4)
        lib.iw_base64_encode(text, len(text), plain, size)
        ends = source.at_end(len(text)), target.at_end(size)
        starts = source.at_start(), target.at_start()
        for src, dst in (ends, starts):
            ffi.memmove(src, text, len(text))
            assert size == lib.iw_base64_decode(dst, size, src, len(text))
            assert plain == ffi.buffer(dst, size)[:]


@every_level
def test_base64_decode_of_a_bad_text(source: GuardedBytes, target: GuardedBytes) -> None:
    """An error in the text, at any position, causes no access outside the buffers."""
    size = 344
    position = ffi.new("size_t *")
    for place in range(size):
        src, dst = source.at_end(size), target.at_end(size // 4 * 3)
        ffi.memmove(src, b"A" * size, size)
        src[place] = ord("!")
        assert lib.iw_base64_decode(dst, size // 4 * 3, src, size) == lib.IW_BAD_CHARACTER
        assert lib.iw_base64_fault(position, src, size) == lib.IW_BAD_CHARACTER
        assert place == position[0]


def test_wav_find(source: GuardedBytes) -> None:
    """A cut or wrong WAV header causes no read outside the chunk."""
    found = ffi.new("struct iw_wav *")
    generator = random.Random(1)
    names = [b"fmt ", b"data", b"LIST", b"junk"]
    for _ in range(2000):
        whole = b"RIFF\0\0\0\0WAVE" + b"".join(
            generator.choice(names)
            + generator.choice([0, 1, 2, 7, 16, 40, 0xFFFFFFFF]).to_bytes(4, "little")
            + generator.randbytes(generator.choice([0, 1, 2, 7, 16, 40]))
            for _ in range(generator.randrange(5))
        )
        data = whole[: generator.randrange(len(whole) + 1)]
        src = source.at_end(len(data))
        ffi.memmove(src, data, len(data))
        lib.iw_wav_find(found, src, len(data))
        assert found.data_offset_bytes + found.data_bytes <= len(data)
