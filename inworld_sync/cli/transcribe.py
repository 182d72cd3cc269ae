"""``inworld-sync transcribe``: sound files to text, JSON or subtitles."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import click
from rich.control import Control
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.segment import ControlType
from rich.table import Column

from inworld_sync.audio.source import open_source
from inworld_sync.cli.common import ERRORS, client_options, open_client, print_json
from inworld_sync.errors import ConfigError, InworldError
from inworld_sync.models.devices import AudioSource
from inworld_sync.models.stt import DEFAULT_STT_MODEL, TranscribeConfig, Transcript, Transcription

if TYPE_CHECKING:
    from inworld_sync.client import Inworld

STANDARD_INPUT = "-"

_SUFFIXES = {"text": ".txt", "json": ".json", "srt": ".srt", "vtt": ".vtt"}
_LINE_START = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
# Waits are cut into pieces so that Ctrl-C is heeded on Windows too.
_WAIT_SECONDS = 1.0

_Advance = Callable[[float], None]


@attrs.frozen(kw_only=True)
class _Job:
    """What is done with every file."""

    config: TranscribeConfig
    rate: int | None
    channels: int
    method: Literal["stream", "http"]
    live: bool


@click.command("transcribe")
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path),
              help="Folder for one result a file; without it standard output.")  # fmt: skip
@click.option("--srt", is_flag=True, help="Write SubRip subtitles.")
@click.option("--vtt", is_flag=True, help="Write WebVTT subtitles.")
@click.option("--live", is_flag=True, help="Send as fast as it sounds and print each turn at once.")
@click.option("--language", help="BCP-47, such as en-US; without it the model finds out.")
@click.option("--model", default=DEFAULT_STT_MODEL, show_default=True)
@click.option("--rate", type=int, help="Samples a second of raw PCM.")
@click.option("--channels", default=1, show_default=True, help="Of raw PCM.")
@click.option("--http", is_flag=True, help="One request a file; for recordings of some minutes.")
@click.option("--jobs", default=4, show_default=True, type=click.IntRange(1, 20), help="At once.")
@client_options
def command(
    files: tuple[str, ...],
    output: Path | None,
    language: str | None,
    model: str,
    rate: int | None,
    channels: int,
    jobs: int,
    *,
    srt: bool,
    vtt: bool,
    live: bool,
    http: bool,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Transcribe sound FILES of any kind that soundfile or PyAV reads; - is standard input.

    Names that end in .pcm or .raw, and a standard input without a header, are raw 16-bit PCM and
    need --rate.
    """
    form = _form(as_json=as_json, srt=srt, vtt=vtt)
    _check(files, form, output, live=live)
    job = _Job(
        config=TranscribeConfig(model=model, language=language),
        rate=rate,
        channels=channels,
        method="http" if http else "stream",
        live=live,
    )
    on_transcript = _printer(form) if live else None
    with open_client(local=local, base_url=base_url) as iw, _counters(show=not live) as counter:
        results = _transcribe_all(iw, files, job, jobs, counter, on_transcript)
    failed = [name for name, result in results if isinstance(result, BaseException)]
    done = [(name, result) for name, result in results if isinstance(result, Transcript)]
    if not (live and form in ("text", "json")):
        _write(done, form, output, is_list=len(files) > 1)
    if failed:
        sys.exit(1)


def _form(*, as_json: bool, srt: bool, vtt: bool) -> str:
    wanted = [name for name, on in (("json", as_json), ("srt", srt), ("vtt", vtt)) if on]
    if len(wanted) > 1:
        raise click.UsageError(f"--{' and --'.join(wanted)} are several forms of one result")
    return wanted[0] if wanted else "text"


def _check(files: Sequence[str], form: str, output: Path | None, *, live: bool) -> None:
    if live and len(files) > 1:
        raise click.UsageError("--live is for one file")
    if files.count(STANDARD_INPUT) > 1:
        raise click.UsageError("standard input can be read once")
    if len(files) > 1 and form in ("srt", "vtt") and output is None:
        raise click.UsageError("subtitles of several files need a folder: pass --output")
    stems = [Path(name).stem for name in files]
    if output is not None and len(set(stems)) < len(stems):
        raise click.UsageError("two of the files have the same name, their results would too")


# Reading.


class _Counted:
    """A source that tells how much was taken of it."""

    def __init__(self, source: AudioSource, advance: _Advance) -> None:
        self._source = source
        self._advance = advance
        self.sample_rate_hz = source.sample_rate_hz
        self.close = source.close

    def __iter__(self) -> Iterator[bytes]:
        for block in self._source:
            self._advance(len(block) / 2 / self.sample_rate_hz)
            yield block


