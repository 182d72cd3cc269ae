"""
The command line: thin; it parses, calls the client and prints.

Exit status: 0 done, 1 the service or something else failed, 2 wrong usage or setting, 3 the
credential was refused, 4 the network failed, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module

import click

from inworld_sync._version import __version__
from inworld_sync.errors import AuthError, ConfigError, InworldError, TransportError

__all__ = ["run"]

# Each command's file is imported when it is called, so that --help stays quick.
_COMMANDS = ("demo", "emulator", "say", "talk", "transcribe", "voices")

_STATUSES = {ConfigError: 2, AuthError: 3, TransportError: 4}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="inworld-sync")
def _cli() -> None:
    """Speak and listen with Inworld, or with the emulator that needs no account."""


def run(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its status."""
    try:
        _cli.main(arguments, prog_name="inworld-sync", standalone_mode=False)
        # Here, where a reader that has gone is no surprise, and not at the end of the interpreter.
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except InworldError as error:
        click.echo(f"inworld-sync: {error}", err=True)
        sys.exit(next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 1))
    except BrokenPipeError:
        # The reader of our output has gone, as with `| head`. What is left to be written must go
        # nowhere, or Python would complain about it once more at the end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        click.echo(f"inworld-sync: {error}", err=True)
        sys.exit(1)
