"""``inworld-sync voices``: list, clone, design, publish, change and delete voices."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inworld_sync.cli.common import client_options, is_given, open_client, print_json, print_message
from inworld_sync.cli.failures import EMPTY_STATUS
from inworld_sync.errors import printable
from inworld_sync.models.voices import Voice

F = TypeVar("F", bound=Callable[..., object])

_Source = Literal["SYSTEM", "IVC", "PVC"]


def _filters(function: F) -> F:
    """Add the options that select voices."""
    for option in (
        click.option("--tag", "tags", multiple=True, help="Only voices with this tag."),
        click.option("--gender", help="Only female, male or neutral voices."),
        click.option(
            "--source",
            type=click.Choice(["SYSTEM", "IVC", "PVC"]),
            help="Only voices of the service (SYSTEM), clones and designs (IVC), or professional "
            "clones (PVC).",
        ),
        click.option("--language", help="Only the voices of this language, such as EN_US."),
    ):
        function = option(function)
    return function


def _facts(function: F) -> F:
    """Add the options that describe a voice."""
    for option in (
        click.option(
            "--tag",
            "tags",
            multiple=True,
            help="Word by which lists can be filtered; may be repeated.",
        ),
        click.option("--description", help="What the voice sounds like."),
    ):
        function = option(function)
    return function


@click.group("voices", invoke_without_command=True)
@_filters
@client_options
@click.pass_context
def command(
    context: click.Context,
    language: str | None,
    source: _Source | None,
    gender: str | None,
    tags: tuple[str, ...],
    *,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    List the voices of the account, or change them.

    Without a command, 'inworld-sync voices' does the same as 'inworld-sync voices list'.
    """
    if context.invoked_subcommand is None:
        _print_list(language, source, gender, tags, local, base_url, as_json)
        return
    given = [name for name in context.params if is_given(name)]
    if given:
        raise click.UsageError(
            f"options must follow the command: inworld-sync voices {context.invoked_subcommand} ..."
        )


@command.command("list")
@_filters
@client_options
def _list(
    language: str | None,
    source: _Source | None,
    gender: str | None,
    tags: tuple[str, ...],
    *,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """List the voices of the account."""
    _print_list(language, source, gender, tags, local, base_url, as_json)


@command.command("get")
@click.argument("voice")
@client_options
def _get(voice: str, *, local: bool, base_url: str | None, as_json: bool) -> None:
    """Show one voice; VOICE is its id."""
    with open_client(local=local, base_url=base_url) as iw:
        _print_voice(iw.voices.get(voice), as_json)


@command.command("clone")
@click.argument("files", nargs=-1, required=True)
@click.option("--name", required=True, help="Name that people see; programs use the id.")
@click.option("--language", default="AUTO", show_default=True,
              help="Language of the recordings, such as EN_US.")  # fmt: skip
@click.option("--transcription", "transcriptions", multiple=True,
              help="Text of a file; once for each file, in their order.")  # fmt: skip
@click.option("--remove-noise", is_flag=True, help="Let the service remove background noise.")
@_facts
@client_options
def _clone(
    files: tuple[str, ...],
    name: str,
    language: str,
    transcriptions: tuple[str, ...],
    description: str | None,
    tags: tuple[str, ...],
    *,
    remove_noise: bool,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Make a voice from FILES, recordings of one speaker.

    Each recording has 3 to 30 s of speech. Clone only the voice of a person who has agreed. With
    --local, the voice exists until the command ends; to keep it, use --base-url with a running
    emulator.
    """
    with open_client(local=local, base_url=base_url) as iw:
        cloned = iw.voices.clone(
            files,
            name=name,
            language=language,
            transcriptions=transcriptions or None,
            description=description,
            tags=tags,
            remove_background_noise=remove_noise,
        )
    for file, report in zip(files, cloned.samples, strict=False):
        for text in (*report.warnings, *report.errors):
            print_message(f"{file}: {text}")
    if as_json:
        print_json(attrs.asdict(cloned))
    else:
        _print_voice(cloned.voice, as_json)


@command.command("design")
@click.argument("prompt")
@click.option("--text", required=True, help="Text that the previews speak.")
@click.option("--language", default="EN_US", show_default=True,
              help="Language of the voices, such as EN_US.")  # fmt: skip
@click.option("--count", default=1, show_default=True, help="How many voices to make, 1 to 3.")
@click.option("-o", "--output", default="preview", show_default=True,
              help="Beginning of the names of the preview files.")  # fmt: skip
@client_options
def _design(
    prompt: str,
    text: str,
    language: str,
    count: int,
    output: str,
    *,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Make voices from a PROMPT, and write a preview of each.

    PROMPT describes the voice in 30 to 250 characters. 'inworld-sync voices publish' adds one of
    the voices to the account.
    """
    with open_client(local=local, base_url=base_url) as iw:
        previews = iw.voices.design(
            prompt, preview_text=text, language=language, preview_count=count
        )
    rows = []
    for number, preview in enumerate(previews, 1):
        path = Path(f"{output}-{number}{preview.suffix}")
        preview.save(path)
        rows.append({"id": preview.id, "file": str(path), "text": preview.text})
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            click.echo(printable(f"{row['id']}  {row['file']}"))


@command.command("publish")
@click.argument("voice")
@click.option("--name", help="Name that people see; programs use the id.")
@_facts
@client_options
def _publish(
    voice: str,
    name: str | None,
    description: str | None,
    tags: tuple[str, ...],
    *,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """Add a designed VOICE to the account."""
    with open_client(local=local, base_url=base_url) as iw:
        found = iw.voices.publish(voice, name=name, description=description, tags=tags)
    _print_voice(found, as_json)


@command.command("update")
@click.argument("voice")
@click.option("--name", help="New name that people see; programs use the id.")
@_facts
@client_options
def _update(
    voice: str,
    name: str | None,
    description: str | None,
    tags: tuple[str, ...],
    *,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """Change the name, description or tags of a VOICE. --tag replaces all its tags."""
    if name is None and description is None and not tags:
        raise click.UsageError("update needs --name, --description or --tag")
    with open_client(local=local, base_url=base_url) as iw:
        found = iw.voices.update(voice, name=name, description=description, tags=tags or None)
    _print_voice(found, as_json)


@command.command("delete")
@click.argument("voice")
@client_options
def _delete(voice: str, *, local: bool, base_url: str | None, as_json: bool) -> None:
    """Delete a cloned or designed VOICE."""
    with open_client(local=local, base_url=base_url) as iw:
        iw.voices.delete(voice)
    if as_json:
        print_json({"deleted": voice})
    else:
        print_message(f"deleted {voice}")


def _print_list(
    language: str | None,
    source: _Source | None,
    gender: str | None,
    tags: tuple[str, ...],
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    with open_client(local=local, base_url=base_url) as iw:
        voices = iw.voices.list(language=language, source=source, gender=gender, tags=tags)
    if as_json:
        print_json([attrs.asdict(voice) for voice in voices])
    else:
        _print_table(voices)
    if not voices:
        message = f"no voices{f' for --language {language}' if language else ''}"
        click.echo(printable(message), err=True)
        sys.exit(EMPTY_STATUS)


def _print_voice(voice: Voice, as_json: bool) -> None:
    if as_json:
        print_json(attrs.asdict(voice))
    else:
        _print_table([voice])


def _print_table(voices: Sequence[Voice]) -> None:
    if not voices:
        return
    table = Table("voice", "language", "gender", "description")
    for voice in voices:
        cells = (voice.id, ", ".join(voice.languages), voice.gender, voice.description)
        # The cells are Text, since rich would read markup in a str.
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)
