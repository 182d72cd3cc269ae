"""Show captions while somebody speaks. This example uses a recording instead of a microphone."""

from inworld_sync import Inworld, Transcription, WavSource


def show(said: Transcription) -> None:
    print("" if said.is_final else "  ...", said.text)


with Inworld() as iw:
    iw.tts.synthesize("Good evening. Here is the news of the day.").save("news.wav")
    with iw.stt.stream(on_transcript=show) as stream:
        stream.feed(WavSource("news.wav", realtime=True))  # or Microphone(16000)
    print(stream.transcript.text)
