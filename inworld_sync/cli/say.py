"""``inworld-sync say``: speak text into an audio file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from inworld_sync.cli.common import client_options, open_client, print_json, progress
from inworld_sync.cli.failures import message_of, status_of
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
    failure: InworldError | None = None
    with (
        open_client(local=local, base_url=base_url) as iw,
        SpeechOutput(output, audio) as sink,
        progress("speaking", len(spoken), show=len(spoken) > _LONG_CHARACTERS) as advance,
    ):
        try:
            for chunk in iw.tts.stream(spoken, voice=voice, model=model, audio=audio):
                sink.write(chunk)
                advance(chunk.usage.characters if chunk.usage else 0)
        except InworldError as error:
            if not sink.size_bytes:
                raise
            failure = error
    if as_json:
        reason = {} if failure is None else {"error": message_of(failure)}
        print_json({"output": output, "characters": len(spoken), **sink.facts(), **reason})
    duration_ms = sink.duration_ms
    length = f"{duration_ms / 1000.0:.2f} s" if duration_ms else f"{sink.size_bytes} bytes"
    if failure is not None:
        message = f"{message_of(failure)} (the first {length} of speech are in {output})"
        click.echo(f"inworld-sync: {message}", err=True)
        sys.exit(status_of(failure))
    if not as_json and output != STANDARD_OUTPUT:
        click.echo(f"{length} of speech in {output}", err=True)


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
