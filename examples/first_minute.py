"""Speak a sentence and write it to a WAV file."""

from inworld_sync import Inworld

with Inworld() as iw:
    speech = iw.tts.synthesize("Hello there. It is good to meet you.", voice="Ashley")
    speech.save("hello.wav")
    for word in speech.words:
        print(f"{word.start_ms:6.0f} ms  {word.text}")
