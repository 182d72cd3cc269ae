"""
Implements the command line: parses options, calls the client and prints the result.

``failures.py`` has the exit statuses.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from importlib import import_module

import click

from inworld_sync._version import __version__
from inworld_sync.cli.common import print_message
from inworld_sync.cli.failures import HELP, message_of, status_of
from inworld_sync.errors import InworldError, printable

__all__ = ["run"]

# A command prints its own messages. Without this handler, warnings in the log of the client would
# be printed too.
logging.getLogger("inworld_sync").addHandler(logging.NullHandler())

# The file of a command is imported when the command is called, so that --help is fast.
_COMMANDS = (
    *("batch", "chat", "demo", "emulator", "models", "say", "serve-game", "talk", "token"),
    *("transcribe", "voices"),
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"{__name__}.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=HELP)
@click.version_option(__version__, prog_name="inworld-sync")
def _cli() -> None:
    """Speak, transcribe and talk with Inworld, or with the emulator, which needs no account."""


def run(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its status."""
    try:
        _cli.main(arguments, prog_name="inworld-sync", standalone_mode=False)
        # The output is flushed here, since an error of a closed pipe could not be handled when the
        # interpreter ends.
        sys.stdout.flush()
    except click.ClickException as error:
        # The message may contain the name of a file or the output of a program.
        message = io.StringIO()
        error.show(message)
        click.echo(printable(message.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The program that reads the output has ended, as with `| head`. The rest of the output is
        # discarded. Otherwise Python would report the same error again at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (InworldError, OSError) as error:
        print_message(message_of(error))
        sys.exit(status_of(error))
