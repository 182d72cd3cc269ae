"""Speak with two voices on one connection. Each voice has its own thread."""

import threading

from inworld_sync import Inworld, TtsConnection

LINES = {
    "Ashley": ["Shall we go?", "Then bring an umbrella."],
    "Dennis": ["It looks like rain.", "I have two."],
}


def speak(connection: TtsConnection, voice: str) -> None:
    """Speak the lines of one voice, one after the other."""
    with connection.context(voice=voice) as context:
        for line in LINES[voice]:
            duration_ms = sum(chunk.duration_ms or 0 for chunk in context.say(line))
            print(f"{voice}: {line} ({duration_ms:.0f} ms)")


with Inworld() as iw, iw.tts.connect() as connection:
    threads = [threading.Thread(target=speak, args=(connection, voice)) for voice in LINES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
