"""``inworld-sync batch``: speak many texts to files, or transcribe many recordings."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import click
from rich.progress import BarColumn, Progress, TextColumn

from inworld_sync.cli.common import (
    ERRORS,
    client_options,
    open_client,
    print_json,
    print_message,
)
from inworld_sync.errors import ConfigError, printable
from inworld_sync.models.batch import BatchProgress, BatchSummary
from inworld_sync.models.stt import TranscribeConfig
from inworld_sync.models.tts import DEFAULT_TTS_MODEL

# At most this many failures are printed. The journal has all failures.
_PRINTED_FAILURES = 20


@click.command("batch")
@click.argument("jobs", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the outputs and of the journal.")  # fmt: skip
@click.option("--template", metavar="NAME",
              help="Names of the outputs, such as {voice}/{id}.mp3; the ending chooses the format. "
              "Default: {id}.wav for a text, {id}.txt for a recording.")  # fmt: skip
@click.option(
    "--voice", default="Ashley", show_default=True, help="Voice of texts, if the item has none."
)
@click.option(
    "--model",
    default=DEFAULT_TTS_MODEL,
    show_default=True,
    help="Model of texts, if the item has none.",
)
@click.option("--language", help="Language of texts and recordings, such as en-US.")
@click.option("--jobs-at-once", default=20, show_default=True, type=click.IntRange(1, 1000),
              help="How many items are done at the same time.")  # fmt: skip
@click.option("--retries", default=3, show_default=True, type=click.IntRange(0, 100),
              help="How often an item is retried if another attempt may help.")  # fmt: skip
@click.option("--timeout", default=60.0, show_default=True,
              type=click.FloatRange(min=0, min_open=True),
              help="Seconds to wait for a connection, and for each message of the "
              "service.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace files that are not from this batch.")
@click.option("--redis", metavar="URL",
              help="Redis server with which processes share the limit of connections.")  # fmt: skip
@client_options
def command(
    jobs: Path,
    output: Path,
    template: str | None,
    voice: str,
    model: str,
    language: str | None,
    jobs_at_once: int,
    retries: int,
    timeout: float,
    redis: str | None,
    *,
    overwrite: bool,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Speak or transcribe all items of the file JOBS.

    JOBS is a .csv file with a header, or a .jsonl file. An item has the field text, which is
    spoken, or the field audio, the path of a recording, which is transcribed. It may also have the
    fields id, voice, model and language. After an interruption, the same command does only the
    items that are not done yet.
    """
    with contextlib.ExitStack() as stack:
        limiter = None
        if redis is not None:
            from inworld_sync.limits.redis_limiter import RedisLimiter

            try:
                limiter = stack.enter_context(RedisLimiter(redis))
            except ModuleNotFoundError as error:
                raise ConfigError(str(error)) from error
        iw = stack.enter_context(open_client(local=local, base_url=base_url, limiter=limiter))
        show = stack.enter_context(_shown(is_on=not as_json))
        summary = iw.batch(
            jobs,
            output,
            template=template,
            voice=voice,
            model=model,
            language=language,
            transcribe_config=TranscribeConfig(language=language),
            concurrency=jobs_at_once,
            retries=retries,
            timeout=timeout,
            overwrite=overwrite,
            on_progress=show,
        )
    if as_json:
        print_json({**attrs.asdict(summary), "items_per_second": summary.items_per_second})
    else:
        _report(summary, output)
    if summary.failures:
        sys.exit(1)


def _report(summary: BatchSummary, output: Path) -> None:
    for failure in summary.failures[:_PRINTED_FAILURES]:
        print_message(f"{failure.id}: {failure.kind}: {failure.message}")
    if len(summary.failures) > _PRINTED_FAILURES:
        print_message(
            f"{len(summary.failures) - _PRINTED_FAILURES} further failures: see the journal"
        )
    skipped = f", {summary.skipped} were done before" if summary.skipped else ""
    failed = f", {len(summary.failures)} failed" if summary.failures else ""
    rate = f"{summary.seconds:.1f} s, {summary.items_per_second:.1f} per second"
    click.echo(
        printable(f"{summary.done} items done in {rate}{skipped}{failed}: {output}"), err=True
    )


@contextlib.contextmanager
def _shown(*, is_on: bool) -> Iterator[Callable[[BatchProgress], None] | None]:
    """Show a bar with the rate and the remaining time if standard error is a terminal."""
    if not (is_on and ERRORS.is_terminal):
        yield None
        return
    columns = (
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[facts]}"),
    )
    with Progress(*columns, console=ERRORS, transient=True) as bar:
        task = bar.add_task("", total=None, facts="")

        def show(progress: BatchProgress) -> None:
            completed = progress.skipped + progress.done + progress.failed
            bar.update(task, total=progress.total, completed=completed, facts=_facts(progress))

        yield show


def _facts(progress: BatchProgress) -> str:
    facts = [f"{progress.items_per_second:.1f}/s"]
    if progress.remaining_seconds is not None:
        minutes, seconds = divmod(round(progress.remaining_seconds), 60)
        hours, minutes = divmod(minutes, 60)
        facts.append(f"{hours}:{minutes:02}:{seconds:02} left")
    if progress.failed:
        facts.append(f"{progress.failed} failed")
    return "  ".join(facts)
