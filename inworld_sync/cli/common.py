"""What several commands share: options, the client, progress and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from inworld_sync.client import Inworld

__all__ = ["ERRORS", "client_options", "open_client", "print_json", "progress"]

F = TypeVar("F", bound=Callable[..., object])

# Beside what a command gives, which goes to standard output and may be piped.
ERRORS = Console(stderr=True)


def client_options(function: F) -> F:
    """Add the options that choose whom to talk to."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--base-url", help="Another address than Inworld's."),
        click.option("--local", is_flag=True, help="Use the emulator; needs no account."),
    ):
        function = option(function)
    return function


def open_client(*, local: bool, base_url: str | None) -> Inworld:
    """Make the client that the options ask for; the key comes from INWORLD_API_KEY."""
    if local and base_url:
        raise click.UsageError("--local has its own address, leave --base-url out")
    if base_url:
        return Inworld(base_url=base_url, local=False)
    return Inworld(local=local or None)


def print_json(value: object) -> None:
    """Print one JSON value to standard output."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


@contextmanager
def progress(what: str, total: int, *, show: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, if that is a terminal; gives a function that moves it on."""
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
