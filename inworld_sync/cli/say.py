"""``inworld-sync say``: speak a text with the speaker, or write its speech to a file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from inworld_sync.cli.common import (
    NewFile,
    client_options,
    open_client,
    print_json,
    progress,
    verbose_option,
)
from inworld_sync.cli.failures import message_of
from inworld_sync.cli.output import STANDARD_OUTPUT, SpeechOutput, encoding_of
from inworld_sync.errors import InworldError, printable
from inworld_sync.models.tts import FILE_ENCODINGS, SAMPLE_RATES_HZ, AudioConfig, VisemeSet
from inworld_sync.sessions.tts.connection import MESSAGE_TIMEOUT_SECONDS
from inworld_sync.sessions.tts.speech import AudioChunk, Speech

_VISEME_SUFFIXES = (".json", ".tsv", ".xml", ".dat")

_RATES = ", ".join(map(str, SAMPLE_RATES_HZ))

# Speaking a longer text takes so long that a progress bar is shown.
_LONG_CHARACTERS = 500


@click.command("say")
@click.argument("text", required=False)
@click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Speak the content of this text file.",
)
@click.option(
    "-o",
    "--output",
    type=NewFile(str),
    help="Audio file, or - for standard output; by default the speaker plays the speech.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(list(FILE_ENCODINGS)),
    help="Format of the output. By default, the ending of the file name decides; standard output "
    "(-) gets pcm.",
)
@click.option("--voice", default="Ashley", show_default=True, help="The voice.")
@click.option("--model", default="inworld-tts-2", show_default=True, help="The model.")
@click.option("--language", help="Language of the text, such as en-US, or AUTO.")
@click.option("--rate", default=24000, show_default=True, help=f"Sample rate in Hz: {_RATES}.")
@click.option("--speed", type=float, help="Speaking rate, 0.5 to 1.5; 1 is the normal rate.")
@click.option(
    "--visemes",
    type=NewFile(),
    help="Write the mouth shapes to this file. The ending chooses the format: .json, .tsv or .xml "
    "(Rhubarb), or .dat (Moho).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=MESSAGE_TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds to wait for a connection, and for each message of the service.",
)
@verbose_option
@client_options
def command(
    text: str | None,
    file: Path | None,
    output: str | None,
    file_format: str | None,
    voice: str,
    model: str,
    language: str | None,
    rate: int,
    speed: float | None,
    visemes: Path | None,
    timeout: float,
    *,
    verbose: bool,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Speak TEXT with the speaker, or write it to an audio file.

    The file is a .wav, .pcm, .raw, .mp3, .ogg, .opus or .flac file. If TEXT is -, the command reads
    standard input. With --file, it reads a file.
    """
    if as_json and output == STANDARD_OUTPUT:
        raise click.UsageError(
            "--json and -o - cannot be combined, since both write to standard output"
        )
    if visemes is not None and visemes.suffix.lower() not in _VISEME_SUFFIXES:
        raise click.UsageError(
            f"--visemes must end in {', '.join(_VISEME_SUFFIXES)}, got {str(visemes)!r}"
        )
    audio = AudioConfig(encoding_of(output, file_format), rate, speaking_rate=speed)
    spoken = _read(text, file)
    sink = SpeechOutput(output, audio, file_format)
    chunks: list[AudioChunk] = []
    is_long = len(spoken) > _LONG_CHARACTERS
    facts: dict[str, object] = {"output": output, "characters": len(spoken)}
    try:
        with (
            open_client(local=local, base_url=base_url, verbose=verbose) as iw,
            sink,
            progress("speaking", len(spoken), "characters", show=is_long) as advance,
        ):
            for chunk in iw.tts.stream(
                spoken,
                voice=voice,
                model=model,
                language=language,
                audio=audio,
                viseme_set=None if visemes is None else VisemeSet.OPENXR,
                timeout=timeout,
            ):
                sink.write(chunk)
                if visemes is not None:
                    chunks.append(chunk)
                advance(chunk.usage.characters if chunk.usage else 0)
    except InworldError as error:
        if as_json and sink.partial_path is not None:
            output = str(sink.partial_path)
            print_json({**facts, "output": output, **sink.facts(), "error": message_of(error)})
        raise
    if visemes is not None:
        # This module is imported here, because most calls of the command do not need the module.
        from inworld_sync.games.timeline import mouth_timeline

        sound_file = "" if output in (None, STANDARD_OUTPUT) else Path(str(output)).name
        mouth_timeline(Speech.join(chunks, audio)).save(visemes, sound_file=sound_file)
        facts["visemes"] = str(visemes)
    if as_json:
        print_json({**facts, **sink.facts()})
    elif output not in (None, STANDARD_OUTPUT):
        click.echo(printable(f"{sink.length} of speech in {output}"), err=True)


def _read(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise click.UsageError(
            "Missing argument 'TEXT'" if text is None else "TEXT and --file cannot be combined"
        )
    try:
        # Some editors begin a file with a byte order mark, which is not a part of the text.
        if file is not None:
            return file.read_text(encoding="utf-8-sig")
        assert text is not None
        return sys.stdin.buffer.read().decode("utf-8-sig") if text == "-" else text
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file or 'standard input'} must be UTF-8: {error}") from None
