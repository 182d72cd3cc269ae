"""``inworld-sync transcribe``: transcribe audio files to text, JSON or subtitles."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import attrs
import click
from rich.control import Control
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.segment import ControlType
from rich.table import Column
from rich.text import Text

from inworld_sync.audio.files import AudioFile
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.audio.raw_formats import RawFormat
from inworld_sync.audio.samples import MAX_CHANNELS
from inworld_sync.audio.source import open_recording
from inworld_sync.cli.common import (
    ERRORS,
    client_options,
    is_given,
    json_text,
    open_client,
    print_message,
    verbose_option,
)
from inworld_sync.cli.failures import EMPTY_STATUS, status_of, with_options
from inworld_sync.cli.transcript_output import (
    TranscriptResult,
    TranscriptWriter,
    report_failure,
)
from inworld_sync.errors import ConfigError, InworldError, printable
from inworld_sync.locks import make_lock
from inworld_sync.models.stt import (
    DEFAULT_STT_MODEL,
    PartialTranscript,
    TranscribeConfig,
    Transcript,
    Transcription,
)
from inworld_sync.models.turns import Turn

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from inworld_sync.client import Inworld

STANDARD_INPUT = "-"

_LINE_START = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
# On Windows Ctrl-C does not end a wait without a timeout.
_WAIT_SECONDS = 1.0
# At the end, also after an interruption, the command waits at most this time for its threads.
_END_SECONDS = 0.5

# Each file with two channels uses two of the twenty connections of an account.
_MAX_SEPARATE_JOBS = 10

# The largest number of seconds without progress after the end of the audio. With --http, the
# largest number of seconds of the whole request.
TIMEOUT_SECONDS = 30.0

_Advance = Callable[[float], None]
# A function that gets the name and the duration of a file. The duration is in ms; None means that
# the duration is unknown.
_Counter = Callable[[str, "float | None"], _Advance]


@attrs.frozen(kw_only=True)
class _Job:
    """The settings with which each file is transcribed."""

    config: TranscribeConfig
    rate: int | None
    channels: int | Literal["separate"]
    channel: int | None
    raw_format: RawFormat | None
    # The given options that have an effect on raw samples only.
    raw_options: list[str]
    method: Literal["stream", "http"]
    live: bool
    timeout: float


def _channels(_: click.Context, __: click.Parameter, value: str) -> int | Literal["separate"]:
    if value == "separate":
        return "separate"
    if not value.isdecimal() or not 1 <= int(value) <= MAX_CHANNELS:
        raise click.BadParameter(f"must be 1 to {MAX_CHANNELS} or separate, got {value!r}")
    return int(value)


@click.command("transcribe")
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path),
              help="Folder for one result per file; by default standard output.")  # fmt: skip
@click.option("--srt", is_flag=True, help="Write SubRip subtitles.")
@click.option("--vtt", is_flag=True, help="Write WebVTT subtitles.")
@click.option("--live", is_flag=True, help="Send in real time, and print each turn when it ends.")
@click.option(
    "--language", help="Language of the speech, such as en-US; by default the model detects it."
)
@click.option("--model", default=DEFAULT_STT_MODEL, show_default=True,
              help="Model, as provider/model.")  # fmt: skip
@click.option("--rate", type=int, help="Sample rate in Hz of raw PCM.")
@click.option("--channels", default="1", show_default=True, callback=_channels,
              metavar="N|separate",
              help="Number of channels of raw PCM; they are mixed to one. With separate, each "
              "channel is transcribed alone, and raw PCM has two channels.")  # fmt: skip
@click.option("--channel", type=click.IntRange(min=0), metavar="N",
              help="Transcribe only this channel; the first channel is 0.")  # fmt: skip
@click.option("--raw-format", type=click.Choice(get_args(RawFormat)), metavar="NAME",
              help="Format of raw PCM, by its name in ffmpeg, such as mulaw or s24le. By default, "
              "the ending of the file name decides; other files have s16le.")  # fmt: skip
@click.option("--http", is_flag=True, help="Send each file as one request of at most 16 MB.")
@click.option("--jobs", default=4, show_default=True, type=click.IntRange(1, 20),
              help="How many files are transcribed at the same time.")  # fmt: skip
@click.option("--timeout", default=TIMEOUT_SECONDS, show_default=True,
              type=click.FloatRange(min=0, min_open=True),
              help="Seconds to wait for progress after the end of the audio; with --http, seconds "
              "to wait for the result.")  # fmt: skip
@verbose_option
@client_options
def command(
    files: tuple[str, ...],
    output: Path | None,
    language: str | None,
    model: str,
    rate: int | None,
    channels: int | Literal["separate"],
    channel: int | None,
    raw_format: RawFormat | None,
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
    Transcribe audio FILES; - is standard input.

    A file may have any format that soundfile or PyAV reads. Files whose names end in .pcm or .raw,
    and standard input without a header, are raw 16-bit PCM and need --rate. If a transcription
    fails, the turns so far are still printed.
    """
    form = _form(as_json=as_json, srt=srt, vtt=vtt)
    _check(files, form, output, live=live)
    if is_given("jobs") and len(files) == 1:
        raise click.UsageError("--jobs needs several files")
    if channels == "separate":
        if channel is not None:
            raise click.UsageError("--channel and --channels separate cannot be combined")
        if jobs > _MAX_SEPARATE_JOBS:
            raise click.UsageError(
                f"--jobs may be at most {_MAX_SEPARATE_JOBS} with --channels separate, got {jobs}"
            )
    if http and verbose:
        raise click.UsageError("-v shows the messages of a WebSocket: leave out --http")
    raw_options = ["--rate"] if rate is not None else []
    if is_given("channels") and channels != "separate":
        raw_options.append("--channels")
    job = _Job(
        config=TranscribeConfig(model=model, language=language),
        rate=rate,
        channels=channels,
        channel=channel,
        raw_format=raw_format,
        raw_options=raw_options,
        method="http" if http else "stream",
        live=live,
        timeout=timeout,
    )
    # With --http there is one result, which is printed when it is complete.
    prints_turns = live and not http
    on_transcript = _printer(form) if prints_turns else None
    prints_results = output is not None or not prints_turns or form in ("srt", "vtt")
    writer = TranscriptWriter(files, form, output, is_on=prints_results)
    with (
        _warnings_shown(),
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


def _status(results: Sequence[TranscriptResult]) -> int:
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
        raise click.UsageError("standard input (-) can be read only once")
    if len(files) > 1 and form in ("srt", "vtt") and output is None:
        raise click.UsageError("--srt and --vtt with several files need a folder: pass --output")
    stems = [Path(name).stem for name in files]
    if output is not None and len(set(stems)) < len(stems):
        raise click.UsageError(
            "two files have the same name, and so would their results in --output"
        )


# Reading.


def _open(name: str, job: _Job, counter: _Counter) -> AudioFile:
    """Open a recording. *counter* counts the seconds of audio that are read from the recording."""
    file = open_recording(
        # A thread that waits in the buffered file holds the lock of this file. At the end of the
        # program, the interpreter needs this lock. So the thread reads from the raw file.
        getattr(sys.stdin.buffer, "raw", sys.stdin.buffer) if name == STANDARD_INPUT else name,
        sample_rate_hz=job.rate,
        channels=2 if job.channels == "separate" else job.channels,
        raw_format=job.raw_format,
    )
    if job.raw_options and not file.is_raw:
        file.close()
        raise ConfigError(
            f"{' and '.join(job.raw_options)} cannot be combined with a file that has a header: "
            "its rate and channels are known"
        )
    rate_hz, frame_bytes = file.sample_rate_hz, file.channels * SAMPLE_BYTES
    advance = counter(name, None if file.frames is None else file.frames * 1000.0 / rate_hz)

    def counted() -> Iterator[Buffer]:
        for block in file:
            advance(memoryview(block).nbytes / frame_bytes / rate_hz)
            yield block

    return AudioFile(counted(), rate_hz, file.channels, file.close, file.frames)


# Working.


def _transcribe_all(
    iw: Inworld,
    files: Sequence[str],
    job: _Job,
    jobs: int,
    counter: _Counter,
    on_transcript: Callable[[Transcription], object] | None,
) -> Iterator[TranscriptResult]:
    """Transcribe the files, *jobs* at a time, and yield each result when it is ready."""

    def transcribe(name: str) -> Transcript:
        return iw.stt.transcribe(
            _open(name, job, counter),
            channels="separate" if job.channels == "separate" else 1,
            channel=job.channel,
            config=job.config,
            method=job.method,
            realtime=job.live,
            on_transcript=on_transcript,
            timeout=job.timeout,
        )

    waiting: dict[Future[Transcript], str] = {Future(): name for name in files}
    tasks = list(reversed(waiting.items()))

    def work() -> None:
        while True:
            try:
                future, name = tasks.pop()
            except IndexError:
                return
            try:
                future.set_result(transcribe(name))
            except BaseException as error:  # noqa: BLE001 - the main thread raises it
                future.set_exception(error)

    # A thread may wait for standard input or a FIFO when the command is interrupted. A thread of a
    # ThreadPoolExecutor would then delay the end of the program; a daemon thread does not.
    threads = [
        threading.Thread(target=work, name=f"inworld-transcribe-{number}", daemon=True)
        for number in range(min(jobs, len(files)))
    ]
    try:
        for thread in threads:
            thread.start()
        while waiting:
            for future in wait(waiting, _WAIT_SECONDS, FIRST_COMPLETED).done:
                yield _outcome(waiting.pop(future), future)
    finally:
        tasks.clear()
        # Closing the client ends its open streams, and this ends the threads that transcribe.
        iw.close()
        until = time.monotonic() + _END_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(until - time.monotonic(), 0))


