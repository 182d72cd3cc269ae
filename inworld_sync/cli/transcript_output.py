"""Writes the results of ``inworld-sync transcribe`` as text, JSON or subtitles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import click

from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.cli.common import json_text, print_json, print_message
from inworld_sync.cli.failures import message_of
from inworld_sync.errors import ConfigError, printable
from inworld_sync.models.stt import Transcript

__all__ = ["TranscriptResult", "TranscriptWriter", "report_failure"]

_SUFFIXES = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}


@attrs.frozen
class TranscriptResult:
    """The transcript of a file, and the error that ended the transcription early, if any."""

    name: str
    transcript: Transcript
    error: BaseException | None = None


def report_failure(name: str, error: BaseException, more: str = "") -> None:
    """Print why a file failed; *more* is added to the message."""
    print_message(f"{name}: {message_of(error)}{more}")


class TranscriptWriter:
    """
    Writes each result when it is ready. On standard output, the results are in the order of the
    files.

    Args:
        files: The names of all files.
        form: ``text``, ``json``, ``srt`` or ``vtt``.
        output: Folder for one file per result; None means standard output.
        is_on: Whether to write; False if the results were printed already.
    """

    def __init__(
        self, files: Sequence[str], form: str, output: Path | None, *, is_on: bool
    ) -> None:
        self._files = list(files)
        self._form = form
        self._output = output
        self._is_on = is_on
        self._is_list = len(files) > 1
        self._ready: dict[str, TranscriptResult] = {}
        self._rows: list[object] = []

    def write(self, result: TranscriptResult) -> TranscriptResult:
        """
        Write a result, or keep it until the results of earlier files are printed.

        If the result cannot be written, print the error, and return the result with the error.
        """
        if not self._is_on:
            return result
        try:
            if self._output is None:
                self._ready[result.name] = result
                self._print_ready()
            elif _is_useful(result):
                self._output.mkdir(parents=True, exist_ok=True)
                path = self._output / (Path(result.name).stem + _SUFFIXES[self._form])
                text = _rendered(result, self._form)
                with WholeFile(path) as file:
                    file.write(text.encode())
        except (ConfigError, OSError) as error:
            report_failure(result.name, error)
            return attrs.evolve(result, error=result.error or error)
        return result

    def end(self) -> None:
        """Print the JSON list of all results, if there is one."""
        if self._rows:
            print_json(self._rows)

    def _print_ready(self) -> None:
        while self._files and self._files[0] in self._ready:
            result = self._ready[self._files.pop(0)]
            if not _is_useful(result):
                continue
            if self._form == "json" and self._is_list:
                self._rows.append(_row(result))
                continue
            head = f"{printable(result.name)}:\n" if self._is_list else ""
            click.echo(head + _rendered(result, self._form), nl=False)
            sys.stdout.flush()


def _is_useful(result: TranscriptResult) -> bool:
    """Return whether to write a result. If a file failed before its first turn, return False."""
    return result.error is None or bool(result.transcript.turns)


def _rendered(result: TranscriptResult, form: str) -> str:
    transcript = result.transcript
    if form == "json":
        return json_text(_row(result), indent=2) + "\n"
    if form in ("srt", "vtt"):
        # If a transcript has no times at all, these methods raise an error that names models
        # with times.
        text = transcript.to_srt() if form == "srt" else transcript.to_vtt()
        if any(turn.text and not turn.words for turn in transcript.turns):
            print_message(
                f"{result.name}: the model sent no times of words, so --{form} has the times of "
                "turns: assemblyai, soniox and deepgram models send times of words, see --model"
            )
        return text
    return "".join(f"{printable(str(turn))}\n" for turn in transcript.turns)


def _row(result: TranscriptResult) -> dict[str, object]:
    error = {} if result.error is None else {"error": message_of(result.error)}
    text = result.transcript.text
    return {"file": result.name, "text": text, **attrs.asdict(result.transcript), **error}
