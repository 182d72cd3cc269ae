"""``inworld-sync talk``: hold a realtime conversation, spoken or typed."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import click

from inworld_sync.cli.common import NewFile, client_options, open_client, verbose_option
from inworld_sync.cli.talk_screen import Screen
from inworld_sync.cli.talk_sound import (
    RATE_HZ,
    MeteredSink,
    MeteredSource,
    open_file,
    open_microphone,
    open_sink,
)
from inworld_sync.errors import DeviceError
from inworld_sync.models.realtime import PcmFormat, Session
from inworld_sync.sessions.realtime.response import Response
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.tools.function import ToolFunction

# The largest number of seconds to wait for one response, and again for the end of the response's
# audio.
_WAIT_SECONDS = 300.0

_Tool = ToolFunction[..., object]


@click.command("talk")
@click.option("--input", "input_file", metavar="FILE", help="Audio file with the user's speech.")
@click.option(
    "--say",
    "texts",
    multiple=True,
    metavar="TEXT",
    help="Send this text as a turn; may be repeated.",
)
@click.option("--typed", is_flag=True, help="Type instead of speaking.")
@click.option("-o", "--output", type=NewFile(str), metavar="FILE",
              help="WAV file for the assistant's speech, instead of the speaker.")  # fmt: skip
@click.option("--voice", help="Voice of the assistant; by default the service decides.")
@click.option("--instructions", help="Instructions for the assistant.")
@click.option("--model", help="Language model, as provider/model.")
@click.option("--tools", "tools_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE.py", help="Offer the @tool functions of a Python file.")  # fmt: skip
@click.option("--half-duplex", is_flag=True, help="Mute the microphone while the assistant speaks.")
@verbose_option
@client_options
def command(
    input_file: str | None,
    texts: tuple[str, ...],
    output: str | None,
    voice: str | None,
    instructions: str | None,
    model: str | None,
    tools_file: Path | None,
    *,
    typed: bool,
    half_duplex: bool,
    verbose: bool,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Talk with an assistant, by microphone and speaker.

    With --typed, without a microphone, or if standard input is not a terminal, each line of
    standard input is a turn. Speaking or typing interrupts the assistant. Ctrl-C or the end of the
    input ends the conversation.
    """
    if sum((bool(input_file), bool(texts), typed)) > 1:
        raise click.UsageError("--input, --say and --typed cannot be combined")
    if output is not None and not output.lower().endswith(".wav"):
        raise click.UsageError(f"--output must end in .wav, got {output!r}")
    if half_duplex and (input_file or texts or typed or output):
        raise click.UsageError("--half-duplex needs the microphone and the speaker")
    screen = Screen(voice or "assistant", as_json=as_json)
    session = Session(
        voice=voice,
        instructions=instructions,
        model=model,
        tools=None if tools_file is None else _tools_of(tools_file),
        output_format=PcmFormat(RATE_HZ),
    )
    is_written = bool(texts) or typed or (input_file is None and not sys.stdin.isatty())
    with ExitStack() as stack:
        file = None if input_file is None else stack.enter_context(closing(open_file(input_file)))
        iw = stack.enter_context(open_client(local=local, base_url=base_url, verbose=verbose))
        rt = stack.enter_context(iw.realtime.connect(session))
        sink = open_sink(output, is_spoken=not is_written, warn=screen.warn)
        speaker = None if sink is None else stack.enter_context(closing(MeteredSink(sink)))
        microphone = file
        if not is_written and microphone is None:
            try:
                found = open_microphone(sink, half_duplex=half_duplex, warn=screen.warn)
                microphone = stack.enter_context(closing(found))
            except DeviceError as error:
                screen.warn(f"no microphone ({error}): type your turns")
        # This callback closes the session before the sink and the microphone, even after an error.
        stack.callback(rt.close)
        waits = bool(texts) or not sys.stdin.isatty()
        screen.follow(rt, waits=waits and is_written)
        if microphone is not None and speaker is not None:
            source = MeteredSource(microphone)
            with screen.live(source, speaker):
                rt.converse(source, speaker)
        else:
            rt.play(speaker)
            _write(rt, texts or _lines(), is_heard=speaker is not None, waits=waits)
        # close() waits for the handlers, which print the last lines.
        rt.close()
        screen.end(output, 0.0 if speaker is None else speaker.heard_ms)


def _write(rt: RealtimeSession, texts: Iterable[str], *, is_heard: bool, waits: bool) -> None:
    """
    Send each text as a turn.

    If *waits* is true, wait for each reply before the next text. Otherwise, each text interrupts
    the reply to the text before it, and the command waits only for the last reply. If *is_heard* is
    true, each wait also lasts until the audio of the reply was played.
    """
    reply = None
    for text in filter(None, map(str.strip, texts)):
        if reply is not None and not waits:
            rt.interrupt()
        reply = rt.send_message(text)
        if waits:
            _hear_out(rt, reply, is_heard=is_heard)
    if reply is not None and not waits:
        _hear_out(rt, reply, is_heard=is_heard)


def _hear_out(rt: RealtimeSession, reply: Response, *, is_heard: bool) -> None:
    reply.wait(_WAIT_SECONDS)
    if is_heard:
        rt.drain(_WAIT_SECONDS)


def _lines() -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    with contextlib.suppress(EOFError):
        while True:
            yield input()


def _tools_of(path: Path) -> list[_Tool]:
    """
    Run a Python file and return its ``@tool`` functions.

    Raises:
        click.UsageError: The file has no ``@tool`` function, or raises an exception.
    """
    spec = importlib.util.spec_from_file_location("inworld_sync_tools", path)
    if spec is None or spec.loader is None:
        raise click.UsageError(f"--tools needs a Python file that ends in .py, got {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise click.UsageError(f"--tools {path}: {type(error).__name__}: {error}") from error
    found: list[_Tool] = [each for each in vars(module).values() if isinstance(each, ToolFunction)]
    if not found:
        raise click.UsageError(f"--tools {path}: the file has no @tool function")
    return found
