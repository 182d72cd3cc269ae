"""``inworld-sync emulator``: the emulator for other programs."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click

from inworld_sync.cli.common import print_json


@click.command("emulator")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=0, show_default=True, help="0 takes a free one.")
@click.option("--tls", is_flag=True, help="Serve TLS with a certificate made for this run.")
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("inworld-emulator-ca.pem"),
    show_default=True,
    help="With --tls: where clients find the certificate to trust.",
)
@click.option("--api-key", help="The key that clients must show; without it a random one.")
@click.option("--allow-remote", is_flag=True, help="Allow a host that other machines can reach.")
@click.option("--chat-url", help="Realtime replies come from this OpenAI-compatible endpoint.")
@click.option("--chat-model", help="With --chat-url: ask for this model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    host: str,
    port: int,
    ca_file: Path,
    api_key: str | None,
    chat_url: str | None,
    chat_model: str | None,
    *,
    tls: bool,
    allow_remote: bool,
    as_json: bool,
) -> None:
    """Run the emulator until it is interrupted."""
    # Loaded here, so that --help stays quick.
    from inworld_sync.emulator import ChatReplies, Emulator

    replies = ChatReplies(chat_url, model=chat_model) if chat_url else None
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Emulator(
        host, port, tls=tls, api_key=api_key, reply_maker=replies, allow_remote=allow_remote
    ) as server:
        facts = {
            "url": server.url,
            "ws_url": server.ws_url,
            "api_key": server.api_key,
            "recognizer": server.recognizer,
        }
        if tls:
            ca_file.write_bytes(server.ca_pem)
            facts["ca_file"] = str(ca_file)
        if as_json:
            print_json(facts)
        else:
            for name, value in facts.items():
                click.echo(f"{name:8} {value}")
            click.echo("Ctrl-C ends it")
        sys.stdout.flush()
        # In pieces, so that Ctrl-C is heeded on Windows too.
        while not stop.wait(1.0):
            pass