def _open(name: str, job: _Job, advance: _Advance) -> AudioSource:
    audio = sys.stdin.buffer if name == STANDARD_INPUT else name
    to_hz = job.config.sample_rate_hz
    try:
        source = open_source(audio, to_hz=to_hz, from_hz=job.rate, channels=job.channels)
    except ConfigError as error:
        if job.rate is None:
            raise ConfigError(f"{name} is raw PCM: pass --rate") from error
        raise
    return _Counted(source, advance)


# Working.


def _transcribe_all(
    iw: Inworld,
    files: Sequence[str],
    job: _Job,
    jobs: int,
    counter: Callable[[str], _Advance],
    on_transcript: Callable[[Transcription], object] | None,
) -> list[tuple[str, Transcript | BaseException]]:
    """Transcribe some files at a time; what fails is told at once, and the others go on."""

    def transcribe(name: str) -> Transcript:
        source = _open(name, job, counter(name))
        return iw.stt.transcribe(
            source,
            config=job.config,
            method=job.method,
            realtime=job.live,
            on_transcript=on_transcript,
        )

    pool = ThreadPoolExecutor(min(jobs, len(files)), thread_name_prefix="inworld-transcribe")
    try:
        futures = [pool.submit(transcribe, name) for name in files]
        if len(files) == 1:
            return [(files[0], _wait(futures[0]))]
        return [(name, _outcome(name, future)) for name, future in zip(files, futures, strict=True)]
    finally:
        # Streams that are under way end with their client, and the threads with those.
        iw.close()
        pool.shutdown(cancel_futures=True)


def _wait(future: Future[Transcript]) -> Transcript:
    while not wait([future], _WAIT_SECONDS).done:
        pass
    return future.result()


def _outcome(name: str, future: Future[Transcript]) -> Transcript | BaseException:
    try:
        return _wait(future)
    except (InworldError, OSError) as error:
        click.echo(f"inworld-sync: {name}: {error}", err=True)
        return error


@contextlib.contextmanager
def _counters(*, show: bool) -> Iterator[Callable[[str], _Advance]]:
    """Show how many seconds of each file were sent, on standard error, if that is a terminal."""
    if not (show and ERRORS.is_terminal):
        yield lambda _: lambda _: None
        return
    columns = (
        SpinnerColumn(),
        # Before the name, which may be longer than the line.
        TextColumn("{task.completed:5.0f} s", table_column=Column(min_width=7, no_wrap=True)),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=ERRORS, transient=True) as bar:

        def counter(name: str) -> _Advance:
            task: TaskID = bar.add_task(name, total=None)
            return lambda seconds: bar.advance(task, seconds)

        yield counter


# Telling.


def _printer(form: str) -> Callable[[Transcription], None]:
    """Print finals as they come, and partials over each other on a terminal."""

    def show(said: Transcription) -> None:
        if ERRORS.is_terminal:
            # The one before may have been longer.
            ERRORS.control(_LINE_START)
        if not said.is_final:
            if ERRORS.is_terminal:
                ERRORS.print(said.text, end="", overflow="ellipsis", no_wrap=True)
            return
        if not said.text.strip() or form not in ("text", "json"):
            return
        row = {"text": said.text, "words": [attrs.asdict(word) for word in said.words]}
        click.echo(json.dumps(row, ensure_ascii=False) if form == "json" else said.text)
        sys.stdout.flush()

    return show


def _write(
    done: Sequence[tuple[str, Transcript]], form: str, output: Path | None, *, is_list: bool
) -> None:
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for name, transcript in done:
            path = output / (Path(name).stem + _SUFFIXES[form])
            path.write_text(_rendered(name, transcript, form), encoding="utf-8")
        return
    if form == "json" and is_list:
        print_json([_row(name, transcript) for name, transcript in done])
        return
    for name, transcript in done:
        head = f"{name}:\n" if is_list else ""
        click.echo(head + _rendered(name, transcript, form), nl=False)


def _rendered(name: str, transcript: Transcript, form: str) -> str:
    if form == "json":
        return json.dumps(_row(name, transcript), ensure_ascii=False, indent=2) + "\n"
    if form == "srt":
        return transcript.to_srt()
    if form == "vtt":
        return transcript.to_vtt()
    return "".join(f"{turn.text}\n" for turn in transcript.turns)


def _row(name: str, transcript: Transcript) -> dict[str, object]:
    return {"file": name, "text": transcript.text, **attrs.asdict(transcript)}
