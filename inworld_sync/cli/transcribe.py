"""``inworld-sync transcribe``: transcribe audio files to text, JSON or subtitles."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import click
from rich.control import Control
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.segment import ControlType
from rich.table import Column
from rich.text import Text

from inworld_sync.audio.source import ConvertedSource, open_source
from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.cli.common import (
    ERRORS,
    client_options,
    json_text,
    open_client,
    plain,
    print_json,
    print_message,
    verbose_option,
)
from inworld_sync.cli.failures import EMPTY_STATUS, message_of, status_of
from inworld_sync.errors import ConfigError, InworldError
from inworld_sync.models.devices import AudioSource
from inworld_sync.models.stt import (
    DEFAULT_STT_MODEL,
    PartialTranscript,
    TranscribeConfig,
    Transcript,
    Transcription,
)

if TYPE_CHECKING:
    from inworld_sync.client import Inworld

STANDARD_INPUT = "-"

_SUFFIXES = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}
_LINE_START = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
# On Windows Ctrl-C does not end a wait without a timeout.
_WAIT_SECONDS = 1.0

# The most seconds without progress after the end of the audio; with --http, for the request.
TIMEOUT_SECONDS = 30.0

_Advance = Callable[[float], None]
# Called with the name of a file and its duration in ms, if it is known.
_Counter = Callable[[str, "float | None"], _Advance]


@attrs.frozen(kw_only=True)
class _Job:
    """The settings with which each file is transcribed."""

    config: TranscribeConfig
    rate: int | None
    channels: int
    method: Literal["stream", "http"]
    live: bool
    timeout: float


@attrs.frozen
class _Result:
    """The transcript of a file, and the error that ended it early."""

    name: str
    transcript: Transcript
    error: BaseException | None = None


@click.command("transcribe")
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path),
              help="Folder for one result per file; by default standard output.")  # fmt: skip
@click.option("--srt", is_flag=True, help="Write SubRip subtitles.")
@click.option("--vtt", is_flag=True, help="Write WebVTT subtitles.")
@click.option("--live", is_flag=True, help="Send in real time, and print each turn at once.")
@click.option("--language", help="BCP-47 tag, such as en-US; by default the model detects it.")
@click.option("--model", default=DEFAULT_STT_MODEL, show_default=True, help="provider/model.")
@click.option("--rate", type=int, help="Sample rate in Hz of raw PCM.")
@click.option("--channels", default=1, show_default=True, help="Channels of raw PCM.")
@click.option("--http", is_flag=True, help="Send each file as one request of at most 16 MB.")
@click.option("--jobs", default=4, show_default=True, type=click.IntRange(1, 20),
              help="Files to transcribe at once.")  # fmt: skip
@click.option("--timeout", default=TIMEOUT_SECONDS, show_default=True,
              type=click.FloatRange(min=0, min_open=True),
              help="Seconds to wait for news after the end of the audio; with --http, for the "
              "result.")  # fmt: skip
@verbose_option
@client_options
def command(
    files: tuple[str, ...],
    output: Path | None,
    language: str | None,
    model: str,
    rate: int | None,
    channels: int,
    jobs: int,
    timeout: float,
    *,
    verbose: bool,
    srt: bool,
    vtt: bool,
    live: bool,
    http: bool,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Transcribe audio FILES in any format that soundfile or PyAV reads; - is standard input.

    Files whose names end in .pcm or .raw, and standard input without a header, are raw 16-bit PCM
    and need --rate. If a transcription fails, its first turns are printed all the same.
    """
    form = _form(as_json=as_json, srt=srt, vtt=vtt)
    _check(files, form, output, live=live)
    if http and verbose:
        raise click.UsageError("-v shows the messages of a WebSocket: leave out --http")
    job = _Job(
        config=TranscribeConfig(model=model, language=language),
        rate=rate,
        channels=channels,
        method="http" if http else "stream",
        live=live,
        timeout=timeout,
    )
    # With --http there is one result, which is printed when it is complete.
    prints_turns = live and not http
    on_transcript = _printer(form) if prints_turns else None
    prints_results = output is not None or not prints_turns or form in ("srt", "vtt")
    writer = _Writer(files, form, output, is_on=prints_results)
    with (
        open_client(local=local, base_url=base_url, verbose=verbose) as iw,
        _counters(show=not live) as counter,
    ):
        results = [
            writer.write(result)
            for result in _transcribe_all(iw, files, job, jobs, counter, on_transcript)
        ]
    writer.end()
    if status := _status(results):
        sys.exit(status)


