"""Speak a line in the loop of a game, with sixty frames per second. The loop never waits."""

import time

from inworld_sync import Inworld
from inworld_sync.games import VoiceLine, prepare

FRAME_SECONDS = 1 / 60
RATE_HZ = 24000

with Inworld() as iw:
    prepare(iw)  # while the game loads
    line = VoiceLine(iw, "A frame is a sixtieth of a second.", sample_rate_hz=RATE_HZ)
    line.on_word(lambda word: print(f"{line.heard_ms:5.0f} ms  {word.text}"))
    line.start()

    frames = size_bytes = 0
    longest_ms = 0.0
    while not line.is_over:
        began = time.perf_counter()
        block = line.read_audio(RATE_HZ // 60)  # for the mixer of the engine
        line.update(FRAME_SECONDS)
        mouth = line.mouth.weights("arkit")  # for the face of the character
        longest_ms = max(longest_ms, (time.perf_counter() - began) * 1000)
        frames += 1
        size_bytes += len(block)
        time.sleep(FRAME_SECONDS)
    print(f"{frames} frames, {line.heard_ms:.0f} ms of speech, {line.state}")
    print(f"shapes from {line.mouth.source}; the longest frame took {longest_ms:.1f} ms")
