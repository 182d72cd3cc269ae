"""``inworld-sync models``: list the models."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inworld_sync.cli.common import client_options, open_client, print_json
from inworld_sync.errors import printable
from inworld_sync.models.catalog import STT_MODELS, TTS_MODELS, ModelInfo


@click.command("models")
@client_options
def command(*, local: bool, base_url: str | None, as_json: bool) -> None:
    """
    List the language models, the TTS models and the STT models.

    The service lists its language models only. The TTS and STT models are those of its
    documentation.
    """
    with open_client(local=local, base_url=base_url) as iw:
        models = iw.models.list()
    if as_json:
        llm = [
            {**attrs.asdict(model), "capabilities": sorted(model.capabilities)} for model in models
        ]
        print_json({"llm": llm, "tts": TTS_MODELS, "stt": STT_MODELS})
        return
    _print_table(models)
    click.echo(f"TTS (documented): {', '.join(TTS_MODELS)}")
    click.echo(f"STT (documented): {', '.join(STT_MODELS)}")


def _print_table(models: Sequence[ModelInfo]) -> None:
    table = Table("language model", "context", "reads", "capabilities")
    for model in models:
        cells = (
            model.id if model.is_supported else f"{model.id} (not served)",
            "" if model.context_length is None else str(model.context_length),
            ", ".join(model.input_modalities),
            ", ".join(sorted(model.capabilities)),
        )
        # The cells are Text, since rich would read markup in a str.
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)
