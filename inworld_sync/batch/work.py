"""Writes the output of a batch item: the speech of a text, or the transcript of a recording."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

import attrs

from inworld_sync.audio.files import AudioFile
from inworld_sync.audio.source import open_recording
from inworld_sync.audio.wav import WavWriter
from inworld_sync.batch.jobs import BatchItem
from inworld_sync.errors import ClosedError, InworldError
from inworld_sync.locks import Event
from inworld_sync.models.stt import Transcript
from inworld_sync.sessions.stt.service import Stt
from inworld_sync.sessions.tts.service import Tts
from inworld_sync.sessions.tts.speech import SpeechStream

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ItemResult", "ItemWorker"]


@attrs.frozen
class ItemResult:
    """The size of an output, the length of its speech, and how many characters were spoken."""

    size_bytes: int
    audio_seconds: float = 0.0
    characters: int = 0


class ItemWorker:
    """
    Does items, one after another or on several threads.

    Args:
        tts: Speaks the texts.
        stt: A function that returns the service for the recordings.
        timeout: The ``timeout`` of each call of these two services.
        stopped: An event. If an item begins or waits after the event was set, the item ends with an
            error.
    """

    def __init__(self, tts: Tts, stt: Callable[[], Stt], timeout: float, stopped: Event) -> None:
        self._tts = tts
        self._stt = stt
        self._timeout = timeout
        self._stopped = stopped
        self._streams: dict[int, SpeechStream] = {}

    def stop(self) -> None:
        """Interrupt the speech of all threads."""
        self._stopped.set()
        for stream in list(self._streams.values()):
            stream.close()

    def write(self, item: BatchItem, path: Path) -> ItemResult:
        """
        Do an item and write the result to a file. When this method returns, the result is on the
        disk.

        Raises:
            InworldError: The item failed, or :meth:`stop` was called.
            OSError: The file cannot be written, or the recording cannot be read.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        if item.text is not None:
            with path.open("wb") as file:
                result = self._speak(item, item.text, file)
                return self._synced(file, result)
        data = self._transcribe(item)
        with path.open("wb") as file:
            file.write(data)
            return self._synced(file, ItemResult(len(data)))

    def _synced(self, file: BinaryIO, result: ItemResult) -> ItemResult:
        file.flush()
        os.fsync(file.fileno())
        return attrs.evolve(result, size_bytes=os.fstat(file.fileno()).st_size)

    def _speak(self, item: BatchItem, text: str, file: BinaryIO) -> ItemResult:
        is_wav = PurePosixPath(item.output).suffix.lower() == ".wav"
        rate_hz = item.speech.audio.sample_rate_hz
        stream = self._tts.stream(text, config=item.speech, timeout=self._timeout)
        seconds, characters = 0.0, 0
        try:
            self._streams[id(stream)] = stream
            # stop() may have run before this stream was added to the streams.
            self._require_running()
            writer = WavWriter(file, rate_hz) if is_wav else None
            for chunk in stream:
                (writer.write if writer else file.write)(chunk.data)
                seconds += (chunk.duration_ms or 0.0) / 1000.0
                characters += chunk.usage.characters if chunk.usage else 0
            # A stream that was stopped ends without an error.
            self._require_running()
            if writer is not None:
                writer.close()
        finally:
            self._streams.pop(id(stream), None)
            stream.close()
        return ItemResult(0, seconds, characters)

    def _transcribe(self, item: BatchItem) -> bytes:
        assert item.audio is not None
        file = open_recording(item.audio)

        def blocks() -> Iterator[Buffer]:
            for block in file:
                self._require_running()
                yield block

        recording = AudioFile(blocks(), file.sample_rate_hz, file.channels, file.close, file.frames)
        transcript = self._stt().transcribe(
            recording, config=item.transcript, timeout=self._timeout
        )
        suffix = PurePosixPath(item.output).suffix.lower()
        return _rendered(transcript, suffix).encode()

    def _require_running(self) -> None:
        if self._stopped.is_set():
            raise ClosedError("the batch was stopped")


def _rendered(transcript: Transcript, suffix: str) -> str:
    if suffix == ".srt":
        return transcript.to_srt()
    if suffix == ".vtt":
        return transcript.to_vtt()
    if suffix == ".json":
        facts = {"text": transcript.text, **attrs.asdict(transcript)}
        return json.dumps(facts, ensure_ascii=False, indent=2, default=str) + "\n"
    return "".join(f"{turn}\n" for turn in transcript.turns)


def is_item_error(error: Exception, item: BatchItem) -> bool:
    """Return whether an error is about this item only. If so, the other items can still be done."""
    if isinstance(error, OSError) and not isinstance(error, InworldError):
        # Other errors of files are about the disk. Then no other output could be written either.
        return item.audio is not None and error.filename == item.audio
    return True
