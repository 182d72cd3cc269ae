"""``inworld-sync emulator``: run the emulator for other programs."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path

import click
from click.core import ParameterSource

from inworld_sync.audio.whole_file import WholeFile
from inworld_sync.cli.common import NewFile, print_json
from inworld_sync.errors import ConfigError, printable

_CA_FILE = Path("inworld-emulator-ca.pem")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command("emulator")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=0, show_default=True, help="Port to listen on; 0 chooses a free port."
)
@click.option("--tls", is_flag=True, help="Serve TLS with a certificate made for this run.")
@click.option(
    "--ca-file",
    type=NewFile(),
    help=f"With --tls: the file for the certificate (default {_CA_FILE}).",
)
@click.option("--api-key", help="Key that clients must send; random by default.")
@click.option("--allow-remote", is_flag=True, help="Allow a --host that other machines can reach.")
@click.option(
    "--chat-url",
    help="OpenAI-compatible endpoint that writes the replies, instead of built-in rules.",
)
@click.option("--chat-model", help="With --chat-url: the model to request.")
@click.option(
    "--chat-api-key",
    envvar="INWORLD_SYNC_CHAT_API_KEY",
    show_envvar=True,
    help="With --chat-url: the key of the endpoint.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    host: str,
    port: int,
    ca_file: Path | None,
    api_key: str | None,
    chat_url: str | None,
    chat_model: str | None,
    chat_api_key: str | None,
    *,
    tls: bool,
    allow_remote: bool,
    as_json: bool,
) -> None:
    """Run the emulator until it is interrupted."""
    if ca_file is not None and not tls:
        raise click.UsageError("--ca-file needs --tls")
    if chat_model is not None and chat_url is None:
        raise click.UsageError("--chat-model needs --chat-url")
    source = click.get_current_context().get_parameter_source("chat_api_key")
    if source is ParameterSource.COMMANDLINE and chat_url is None:
        raise click.UsageError("--chat-api-key needs --chat-url")
    if allow_remote and host in _LOOPBACK:
        raise click.UsageError("--allow-remote needs --host with an address that is not loopback")
    # Imported here, so that --help stays fast.
    from inworld_sync.emulator import ChatReplies, Emulator

    replies = None
    if chat_url is not None:
        try:
            replies = ChatReplies(chat_url, model=chat_model, api_key=chat_api_key)
        except ConfigError as error:
            raise ConfigError(str(error).replace("base_url", "--chat-url")) from error
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    server = Emulator(
        host, port, tls=tls, api_key=api_key, reply_maker=replies, allow_remote=allow_remote
    )
    try:
        server.start()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            f"cannot listen on {host} port {port}: {reason}: choose another --host or --port"
        ) from error
    with contextlib.closing(server):
        facts = {
            "url": server.url,
            "ws_url": server.ws_url,
            "api_key": server.api_key,
            "recognizer": server.recognizer,
        }
        if tls:
            ca_file = ca_file or _CA_FILE
            with WholeFile(ca_file) as file:
                file.write(server.ca_pem)
            facts["ca_file"] = str(ca_file)
        if as_json:
            print_json(facts)
        else:
            for name, value in facts.items():
                click.echo(printable(f"{name:8} {value}"))
            click.echo("Press Ctrl-C to stop")
        sys.stdout.flush()
        # On Windows Ctrl-C does not end a wait without a timeout.
        while not stop.wait(1.0):
            pass
