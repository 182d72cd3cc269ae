"""Speak while a language model is still generating the text."""

import time
from collections.abc import Iterator

from inworld_sync import Inworld

TEXT = "The tide comes in. It takes its time. Then it goes out again."


def tokens() -> Iterator[str]:
    """Yield words slowly, as a language model does."""
    for word in TEXT.split():
        time.sleep(0.05)
        yield word + " "


with Inworld() as iw, open("tide.pcm", "wb") as out:  # noqa: PTH123
    started = time.monotonic()
    for chunk in iw.tts.stream(tokens(), voice="Dennis"):
        out.write(chunk.pcm)
        words = " ".join(word.text for word in chunk.words)
        print(f"{time.monotonic() - started:5.2f} s  {chunk.duration_ms:5.0f} ms  {words}")
