"""Clone a voice from recordings, speak with the cloned voice, and delete this voice."""

import sys

from inworld_sync import Inworld, InworldError

TEXT = "Hello. This is what I sound like now."

with Inworld() as iw:
    recordings = sys.argv[1:]
    if not recordings:
        # If you pass no recording, this example makes a recording with a voice of the service.
        iw.tts.synthesize("The quick brown fox jumps over the lazy dog.").save("sample.wav")
        recordings = ["sample.wav"]
    try:
        cloned = iw.voices.clone(recordings, name="My voice", tags=["example"])
    except InworldError as error:
        sys.exit(f"no voice: {error}")
    print("made", cloned.voice.id)
    for recording, report in zip(recordings, cloned.samples, strict=False):
        for text in (*report.warnings, *report.errors):
            print(f"{recording}: {text}")

    iw.tts.synthesize(TEXT, voice=cloned.voice.id).save("cloned.wav")
    print("wrote cloned.wav")

    iw.voices.delete(cloned.voice.id)
    print("voices of this account:", [voice.name for voice in iw.voices.list(source="IVC")])
