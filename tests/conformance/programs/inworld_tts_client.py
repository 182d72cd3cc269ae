"""Checks Inworld's client for Python, unmodified."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from checks import Check, Server, run, words_of
from inworld_tts import ApiError, InworldTTS

TEXT = "Hello there. It costs $12.50, and it is worth it. Goodbye!"
RATE_HZ = 24000
SPEECH: dict[str, Any] = {
    "voice": "Ashley",
    "model": "inworld-tts-2",
    "encoding": "PCM",
    "sample_rate": RATE_HZ,
}


def client_of(server: Server, key: str | None = None) -> InworldTTS:
    return InworldTTS(key or server.api_key, server.url, max_retries=0, timeout=30)


def check_seconds(pcm: bytes) -> str:
    seconds = len(pcm) / 2 / RATE_HZ
    assert 3 < seconds < 8, f"{seconds} s for a text of about 6 s"
    return f"{seconds:.2f} s"


def voices(server: Server) -> str:
    with client_of(server) as tts:
        found = tts.list_voices()
        english = tts.list_voices(lang="EN_US")
        one = tts.get_voice("Dennis")
    assert "Ashley" in {voice["voiceId"] for voice in found}
    assert 0 < len(english) < len(found), len(english)
    assert one["voiceId"] == "Dennis", one
    return f"{len(found)} voices, {len(english)} of them English"


def cloned_voice(server: Server) -> str:
    """A voice is cloned, changed, used and deleted."""
    with client_of(server) as tts:
        samples = [Path(server.sentence)]
        voice = tts.clone_voice(samples, display_name="Ada", tags=["calm"])["voice"]["voiceId"]
        tts.update_voice(voice, description="Reads aloud.")
        assert tts.get_voice(voice)["description"] == "Reads aloud."
        seconds = check_seconds(tts.generate(TEXT, **{**SPEECH, "voice": voice}))
        tts.delete_voice(voice)
        assert voice not in {one["voiceId"] for one in tts.list_voices()}
    return f"{voice}, {seconds}"


def designed_voice(server: Server) -> str:
    """Previews of a voice have audio. A published preview can be used as a voice."""
    with client_of(server) as tts:
        found = tts.design_voice(
            design_prompt="A calm voice that reads long stories to children.",
            preview_text="Once upon a time there was a voice.",
            number_of_samples=2,
        )
        first, second = found["previewVoices"]
        assert first["voiceId"] != second["voiceId"], found
        assert len(base64.b64decode(first["previewAudio"])) > 5000
        voice = tts.publish_voice(first["voiceId"], display_name="Reader")["voiceId"]
        seconds = check_seconds(tts.generate(TEXT, **{**SPEECH, "voice": voice}))
    return f"{voice}, {seconds}"


def generate(server: Server) -> str:
    with client_of(server) as tts:
        return check_seconds(tts.generate(TEXT, **SPEECH))


def generate_long_text(server: Server) -> str:
    """A long text needs several requests, which the client sends at the same time."""
    text = "The museum opens at ten and closes at six in the evening. " * 60
    with client_of(server) as tts:
        seconds = len(tts.generate(text, **SPEECH)) / 2 / RATE_HZ
    assert 150 < seconds < 350, seconds
    return f"{len(text)} characters: {seconds:.0f} s"


async def stream(server: Server) -> str:
    with client_of(server) as tts:
        chunks = [chunk async for chunk in tts.stream(TEXT, **SPEECH)]
    assert len(chunks) > 3, len(chunks)
    return f"{check_seconds(b''.join(chunks))} in {len(chunks)} chunks"


def word_times(server: Server) -> str:
    with client_of(server) as tts:
        found = tts.generate_with_timestamps(TEXT, timestamp_type="WORD", **SPEECH)
    alignment = found["timestamps"]["wordAlignment"]
    assert "".join(alignment["words"]) == TEXT, alignment["words"]
    assert alignment["wordEndTimeSeconds"][-1] <= len(found["audio"]) / 2 / RATE_HZ + 0.1
    return f"{len(alignment['words'])} tokens"


async def character_times(server: Server) -> str:
    text = ""
    with client_of(server) as tts:
        async for item in tts.stream_with_timestamps(TEXT, timestamp_type="CHARACTER", **SPEECH):
            times = item.get("timestamps") or {}
            text += "".join(times.get("characterAlignment", {}).get("characters", []))
    assert words_of(text) == words_of(TEXT), text
    return f"{len(text)} characters"


def encodings(server: Server) -> str:
    # The first bytes of a file in each encoding.
    marks = {"LINEAR16": b"RIFF", "WAV": b"RIFF", "OGG_OPUS": b"OggS", "FLAC": b"fLaC", "MP3": b""}
    with client_of(server) as tts:
        for encoding, mark in marks.items():
            audio = tts.generate(TEXT, **{**SPEECH, "encoding": encoding})
            assert len(audio) > 5000, (encoding, len(audio))
            assert audio.startswith(mark), (encoding, audio[:8])
        for encoding in ("MULAW", "ALAW"):
            audio = tts.generate(TEXT, **{**SPEECH, "encoding": encoding, "sample_rate": 8000})
            assert 3 < len(audio) / 8000 < 8, (encoding, len(audio))
    return ", ".join([*marks, "MULAW", "ALAW"])


def at_once(server: Server) -> str:
    start = threading.Barrier(4)

    def one(_: int) -> int:
        with client_of(server) as tts:
            start.wait(30)
            return len(tts.generate(TEXT, **SPEECH))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(one, range(4)))) == 1
    return "4 requests"


def refusal(tts: InworldTTS, code: int, **changes: Any) -> str:
    try:
        tts.generate(TEXT, **{**SPEECH, **changes})
    except ApiError as error:
        assert error.code == code, error.code  # noqa: PT017
        return str(error)
    raise AssertionError("the request was accepted")


def unknown_voice(server: Server) -> str:
    with client_of(server) as tts:
        return refusal(tts, 404, voice="Nobody")


def bad_key(server: Server) -> str:
    with client_of(server, "bad") as tts:
        return refusal(tts, 403)


CHECKS: list[Check] = [
    ("voices", voices),
    ("own voices", cloned_voice),
    ("own voices", designed_voice),
    ("speech", generate),
    ("speech", generate_long_text),
    ("stream", stream),
    ("word times", word_times),
    ("word times", character_times),
    ("encodings", encodings),
    ("at once", at_once),
    ("refusals", unknown_voice),
    ("refusals", bad_key),
]

if __name__ == "__main__":
    run(CHECKS)