def _outcome(name: str, future: Future[Transcript]) -> TranscriptResult:
    """Return the result of a file, and report a failure or an empty result."""
    try:
        result = TranscriptResult(name, future.result())
    except (InworldError, OSError) as error:
        partial = error.partial if isinstance(error, InworldError) else None
        kept = partial.transcript if isinstance(partial, PartialTranscript) else Transcript()
        result = TranscriptResult(name, kept, error)
        count = len(kept.turns)
        report_failure(name, error, f" (finished turns in the result: {count})" if count else "")
    else:
        if not result.transcript.turns:
            print_message(f"{name}: no words were recognized")
    return result


class _Warnings(logging.Handler):
    """Prints the warnings of the client."""

    def emit(self, record: logging.LogRecord) -> None:
        # This is the name of the client's logger. The emulator's loggers have longer names.
        if record.name == "inworld_sync":
            print_message(with_options(record.getMessage()))


@contextlib.contextmanager
def _warnings_shown() -> Iterator[None]:
    logger, handler = logging.getLogger("inworld_sync"), _Warnings(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def _counters(*, show: bool) -> Iterator[_Counter]:
    """Show how many seconds of each file were sent, if standard error is a terminal."""
    if not (show and ERRORS.is_terminal):
        yield lambda _name, _duration_ms: lambda _: None
        return
    columns = (
        SpinnerColumn(),
        # The seconds are left of the name, since the name may be longer than the line.
        TextColumn("{task.fields[sent]}", table_column=Column(min_width=7, no_wrap=True)),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
    )
    # Results are printed while the bars are shown. On a terminal they appear above the bars.
    bars = Progress(*columns, console=ERRORS, transient=True, redirect_stdout=sys.stdout.isatty())
    with bars as bar:

        def counter(name: str, duration_ms: float | None) -> _Advance:
            total = "" if duration_ms is None else f"/{duration_ms / 1000.0:.0f}"
            task: TaskID = bar.add_task(printable(name), total=None, sent="")
            sent = 0.0

            def advance(seconds: float) -> None:
                nonlocal sent
                sent += seconds
                bar.update(task, sent=f"{sent:.0f}{total} s")

            return advance

        yield counter


# Printing.


def _printer(form: str) -> Callable[[Transcription], None]:
    """
    Return a function that prints final transcripts. On a terminal, each transcript overwrites the
    last partial transcript.
    """
    # Each separate channel has a thread of its own.
    lock = make_lock()

    def show(said: Transcription) -> None:
        with lock:
            show_one(said)

    def show_one(said: Transcription) -> None:
        turn = Turn(said.text, said.words, channel=said.channel)
        if ERRORS.is_terminal:
            # The line is erased, since the partial transcript on the line may be longer than the
            # new transcript.
            ERRORS.control(_LINE_START)
        if not said.is_final:
            if ERRORS.is_terminal:
                partial = Text(printable(str(turn)), overflow="ellipsis", no_wrap=True)
                ERRORS.print(partial, end="")
            return
        if not said.text.strip() or form not in ("text", "json"):
            return
        row: dict[str, object] = {
            "text": said.text,
            "words": [attrs.asdict(word) for word in said.words],
        }
        if said.channel is not None:
            row["channel"] = said.channel
        click.echo(json_text(row) if form == "json" else printable(str(turn)))
        sys.stdout.flush()

    return show
