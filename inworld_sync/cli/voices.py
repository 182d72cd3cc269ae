"""``inworld-sync voices``: who can speak."""

from __future__ import annotations

import attrs
import click
from rich.console import Console
from rich.table import Table

from inworld_sync.cli.common import client_options, open_client, print_json


@click.command("voices")
@click.option("--language", help="Only voices of a language, such as EN_US.")
@client_options
def command(language: str | None, *, local: bool, base_url: str | None, as_json: bool) -> None:
    """List the voices that can be named."""
    with open_client(local=local, base_url=base_url) as iw:
        voices = iw.voices.list(language=language)
    if as_json:
        print_json([attrs.asdict(voice) for voice in voices])
        return
    table = Table("voice", "language", "gender", "description")
    for voice in voices:
        table.add_row(voice.id, ", ".join(voice.languages), voice.gender, voice.description)
    Console().print(table)
