"""Kernels run in many threads while the instruction set changes."""

from __future__ import annotations

import base64 as stdlib
import random
from array import array
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from inworld_sync import _native
from inworld_sync.audio import base64, g711, masking, meter, mix, pcm


def work(seed: int, stop: Event) -> int:
    """Convert repeatedly, and check the results. Return the count of rounds."""
    generator = random.Random(seed)
    rounds = 0
    while not stop.is_set() or rounds < 50:
        data = generator.randbytes(2 * generator.randrange(400_000 if rounds % 25 == 0 else 2000))
        swapped = array("h", data)
        swapped.byteswap()
        assert stdlib.b64encode(data) == base64.encode(data)
        assert data == base64.decode(base64.encode(data))
        assert swapped.tobytes() == pcm.swap_bytes(data)
        assert data == pcm.s16_from_f32(pcm.f32_from_s16(data))
        assert data == masking.mask(masking.mask(data, b"key!"), b"key!")
        assert mix.mix(data, data) == mix.gain(data, 2.0)
        assert swapped.itemsize * meter.measure(data).samples == len(data)
        codes = g711.encode_alaw(data)
        assert codes == g711.encode_alaw(g711.decode_alaw(codes))
        rounds += 1
    return rounds


def test_threads_and_changing_levels() -> None:
    """The results in eight threads are correct while the level changes."""
    stop = Event()
    with ThreadPoolExecutor(8, thread_name_prefix="test") as pool:
        running = [pool.submit(work, seed, stop) for seed in range(8)]
        try:
            for _ in range(200):
                for name in _native.levels():
                    _native.force_level(name)
        finally:
            stop.set()
            _native.force_level(None)

        assert all(task.result() >= 50 for task in running)
