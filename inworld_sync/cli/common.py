"""Code that several commands share: options, the client, progress and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from inworld_sync.auth import API_KEY_VARIABLE
from inworld_sync.client import LOCAL_VARIABLE, Inworld
from inworld_sync.errors import ConfigError

__all__ = ["ERRORS", "client_options", "json_text", "open_client", "print_json", "progress"]

F = TypeVar("F", bound=Callable[..., object])

_DIGITS = 3
_DIGITS_OF_MS = 1

# For messages and progress; standard output is for the result, which may be piped.
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


def open_client(*, local: bool, base_url: str | None) -> Inworld:
    """Create the client for the options; it reads the key from INWORLD_API_KEY."""
    if local and base_url:
        raise click.UsageError("--local and --base-url cannot be combined")
    is_local = local or (not base_url and os.environ.get(LOCAL_VARIABLE) == "1")
    if not is_local and not os.environ.get(API_KEY_VARIABLE):
        raise ConfigError(
            f"no API key: set the environment variable {API_KEY_VARIABLE}, or use --local for the "
            "emulator, which needs no account"
        )
    if base_url:
        return Inworld(base_url=base_url, local=False)
    return Inworld(local=is_local)


def json_text(value: object, *, indent: int | None = None) -> str:
    """Write a JSON value: times in ms with one decimal, other numbers with three."""
    return json.dumps(_rounded(value, _DIGITS), ensure_ascii=False, indent=indent)


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
def progress(what: str, total: int, *, show: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, if that is a terminal; yield a function that advances it."""
    if not (show and ERRORS.is_terminal):
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=ERRORS, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