def _status(results: Sequence[_Result]) -> int:
    failed = {status_of(result.error) for result in results if result.error is not None}
    if failed:
        return failed.pop() if len(failed) == 1 else 1
    return 0 if any(result.transcript.turns for result in results) else EMPTY_STATUS


def _form(*, as_json: bool, srt: bool, vtt: bool) -> str:
    wanted = [name for name, on in (("json", as_json), ("srt", srt), ("vtt", vtt)) if on]
    if len(wanted) > 1:
        raise click.UsageError(f"--{' and --'.join(wanted)} cannot be combined")
    return wanted[0] if wanted else "text"


def _check(files: Sequence[str], form: str, output: Path | None, *, live: bool) -> None:
    if live and len(files) > 1:
        raise click.UsageError("--live accepts one file")
    if files.count(STANDARD_INPUT) > 1:
        raise click.UsageError("standard input can be read once")
    if len(files) > 1 and form in ("srt", "vtt") and output is None:
        raise click.UsageError("--srt and --vtt with several files need a folder: pass --output")
    stems = [Path(name).stem for name in files]
    if output is not None and len(set(stems)) < len(stems):
        raise click.UsageError(
            "two files have the same name, and so would their results in --output"
        )


# Reading.


class _Counted:
    """A source that reports how much was read from it."""

    def __init__(self, source: ConvertedSource, advance: _Advance) -> None:
        self._source = source
        self._advance = advance
        self.sample_rate_hz = source.sample_rate_hz
        self.close = source.close

    def __iter__(self) -> Iterator[bytes]:
        for block in self._source:
            self._advance(len(block) / 2 / self.sample_rate_hz)
            yield block


def _open(name: str, job: _Job, counter: _Counter) -> AudioSource:
    audio = sys.stdin.buffer if name == STANDARD_INPUT else name
    to_hz = job.config.sample_rate_hz
    source = open_source(audio, to_hz=to_hz, from_hz=job.rate, channels=job.channels)
    return _Counted(source, counter(name, source.duration_ms))


# Working.


def _transcribe_all(
    iw: Inworld,
    files: Sequence[str],
    job: _Job,
    jobs: int,
    counter: _Counter,
    on_transcript: Callable[[Transcription], object] | None,
) -> Iterator[_Result]:
    """Transcribe the files, *jobs* at a time, and yield each result when it is ready."""

    def transcribe(name: str) -> Transcript:
        source = _open(name, job, counter)
        return iw.stt.transcribe(
            source,
            config=job.config,
            method=job.method,
            realtime=job.live,
            on_transcript=on_transcript,
            timeout=job.timeout,
        )

    pool = ThreadPoolExecutor(min(jobs, len(files)), thread_name_prefix="inworld-transcribe")
    try:
        waiting = {pool.submit(transcribe, name): name for name in files}
        while waiting:
            for future in wait(waiting, _WAIT_SECONDS, FIRST_COMPLETED).done:
                yield _outcome(waiting.pop(future), future)
    finally:
        # Closing the client ends its open streams, and this ends the threads of the pool.
        iw.close()
        pool.shutdown(cancel_futures=True)


def _outcome(name: str, future: Future[Transcript]) -> _Result:
    """Return the result of a file, and report a failure or an empty result."""
    try:
        result = _Result(name, future.result())
    except (InworldError, OSError) as error:
        partial = error.partial if isinstance(error, InworldError) else None
        kept = partial.transcript if isinstance(partial, PartialTranscript) else Transcript()
        result = _Result(name, kept, error)
        count = len(kept.turns)
        _report(name, error, f" (finished turns in the result: {count})" if count else "")
    else:
        if not result.transcript.turns:
            print_message(f"{name}: no words were recognized")
    return result


