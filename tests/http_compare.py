"""
Compare this package with ``inworld-tts`` call by call: ``python tests/http_compare.py``.

Both packages call the same emulator, and the results must be equal. The interpreter must have both
packages (``pip install inworld-tts``). The command prints a row for each call. It fails if a result
differs or ``inworld-tts`` is missing.
"""

# ruff: noqa: B023, T201 - a lambda is called in the same pass of its loop; the rows are printed

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.metadata
import io
import json
import sys
import tempfile
import threading
import wave
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from inworld_sync import AudioConfig, Inworld, InworldError, Voice
from inworld_sync.emulator import Emulator, Settings

try:
    import inworld_tts
    from inworld_tts import _migrate_elevenlabs as migration
except ImportError:
    sys.exit("http_compare needs the package inworld-tts: pip install inworld-tts")

MODEL = "inworld-tts-2"
TEXT = "Hello there. It costs five dollars, isn't it nice?"
LONG = "This is the first of some sentences. And here is another one, which is longer. " * 60
PROMPT = "A calm, low voice of a man who tells stories"
LANGUAGE = "EN_US"
WRONG_KEY = "d3Jvbmc6a2V5"


class Comparison:
    """Runs both calls of a row, and prints whether the results are equal."""

    def __init__(self) -> None:
        self.rows = 0
        self.different = 0

    def row(self, name: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
        """Compare the results of two calls. For exceptions, compare the kinds and the statuses."""
        found, other = outcome(ours), outcome(theirs)
        self.rows += 1
        is_same = found == other
        self.different += not is_same
        print(f"{'same' if is_same else 'DIFFERENT':9} {name}")
        if not is_same:
            print(f"          inworld_sync: {found!r:.300}\n          inworld-tts:  {other!r:.300}")

    def differs(
        self, name: str, why: str, ours: Callable[[], object], theirs: Callable[[], object]
    ) -> None:
        """Print a known difference. If the results are equal, this file is out of date."""
        found, other = outcome(ours), outcome(theirs)
        self.rows += 1
        is_same = found == other
        self.different += is_same
        print(f"{'OUT OF DATE' if is_same else 'known':9} {name}: {why}")


def outcome(call: Callable[[], object]) -> object:
    """Return the result of a call. If the call fails, return the kind and status of the error."""
    try:
        return call()
    except InworldError as error:
        status = getattr(error, "status", None)
        if status is not None:
            return "refused", status
        return "bad input" if isinstance(error, ValueError) else "network"
    except inworld_tts.ApiError as error:
        return ("refused", error.code) if error.code else "bad answer"
    except inworld_tts.NetworkError:
        return "network"
    except (ValueError, OSError):
        return "bad input"


def of_ours(voice: Voice) -> tuple[object, ...]:
    return voice.id, voice.name, voice.languages, voice.description, voice.tags, voice.source


def of_theirs(voice: dict[str, object]) -> tuple[object, ...]:
    names = "voiceId", "displayName", "langCode", "description", "tags", "source"
    one, name, language, description, tags, source = map(voice.get, names)
    return one, name, (language,), description, tuple(tags), source


def samples(file: bytes) -> bytes:
    """Return the samples of a WAV file. If the bytes have no WAV header, return them unchanged."""
    if not file.startswith(b"RIFF"):
        return file
    with wave.open(io.BytesIO(file)) as opened:
        return opened.readframes(opened.getnframes())


def joined(tokens: Iterable[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Join words and punctuation up to the next white space, as this package does."""
    words: list[tuple[str, float, float]] = []
    begins = True
    for text, start, end in tokens:
        if not text.isspace() and begins:
            words.append((text, start, end))
        elif not text.isspace():
            before = words[-1]
            words[-1] = (before[0] + text, before[1], max(before[2], end))
        begins = text.isspace()
    return words


async def _collect(stream: object) -> list[object]:
    return [each async for each in stream]


def collect(stream: object) -> list[object]:
    return asyncio.run(_collect(stream))


def speech(rows: Comparison, iw: Inworld, tts: inworld_tts.InworldTTS) -> None:
    """Compare the calls of text to speech."""

    def ours(text: str, encoding: str = "PCM", rate_hz: int = 24000, **settings: object) -> object:
        config = AudioConfig(encoding, rate_hz)
        return iw.tts.synthesize(
            text, voice="Dennis", model=MODEL, audio=config, method="http", **settings
        )

    def theirs(text: str, encoding: str = "PCM", rate_hz: int = 24000, **settings: object) -> bytes:
        return tts.generate(
            text, voice="Dennis", model=MODEL, encoding=encoding, sample_rate=rate_hz, **settings
        )

    for encoding, rate_hz in (("PCM", 24000), ("LINEAR16", 16000), ("WAV", 48000)):
        rows.row(
            f"generate, {encoding} at {rate_hz} Hz: the same samples",
            lambda: ours(TEXT, encoding, rate_hz).data,
            lambda: samples(theirs(TEXT, encoding, rate_hz)),
        )
    for encoding in ("MULAW", "ALAW"):
        rows.row(
            f"generate, {encoding}: the same bytes",
            lambda: ours(TEXT, encoding, 8000).data,
            lambda: theirs(TEXT, encoding, 8000),
        )
    for encoding, magic in (("MP3", b"\xff"), ("OGG_OPUS", b"OggS"), ("FLAC", b"fLaC")):
        rows.row(
            f"generate, {encoding}: a file of this format",
            lambda: ours(TEXT, encoding, 48000).data.startswith(magic),
            lambda: theirs(TEXT, encoding, 48000).startswith(magic),
        )
    rows.row(
        "generate, a delivery mode and a language",
        lambda: ours(TEXT, delivery_mode="STABLE", language="en-US").data,
        lambda: theirs(TEXT, delivery_mode="STABLE", language="en-US"),
    )
    rows.row(
        "stream: the same samples",
        lambda: b"".join(
            chunk.data for chunk in iw.tts.stream(TEXT, voice="Dennis", model=MODEL, method="http")
        ),
        lambda: b"".join(
            collect(
                tts.stream(TEXT, voice="Dennis", model=MODEL, encoding="PCM", sample_rate=24000)
            )
        ),
    )

    def words(text: str) -> list[tuple[str, float, float]]:
        return [(word.text, round(word.start_ms), round(word.end_ms)) for word in ours(text).words]

    def their_words(text: str) -> list[tuple[str, float, float]]:
        found = tts.generate_with_timestamps(
            text, timestamp_type="WORD", voice="Dennis", model=MODEL, encoding="PCM",
            sample_rate=24000,
        )["timestamps"]["wordAlignment"]  # fmt: skip
        rows = zip(
            found["words"],
            found["wordStartTimeSeconds"],
            found["wordEndTimeSeconds"],
            strict=True,
        )
        return joined((text, round(start * 1000), round(end * 1000)) for text, start, end in rows)

    rows.row("generate_with_timestamps, words and times", lambda: words(TEXT),
             lambda: their_words(TEXT))  # fmt: skip
    rows.row("generate_with_timestamps, the letters of 4800 characters",
             lambda: "".join(word for word, _, _ in words(LONG)),
             lambda: "".join(word for word, _, _ in their_words(LONG)))  # fmt: skip
    rows.differs("generate, the samples of 4800 characters",
                 "inworld-tts adds 0.3 s of silence between the audio of two requests",
                 lambda: ours(LONG).data, lambda: theirs(LONG))  # fmt: skip
    rows.row(
        "stream_with_timestamps, characters and times",
        lambda: [
            (each.text, round(each.start_ms))
            for each in ours(TEXT, timestamp_type="CHARACTER").characters
        ],
        lambda: [
            (text, round(start * 1000))
            for chunk in collect(
                tts.stream_with_timestamps(
                    TEXT, timestamp_type="CHARACTER", voice="Dennis", model=MODEL,
                    encoding="PCM", sample_rate=24000,
                )
            )
            if chunk["timestamps"]
            for text, start in zip(
                chunk["timestamps"]["characterAlignment"]["characters"],
                chunk["timestamps"]["characterAlignment"]["characterStartTimeSeconds"],
                strict=True,
            )
        ],
    )  # fmt: skip
    rows.row("generate, an unknown voice",
             lambda: iw.tts.synthesize("Hi", voice="nobody", model=MODEL, method="http"),
             lambda: tts.generate("Hi", voice="nobody", model=MODEL))  # fmt: skip
    rows.row("generate, an empty text", lambda: ours(" "), lambda: theirs(" "))


def voices(rows: Comparison, iw: Inworld, tts: inworld_tts.InworldTTS, folder: Path) -> None:
    """Compare the calls of voices."""
    file = folder / "sample.wav"
    iw.tts.synthesize("This is a recording of about four seconds, for a clone.").save(file)
    content = file.read_bytes()
    rows.row("list_voices", lambda: list(map(of_ours, iw.voices.list())),
             lambda: list(map(of_theirs, tts.list_voices())))  # fmt: skip
    for language in ("DE_DE", ["DE_DE", "FR_FR"]):
        rows.row(
            f"list_voices, {language}",
            lambda: list(map(of_ours, iw.voices.list(language=language))),
            lambda: list(map(of_theirs, tts.list_voices(lang=language))),
        )
    rows.row("get_voice", lambda: of_ours(iw.voices.get("Ashley")),
             lambda: of_theirs(tts.get_voice("Ashley")))  # fmt: skip
    rows.row("get_voice, an unknown voice", lambda: iw.voices.get("nobody"),
             lambda: tts.get_voice("nobody"))  # fmt: skip

    def cloned(audio: list[object]) -> object:
        found = iw.voices.clone(
            audio, name="Clone", language=LANGUAGE, description="warm", tags=["a"],
            transcriptions=["text"] * len(audio), remove_background_noise=True,
        )  # fmt: skip
        iw.voices.delete(found.voice.id)
        return of_ours(found.voice), [report.transcription for report in found.samples]

    def their_clone(audio: list[object]) -> object:
        found = tts.clone_voice(
            audio, display_name="Clone", lang=LANGUAGE, description="warm", tags=["a"],
            transcriptions=["text"] * len(audio), remove_background_noise=True,
        )  # fmt: skip
        tts.delete_voice(found["voice"]["voiceId"])
        reports = found["audioSamplesValidated"]
        return of_theirs(found["voice"]), [report["transcription"] for report in reports]

    forms = (("a path", [str(file)]), ("bytes", [content]), ("two files", [file, content]))
    for name, audio in forms:
        rows.row(f"clone_voice and delete_voice, {name}", lambda: cloned(audio),
                 lambda: their_clone(audio))  # fmt: skip
    for name, audio in (("no file", [folder / "none.wav"]), ("an empty list", [])):
        rows.row(f"clone_voice, {name}", lambda: cloned(audio), lambda: their_clone(audio))
    for name, audio in (("0 bytes", [b""]), ("no audio", [b"no audio" * 99])):
        rows.differs(f"clone_voice, {name}", "inworld_sync refuses it before it is sent",
                     lambda: cloned(audio), lambda: their_clone(audio))  # fmt: skip

    def designed() -> object:
        previews = iw.voices.design(PROMPT, preview_text="Hello.", preview_count=2)
        voice = iw.voices.publish(previews[1].id, name="Designed", tags=["b"])
        changed = iw.voices.update(voice.id, name="Changed", description="calm")
        spoken = iw.tts.synthesize("Hello.", voice=voice.id, model=MODEL, method="http").data
        iw.voices.delete(voice.id)
        audio = [preview.audio for preview in previews]
        return audio, of_ours(voice)[1:], of_ours(changed)[1:], spoken

    def their_design() -> object:
        found = tts.design_voice(design_prompt=PROMPT, preview_text="Hello.", number_of_samples=2)[
            "previewVoices"
        ]
        voice = tts.publish_voice(found[1]["voiceId"], display_name="Designed", tags=["b"])
        changed = tts.update_voice(voice["voiceId"], display_name="Changed", description="calm")
        spoken = tts.generate(
            "Hello.", voice=voice["voiceId"], model=MODEL, encoding="PCM", sample_rate=24000
        )
        tts.delete_voice(voice["voiceId"])
        audio = [base64.b64decode(preview["previewAudio"]) for preview in found]
        return audio, of_theirs(voice)[1:], of_theirs(changed)[1:], spoken

    rows.row("design_voice, publish_voice, update_voice, delete_voice", designed, their_design)
    rows.row("design_voice, a short prompt",
             lambda: iw.voices.design("short", preview_text="Hi"),
             lambda: tts.design_voice(design_prompt="short", preview_text="Hi"))  # fmt: skip
    rows.row("update_voice without a change", lambda: iw.voices.update("Ashley"),
             lambda: tts.update_voice("Ashley"))  # fmt: skip
    rows.row("update_voice, a voice of the service",
             lambda: iw.voices.update("Ashley", name="x"),
             lambda: tts.update_voice("Ashley", display_name="x"))  # fmt: skip
    rows.row("delete_voice, an unknown voice", lambda: iw.voices.delete("nobody"),
             lambda: tts.delete_voice("nobody"))  # fmt: skip
    rows.row("publish_voice, an unknown voice", lambda: iw.voices.publish("nobody"),
             lambda: tts.publish_voice("nobody"))  # fmt: skip
    with eleven_labs(content) as url:
        migration._EL_BASE = url
        rows.row(
            "migrate_from_elevenlabs",
            lambda: iw.voices.clone_from_elevenlabs("v", api_key="k", base_url=url).voice.name,
            lambda: tts.migrate_from_elevenlabs("k", "v")["elevenlabs_name"],
        )


@contextlib.contextmanager
def eleven_labs(audio: bytes) -> Iterator[str]:
    """
    Run a server with the voice API of ElevenLabs and one voice. Yield the address of the server.
    """
    facts = {"name": "Rachel", "labels": {"language": "en"}, "samples": [{"sample_id": "s"}]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = audio if self.path.endswith("/audio") else json.dumps(facts).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def failures(rows: Comparison, server: Emulator) -> None:
    """Compare the results when the service or the network fails."""

    def ours(fault: str, **settings: object) -> Callable[[], object]:
        def call() -> object:
            server.faults.clear()
            server.faults.add(fault)
            with Inworld(server.api_key, base_url=server.url, **settings) as iw:
                return iw.tts.synthesize("Hello.", voice="Dennis", method="http").data

        return call

    def theirs(fault: str, retries: int = 0, *, is_streamed: bool = True) -> Callable[[], object]:
        def call() -> object:
            server.faults.clear()
            server.faults.add(fault)
            with inworld_tts.InworldTTS(
                api_key=server.api_key, base_url=server.url, max_retries=retries
            ) as tts:
                settings = {"voice": "Dennis", "model": MODEL, "encoding": "PCM"}
                settings["sample_rate"] = 24000
                if is_streamed:
                    return b"".join(collect(tts.stream("Hello.", **settings)))
                return tts.generate("Hello.", **settings)

        return call

    for status in (400, 401, 404, 409, 429, 500, 503):
        fault = f"http_status:{status}"
        rows.row(f"status {status} without retries", ours(fault, max_retries=0), theirs(fault))
    rows.row("status 503 once, with retries", ours("http_status:503"),
             theirs("http_status:503", 2, is_streamed=False))  # fmt: skip
    rows.row("no answer, without retries", ours("drop_request", max_retries=0),
             theirs("drop_request"))  # fmt: skip
    rows.row("the connection is cut in the middle", ours("half_frame@1"), theirs("half_frame@1"))
    rows.differs("an error line in the middle",
                 "inworld-tts ignores the error and returns incomplete audio",
                 ours("error:13@1"), theirs("error:13@1"))  # fmt: skip

    def listed(key: str) -> Callable[[], object]:
        def call() -> object:
            with Inworld(key, base_url=server.url) as iw:
                return iw.voices.list()

        return call

    def their_list() -> object:
        return inworld_tts.InworldTTS(api_key=WRONG_KEY, base_url=server.url).list_voices()

    rows.row("a wrong key", listed(WRONG_KEY), their_list)


def main() -> int:
    rows = Comparison()
    settings = Settings(chunk_ms=100)
    with tempfile.TemporaryDirectory() as folder, Emulator(settings=settings) as server:
        with (
            Inworld(server.api_key, base_url=server.url) as iw,
            inworld_tts.InworldTTS(api_key=server.api_key, base_url=server.url) as tts,
        ):
            speech(rows, iw, tts)
            voices(rows, iw, tts, Path(folder))
        failures(rows, server)
    version = importlib.metadata.version("inworld-tts")
    print(f"\n{rows.rows} rows with inworld-tts {version}, {rows.different} wrong")
    return rows.different


if __name__ == "__main__":
    sys.exit(main())
