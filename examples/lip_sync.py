"""Move a mouth with the speech: a loop asks for the viseme sixty times per second."""

import sys
import time

from inworld_sync import AudioSink, DeviceError, Inworld, NullSpeaker, Speaker

MOUTHS = {"": "-", "aei": "O", "o": "o", "ee": "=", "bmp": "_", "fv": "f", "l": "l", "th": "t"}


def open_speaker() -> AudioSink:
    """Return the speaker. If there is no speaker, return a silent sink that runs in real time."""
    try:
        return Speaker(24000)
    except DeviceError as error:
        print(f"no sound: {error}", file=sys.stderr)
        return NullSpeaker(24000)


speaker = open_speaker()
with Inworld() as iw:
    playback = iw.tts.speak("The mouth follows the sound.", speaker=speaker)
    frames = 0
    while not playback.done:
        phoneme, word = playback.phoneme_at(), playback.word_at()
        mouth = MOUTHS.get(phoneme.viseme if phoneme else "", "u")
        print(f"\r({mouth}) {word.text if word else '':<16}", end="", flush=True)
        frames += 1
        time.sleep(1 / 60)
    playback.wait()
    print(f"\n{frames} frames, {playback.heard_ms:.0f} ms heard")
speaker.close()
