"""``inworld-sync voices``: list the voices."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inworld_sync.cli.common import client_options, open_client, plain, print_json
from inworld_sync.cli.failures import EMPTY_STATUS
from inworld_sync.models.tts import Voice


@click.command("voices")
@click.option("--language", help="Only the voices of this language, such as EN_US.")
@client_options
def command(language: str | None, *, local: bool, base_url: str | None, as_json: bool) -> None:
    """List the voices of the account."""
    with open_client(local=local, base_url=base_url) as iw:
        voices = iw.voices.list(language=language)
    if as_json:
        print_json([attrs.asdict(voice) for voice in voices])
    else:
        _print_table(voices)
    if not voices:
        message = f"no voices{f' for --language {language}' if language else ''}"
        click.echo(plain(message), err=True)
        sys.exit(EMPTY_STATUS)


def _print_table(voices: Sequence[Voice]) -> None:
    if not voices:
        return
    table = Table("voice", "language", "gender", "description")
    for voice in voices:
        cells = (voice.id, ", ".join(voice.languages), voice.gender, voice.description)
        # As Text, since rich reads markup in a str.
        table.add_row(*(Text(plain(cell)) for cell in cells))
    Console().print(table)
