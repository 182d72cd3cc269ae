"""``inworld-sync demo``: speak one sentence and show when each word is spoken."""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from inworld_sync.auth import API_KEY_VARIABLE
from inworld_sync.cli.common import ERRORS, NewFile, print_json
from inworld_sync.cli.output import SpeechOutput
from inworld_sync.client import Inworld
from inworld_sync.errors import ConfigError, printable
from inworld_sync.models.tts import AudioConfig

SENTENCE = "Hello! I am a voice from this machine, and you need no account to hear me."


@click.command("demo")
@click.option("--text", default=SENTENCE, show_default=True, help="The text to speak.")
@click.option("--voice", default="Ashley", show_default=True, help="The voice.")
@click.option(
    "-o",
    "--output",
    type=NewFile(),
    default=Path("inworld-demo.wav"),
    show_default=True,
    help="The WAV file to write.",
)
@click.option("--cloud", is_flag=True, help=f"Use Inworld's service; needs {API_KEY_VARIABLE}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(text: str, voice: str, output: Path, *, cloud: bool, as_json: bool) -> None:
    """
    Speak a sentence, and write it to a WAV file.

    The emulator speaks the sentence; with --cloud, Inworld's service does.
    """
    if cloud and not os.environ.get(API_KEY_VARIABLE):
        raise ConfigError(f"--cloud needs the environment variable {API_KEY_VARIABLE}")
    audio = AudioConfig("PCM", 24000)
    with Inworld(local=not cloud) as iw:
        if not cloud:
            # This call loads the engine, so that the measured times do not include the loading.
            iw.tts.synthesize("Ready.", voice=voice)
        with SpeechOutput(str(output), audio) as file:
            for chunk in iw.tts.stream(text, voice=voice, audio=audio):
                file.write(chunk)
            total_ms = file.elapsed_ms
        where = iw.options.base_url
    if as_json:
        about = {"server": where, "voice": voice, "output": str(output), "total_ms": total_ms}
        print_json({**about, **file.facts()})
        return
    # This line is not the title of the table, because rich would wrap a title to the table's width.
    ERRORS.print(f"{voice} at {where}", soft_wrap=True, markup=False, highlight=False)
    table = Table("word", "from ms", "to ms")
    for word in file.words:
        table.add_row(Text(printable(word.text)), f"{word.start_ms:.0f}", f"{word.end_ms:.0f}")
    ERRORS.print(table)
    click.echo(f"first audio after {file.first_audio_ms:.0f} ms, all audio after {total_ms:.0f} ms")
    click.echo(printable(f"{(file.duration_ms or 0.0) / 1000.0:.2f} s of speech in {output}"))
