"""``inworld-sync serve-game``: serve speech and conversations to game engines."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

import click

from inworld_sync.cli.common import client_options, open_client, print_json, verbose_option
from inworld_sync.errors import ConfigError
from inworld_sync.models.realtime import Session


@click.command("serve-game")
@click.option(
    "--port", default=8970, show_default=True, help="Port to listen on; 0 chooses a free port."
)
@click.option(
    "--token",
    envvar="INWORLD_SYNC_GAME_TOKEN",
    show_envvar=True,
    help="Secret text that an engine must send to connect.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin of a web page that may connect, such as http://localhost:8060; may be repeated.",
)
@click.option(
    "--max-engines",
    default=4,
    show_default=True,
    help="How many engines may be connected at the same time.",
)
@click.option("--voice", help="Voice of conversations.")
@click.option("--instructions", help="Instructions of conversations.")
@click.option("--model", help="Language model of conversations, as provider/model.")
@verbose_option
@client_options
def command(
    port: int,
    token: str | None,
    origins: tuple[str, ...],
    max_engines: int,
    voice: str | None,
    instructions: str | None,
    model: str | None,
    *,
    verbose: bool,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Serve game engines on this machine until the command is interrupted.

    Engines such as Godot, Unity, Unreal and Ren'Py connect over a WebSocket.
    """
    # This import is slow. It is here so that --help stays fast.
    from inworld_sync.games import serve

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    session = Session(voice=voice, instructions=instructions, model=model)
    with contextlib.ExitStack() as stack:
        iw = stack.enter_context(open_client(local=local, base_url=base_url, verbose=verbose))
        try:
            server = stack.enter_context(
                serve(
                    port,
                    client=iw,
                    session=session,
                    token=token or None,
                    allowed_origins=origins,
                    max_engines=max_engines,
                )
            )
        except ModuleNotFoundError as error:
            raise ConfigError(str(error)) from error
        except ConfigError as error:
            raise ConfigError(_with_options(str(error))) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise OSError(
                f"cannot listen on port {port}: {reason}: choose another --port"
            ) from error
        if as_json:
            print_json({"url": server.url})
        else:
            click.echo(f"url {server.url}")
            click.echo("Press Ctrl-C to stop")
        sys.stdout.flush()
        # On Windows, Ctrl-C does not end a wait without a timeout.
        while not stop.wait(1.0):
            pass


def _with_options(message: str) -> str:
    """Replace the parameter at the start of a message with the name of its option."""
    for name, option in {
        "allowed_origins": "--allow-origin",
        "max_engines": "--max-engines",
        "port": "--port",
    }.items():
        if message.startswith(name):
            return option + message.removeprefix(name)
    return message
