"""``inworld-sync say``: speak text into an audio file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from inworld_sync.cli.common import client_options, open_client, print_json, progress
from inworld_sync.cli.failures import message_of
from inworld_sync.cli.output import STANDARD_OUTPUT, SpeechOutput, encoding_of
from inworld_sync.errors import InworldError
from inworld_sync.models.tts import SAMPLE_RATES_HZ, AudioConfig

_RATES = ", ".join(map(str, SAMPLE_RATES_HZ))

# A text of at least this length takes long enough for a progress bar.
_LONG_CHARACTERS = 500


@click.command("say")
@click.argument("text")
@click.option(
    "-o",
    "--output",
    default="speech.wav",
    show_default=True,
    help="File, or - for standard output.",
)
@click.option("--voice", default="Ashley", show_default=True, help="The voice.")
@click.option("--model", default="inworld-tts-2", show_default=True, help="The model.")
@click.option("--rate", default=24000, show_default=True, help=f"Sample rate in Hz: {_RATES}.")
@click.option("--speed", type=float, help="Speaking rate, 0.5 to 1.5; 1 is the voice's own.")
@client_options
def command(
    text: str,
    output: str,
    voice: str,
    model: str,
    rate: int,
    speed: float | None,
    *,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Speak TEXT into a file: .wav, .pcm, .raw, .mp3, .ogg, .opus or .flac.

    If TEXT is the name of a file, the command speaks the content of the file. With - it reads
    standard input.
    """
    if as_json and output == STANDARD_OUTPUT:
        raise click.UsageError("--json and -o - cannot be combined, both write to standard output")
    audio = AudioConfig(encoding_of(output), rate, speaking_rate=speed)
    spoken = _read(text)
    sink = SpeechOutput(output, audio)
    facts: dict[str, object] = {"output": output, "characters": len(spoken)}
    try:
        with (
            open_client(local=local, base_url=base_url) as iw,
            sink,
            progress("speaking", len(spoken), show=len(spoken) > _LONG_CHARACTERS) as advance,
        ):
            for chunk in iw.tts.stream(spoken, voice=voice, model=model, audio=audio):
                sink.write(chunk)
                advance(chunk.usage.characters if chunk.usage else 0)
    except InworldError as error:
        if as_json and sink.partial_path is not None:
            output = str(sink.partial_path)
            print_json({**facts, "output": output, **sink.facts(), "error": message_of(error)})
        raise
    if as_json:
        print_json({**facts, **sink.facts()})
    elif output != STANDARD_OUTPUT:
        click.echo(f"{sink.length} of speech in {output}", err=True)


def _read(text: str) -> str:
    try:
        # Some editors begin a file with a BOM, which is not part of the text.
        if text == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return Path(text).read_text(encoding="utf-8-sig") if _is_file(text) else text
    except UnicodeDecodeError as error:
        raise click.UsageError(f"TEXT must be UTF-8: {error}") from None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        # Too long for a file name, or with a NUL in it.
        return False
