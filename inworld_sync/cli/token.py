"""``inworld-sync token``: make a token."""

from __future__ import annotations

from typing import get_args

import click

from inworld_sync.cli.common import client_options, open_client, print_json
from inworld_sync.models.tokens import TokenKind


@click.command("token")
@click.option(
    "--kind",
    type=click.Choice(get_args(TokenKind)),
    default="jwt",
    show_default=True,
    help="jwt for all services, session for realtime in browsers, single_use for one TTS or STT "
    "connection.",
)
@click.option("--workspace", metavar="NAME", help="Restrict a jwt to this workspace.")
@click.option(
    "--lifetime", type=float, metavar="SECONDS", help="Lifetime of a single_use token, 1 to 3600."
)
@click.option(
    "--reference-id", metavar="TEXT", help="A text that the service keeps with a single_use token."
)
@client_options
def command(
    kind: TokenKind,
    workspace: str | None,
    lifetime: float | None,
    reference_id: str | None,
    *,
    local: bool,
    base_url: str | None,
    as_json: bool,
) -> None:
    """
    Make a token for a browser or a device, and print it.

    With --local, the token has the right form, but no service accepts it after the command has
    ended.
    """
    with open_client(local=local, base_url=base_url) as iw:
        token = iw.tokens.mint(
            kind, workspace=workspace, lifetime=lifetime, reference_id=reference_id
        )
    if not as_json:
        click.echo(token.token)
        return
    expires_at = token.expires_at
    print_json(
        {
            "kind": kind,
            "token": token.token,
            "expires_at": None if expires_at is None else expires_at.isoformat(),
            "lifetime": token.lifetime,
            "session_id": token.session_id,
        }
    )
