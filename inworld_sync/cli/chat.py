"""``inworld-sync chat``: ask a language model, and print or speak the answer as it is written."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

import attrs
import click

from inworld_sync.cli.common import client_options, is_given, open_client, print_json
from inworld_sync.client import Inworld
from inworld_sync.devices.default import open_default_speaker
from inworld_sync.errors import printable
from inworld_sync.models.chat import ChatCompletion, ChatMessage
from inworld_sync.models.devices import AudioSink
from inworld_sync.models.tts import AudioConfig
from inworld_sync.rest.llm import ChatStream

_DEFAULT_TIMEOUT_SECONDS = 60.0


@click.command("chat")
@click.argument("prompt", required=False)
@click.option("--system", help="Instructions for the model.")
@click.option(
    "--model",
    default="auto",
    show_default=True,
    help="Model, as provider/model, or inworld/ROUTER; with auto, the service chooses the model.",
)
@click.option("--max-tokens", type=int, help="The largest number of tokens of the answer.")
@click.option("--temperature", type=float, help="Randomness of the answer, 0 to 2.")
@click.option("--speak", "speaks", is_flag=True, help="Speak the answer while it is written.")
@click.option("--voice", default="Ashley", show_default=True, help="With --speak: the voice.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULT_TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds to wait for each part of the answer.",
)
@client_options
def command(
    prompt: str | None,
    system: str | None,
    model: str,
    max_tokens: int | None,
    temperature: float | None,
    voice: str,
    timeout: float,
    *,
    speaks: bool,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Ask a language model one question.

    Without PROMPT, or if PROMPT is -, the command reads standard input.
    """
    if is_given("voice") and not speaks:
        raise click.UsageError("--voice needs --speak")
    messages = [ChatMessage("user", _read(prompt))]
    if system is not None:
        messages.insert(0, ChatMessage("system", system))
    audio = AudioConfig()
    with ExitStack() as stack:
        iw = stack.enter_context(open_client(local=local, base_url=base_url))
        # The speaker is opened first, so that nothing is generated if there is no speaker.
        speaker: AudioSink | None = None
        if speaks:
            speaker = stack.enter_context(closing(open_default_speaker(audio.sample_rate_hz)))
        stream = stack.enter_context(
            iw.llm.stream(
                messages,
                model=model,
                max_tokens=max_tokens,
                temperature=temperature,
                extra={"stream_options": {"include_usage": True}} if as_json else None,
                event_timeout=timeout,
            )
        )
        pieces = stream if as_json else _printed(stream)
        if speaker is None:
            for _ in pieces:
                pass
        else:
            _speak(iw, pieces, speaker, voice)
        answer = stream.result()
    _end(answer, as_json=as_json)


def _read(prompt: str | None) -> str:
    if prompt not in (None, "-"):
        text = prompt or ""
    else:
        try:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise click.UsageError(f"standard input must be UTF-8: {error}") from None
    if not text.strip():
        raise click.UsageError("PROMPT must have a text, got only white space")
    return text


def _printed(stream: ChatStream) -> Iterator[str]:
    """Print each piece when it arrives, then yield the piece."""
    last = ""
    try:
        for piece in stream:
            last = piece
            click.echo(printable(piece), nl=False)
            yield piece
    finally:
        # The next message begins on a new line.
        if last and not last.endswith("\n"):
            click.echo()


def _speak(iw: Inworld, pieces: Iterator[str], speaker: AudioSink, voice: str) -> None:
    """Speak the pieces while they arrive; an answer without text is not spoken."""
    first = next((piece for piece in pieces if piece.strip()), None)
    if first is None:
        return
    playback = iw.tts.speak(itertools.chain([first], pieces), speaker=speaker, voice=voice)
    try:
        playback.wait()
    finally:
        # After Ctrl-C the speaker stops at once.
        if not playback.done:
            playback.interrupt()


def _end(answer: ChatCompletion, *, as_json: bool) -> None:
    if as_json:
        usage = answer.usage
        print_json(
            {
                "text": answer.text,
                "finish_reason": answer.finish_reason,
                "model": answer.model,
                "usage": None if usage is None else attrs.asdict(usage),
                "metadata": answer.metadata,
            }
        )
    elif answer.finish_reason == "length":
        click.echo("the answer was cut: it reached the largest allowed number of tokens", err=True)
