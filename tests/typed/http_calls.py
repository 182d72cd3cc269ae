"""Programs that make calls over HTTP. Type checkers check this file. It never runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from inworld_sync import (
    AudioChunk,
    ClonedVoice,
    Inworld,
    Pronunciation,
    PronunciationDictionary,
    Speech,
    Transcript,
    TranscriptionJob,
    Voice,
    VoicePreview,
)


def voices(iw: Inworld) -> None:
    found: list[Voice] = iw.voices.list(language=["EN_US"], source="IVC", gender="male", tags=["a"])
    cloned: ClonedVoice = iw.voices.clone([Path("a.wav"), "b.mp3", b""], name="A")
    iw.voices.clone("a.wav", name="A", transcriptions=["text"])
    iw.voices.clone(np.zeros(5, np.int16), name="A", sample_rate_hz=16000)
    previews: tuple[VoicePreview, ...] = iw.voices.design("prompt", preview_text="Hi")
    speech: Speech = previews[0].speech()
    voice: Voice = iw.voices.publish(previews[0].id, name="A")
    voice = iw.voices.update(voice.id, tags=["b"])
    iw.voices.delete(found[0].id, timeout=None)
    cloned = iw.voices.clone_from_elevenlabs("id", api_key="key")
    del cloned, speech


def speech(iw: Inworld) -> None:
    whole: Speech = iw.tts.synthesize("Hi", method="http")
    for chunk in iw.tts.stream("Hi", method="http"):
        part: AudioChunk = chunk
        del part
    del whole


def jobs(iw: Inworld) -> None:
    job: TranscriptionJob = iw.transcriptions.submit("a.wav", language="en-US")
    iw.transcriptions.submit(url="https://example.com/a.wav")
    status: Literal["running", "succeeded", "failed"] = job.refresh()
    transcript: Transcript = iw.transcriptions.get(job.id).wait(timeout=5)
    del status, transcript


def dictionaries(iw: Inworld) -> None:
    cat = Pronunciation("cat", ["k", "æ", "t"])
    made: PronunciationDictionary = iw.pronunciations.create("w", name="A", pronunciations=[cat])
    made = iw.pronunciations.update(made, name="B")
    iw.pronunciations.delete(made)