def _report(name: str, error: BaseException, more: str = "") -> None:
    print_message(f"{name}: {message_of(error)}{more}")


@contextlib.contextmanager
def _counters(*, show: bool) -> Iterator[_Counter]:
    """Show how many seconds of each file were sent, if standard error is a terminal."""
    if not (show and ERRORS.is_terminal):
        yield lambda _name, _duration_ms: lambda _: None
        return
    columns = (
        SpinnerColumn(),
        # This is the first column, since the name may be longer than the line.
        TextColumn("{task.fields[sent]}", table_column=Column(min_width=7, no_wrap=True)),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
    )
    # Results are printed while the bars are shown. On a terminal they appear above the bars.
    bars = Progress(*columns, console=ERRORS, transient=True, redirect_stdout=sys.stdout.isatty())
    with bars as bar:

        def counter(name: str, duration_ms: float | None) -> _Advance:
            total = "" if duration_ms is None else f"/{duration_ms / 1000.0:.0f}"
            task: TaskID = bar.add_task(plain(name), total=None, sent="")
            sent = 0.0

            def advance(seconds: float) -> None:
                nonlocal sent
                sent += seconds
                bar.update(task, sent=f"{sent:.0f}{total} s")

            return advance

        yield counter


# Printing.


def _printer(form: str) -> Callable[[Transcription], None]:
    """Print final transcripts. On a terminal, a partial transcript overwrites the one before."""

    def show(said: Transcription) -> None:
        if ERRORS.is_terminal:
            # The line is erased, since the partial transcript before may be longer.
            ERRORS.control(_LINE_START)
        if not said.is_final:
            if ERRORS.is_terminal:
                partial = Text(plain(said.text), overflow="ellipsis", no_wrap=True)
                ERRORS.print(partial, end="")
            return
        if not said.text.strip() or form not in ("text", "json"):
            return
        row = {"text": said.text, "words": [attrs.asdict(word) for word in said.words]}
        click.echo(json_text(row) if form == "json" else plain(said.text))
        sys.stdout.flush()

    return show


class _Writer:
    """
    Writes each result when it is ready, to standard output in the order of the files.

    Args:
        files: The names of all files.
        form: ``text``, ``json``, ``srt`` or ``vtt``.
        output: The folder for one file per result; None means standard output.
        is_on: False if the results were printed already.
    """

    def __init__(
        self, files: Sequence[str], form: str, output: Path | None, *, is_on: bool
    ) -> None:
        self._files = list(files)
        self._form = form
        self._output = output
        self._is_on = is_on
        self._is_list = len(files) > 1
        self._ready: dict[str, _Result] = {}
        self._rows: list[object] = []

    def write(self, result: _Result) -> _Result:
        """Write a result, or keep it for later. The returned result has the failure, if any."""
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
            _report(result.name, error)
            return attrs.evolve(result, error=result.error or error)
        return result

    def end(self) -> None:
        """Print the output that needs all results."""
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
            head = f"{plain(result.name)}:\n" if self._is_list else ""
            click.echo(head + _rendered(result, self._form), nl=False)
            sys.stdout.flush()


def _is_useful(result: _Result) -> bool:
    """Return whether the result is written. A file that failed without a turn has no result."""
    return result.error is None or bool(result.transcript.turns)


def _rendered(result: _Result, form: str) -> str:
    transcript = result.transcript
    if form == "json":
        return json_text(_row(result), indent=2) + "\n"
    if form in ("srt", "vtt"):
        # If the transcript has no times at all, this raises an error that names these models too.
        text = transcript.to_srt() if form == "srt" else transcript.to_vtt()
        if any(turn.text and not turn.words for turn in transcript.turns):
            print_message(
                f"{result.name}: the model sent no times of words, so --{form} has the times of "
                "turns: assemblyai, soniox and deepgram models send times of words, see --model"
            )
        return text
    return "".join(f"{plain(turn.text)}\n" for turn in transcript.turns)


def _row(result: _Result) -> dict[str, object]:
    error = {} if result.error is None else {"error": message_of(result.error)}
    text = result.transcript.text
    return {"file": result.name, "text": text, **attrs.asdict(result.transcript), **error}
