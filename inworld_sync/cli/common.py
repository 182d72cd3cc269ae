"""Defines the code that several commands share: options, the client, progress and JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from inworld_sync.auth import API_KEY_VARIABLE
from inworld_sync.client import LOCAL_VARIABLE, Inworld
from inworld_sync.errors import CONTROLS, ConfigError, printable
from inworld_sync.models.options import Limiter

__all__ = [
    "ERRORS",
    "NewFile",
    "client_options",
    "is_given",
    "json_text",
    "open_client",
    "print_json",
    "print_message",
    "progress",
    "verbose_option",
]

F = TypeVar("F", bound=Callable[..., object])

_DIGITS = 3
_DIGITS_OF_MS = 1

# The -v option does not show audio. A field of any name may have audio, so any text that is long
# base64 counts as audio.
_AUDIO = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_AUDIO_NAMES = {"audio", "audioContent"}
_SECRET = re.compile(r"api_?key|authorization|headers|secret|token$", re.IGNORECASE)

# Messages and progress go to standard error, since standard output is for the result and may be
# piped.
ERRORS = Console(stderr=True)


def client_options(function: F) -> F:
    """Add the options that choose the service and the form of the output."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--base-url", help="Address of the service, instead of Inworld's."),
        click.option("--local", is_flag=True, help="Use the emulator, which needs no account."),
    ):
        function = option(function)
    return function


def verbose_option(function: F) -> F:
    """Add the option ``-v``."""
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Show the messages of the connection on standard error, without audio and keys.",
    )(function)


class NewFile(click.Path):
    """The path of a file that a command writes. The folder of the file must exist."""

    def __init__(self, path_type: type[str | Path] = Path) -> None:
        super().__init__(
            dir_okay=False, readable=False, allow_dash=path_type is str, path_type=path_type
        )

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Return the path, or raise a usage error before the command does anything."""
        path = super().convert(value, param, ctx)
        folder = Path(os.fsdecode(path)).parent
        try:
            is_folder, is_file = folder.is_dir(), folder.exists()
        except OSError as error:
            self.fail(f"the folder {str(folder)!r} cannot be used: {error.strerror}", param, ctx)
        if not is_folder:
            problem = "is not a folder" if is_file else "does not exist"
            self.fail(f"the folder {str(folder)!r} {problem}", param, ctx)
        return path


def is_given(name: str) -> bool:
    """Return whether the user gave a value for this parameter. A default value does not count."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not ParameterSource.DEFAULT


def print_message(text: str) -> None:
    """Print a message on standard error, in one line."""
    click.echo(f"inworld-sync: {printable(text)}", err=True)


class _Messages:
    """Prints the messages of the connections on standard error."""

    def message(self, direction: Literal["in", "out"], connection: str, data: bytes) -> None:
        try:
            text = json_text(_without_audio(json.loads(data)))
        except ValueError:
            text = f"{len(data)} bytes"
        click.echo(printable(f"{'<' if direction == 'in' else '>'} {connection} {text}"), err=True)


def _without_audio(value: object, name: str = "") -> object:
    if _SECRET.search(name):
        return "..."
    if isinstance(value, dict):
        return {key: _without_audio(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_audio(each) for each in value]
    if isinstance(value, str) and (name in _AUDIO_NAMES or _AUDIO.fullmatch(value)):
        return f"<{len(value)} characters>"
    return value


def open_client(
    *,
    local: bool,
    base_url: str | None,
    verbose: bool = False,
    limiter: Limiter | None = None,
) -> Inworld:
    """Create the client for the options. The client reads the key from INWORLD_API_KEY."""
    if local and base_url:
        raise click.UsageError("--local and --base-url cannot be combined")
    is_local = local or (not base_url and os.environ.get(LOCAL_VARIABLE) == "1")
    if not is_local and not os.environ.get(API_KEY_VARIABLE):
        raise ConfigError(
            f"no API key: set the environment variable {API_KEY_VARIABLE}, or use --local for the "
            "emulator, which needs no account"
        )
    observer = _Messages() if verbose else None
    if base_url:
        return Inworld(base_url=base_url, local=False, observer=observer, limiter=limiter)
    return Inworld(local=is_local, observer=observer, limiter=limiter)


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON. Times in ms have one decimal, other numbers have three decimals."""
    text = json.dumps(_rounded(value, _DIGITS), ensure_ascii=False, indent=indent)
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def print_json(value: object) -> None:
    """Print one JSON value to standard output."""
    click.echo(json_text(value, indent=2))


def _rounded(value: object, digits: int) -> object:
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {
            key: _rounded(each, _DIGITS_OF_MS if str(key).endswith("_ms") else digits)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_rounded(each, digits) for each in value]
    return value


@contextmanager
def progress(what: str, total: int, unit: str, *, show: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar if standard error is a terminal. Yield a function that advances the bar."""
    if not (show and ERRORS.is_terminal):
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} " + unit),
    )
    with Progress(*columns, TimeElapsedColumn(), console=ERRORS, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
