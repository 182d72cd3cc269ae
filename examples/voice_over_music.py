"""Mix a voice with music into a WAV file. The music gets softer while the voice is heard."""

import math
import struct

from inworld_sync import Inworld, WavSink
from inworld_sync.audio.mixer import Mixer
from inworld_sync.audio.playout import Playout

RATE_HZ = 24000
BLOCK_MS = 20


def chord(seconds: float) -> bytes:
    """Return the samples of a soft A minor chord."""
    samples = bytearray()
    for number in range(int(seconds * RATE_HZ)):
        wave = sum(math.sin(2 * math.pi * hz * number / RATE_HZ) for hz in (220.0, 261.6, 329.6))
        samples += struct.pack("<h", round(2000 * wave))
    return bytes(samples)


voice = Playout(RATE_HZ, output_format="f32")
music = Playout(RATE_HZ, output_format="f32")
with Inworld() as iw, Mixer(RATE_HZ) as mixer, WavSink("mix.wav", RATE_HZ) as file:
    mixer.add(voice, priority=1)
    mixer.add(music, gain=0.8, duck_db=18)
    speech = iw.tts.synthesize("The music gets softer while I speak.")
    seconds = (speech.duration_ms or 0) / 1000 + 2
    music.push(chord(seconds), item="music", end=True)

    block = bytearray(RATE_HZ * BLOCK_MS // 1000 * 2)
    for number in range(int(seconds * 1000) // BLOCK_MS):
        if number * BLOCK_MS == 1000:
            voice.push(speech.pcm, item="voice", end=True)
        mixer.read(block, now_ns=number * BLOCK_MS * 1_000_000)
        file.write(block)
    print(f"mix.wav: {seconds:.1f} s, {voice.position_ms('voice'):.0f} ms of speech")
