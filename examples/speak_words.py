"""Play speech, show each word when it is heard, and stop when Enter is pressed."""

import sys
import threading

from inworld_sync import AudioSink, DeviceError, Inworld, NullSpeaker, Speaker, WordTime

TEXT = "Press Enter to interrupt me, and I tell you how much of this you have heard."


def open_speaker() -> AudioSink:
    """Return the speaker. If there is no speaker, return a silent sink that runs in real time."""
    try:
        return Speaker(24000)
    except DeviceError as error:
        print(f"no sound: {error}", file=sys.stderr)
        return NullSpeaker(24000)


def show(word: WordTime) -> None:
    print(word.text, end=" ", flush=True)


speaker = open_speaker()
with Inworld() as iw:
    playback = iw.tts.speak(TEXT, speaker=speaker, on_word=show)
    if sys.stdin.isatty():
        threading.Thread(target=lambda: (input(), playback.interrupt()), daemon=True).start()
    playback.wait()
    print(f"\n{playback.heard_ms:.0f} ms, {len(playback.heard_words)} words")
speaker.close()
