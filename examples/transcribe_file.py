"""Transcribe a recording: print its text, its subtitles, and the time of each word."""

from inworld_sync import Inworld

with Inworld() as iw:
    iw.tts.synthesize("The train leaves at nine. Do not be late.").save("platform.wav")
    transcript = iw.stt.transcribe("platform.wav", model="soniox/stt-rt-v5")
    print(transcript.text)
    for word in transcript.words:
        print(f"{word.start_ms:6d} ms  {word.text}")
    print(transcript.to_srt())
