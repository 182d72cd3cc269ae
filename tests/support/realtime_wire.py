"""Reads and writes realtime messages as JSON text, with the code of the package."""

from __future__ import annotations

from inworld_sync.models.realtime import Command
from inworld_sync.wire.codec import dump_text, load_object
from inworld_sync.wire.realtime.commands import write_object
from inworld_sync.wire.realtime.events import RealtimeMessage, read_object

__all__ = ["read", "write"]


def read(message: str | bytes, warnings: list[str] | None = None) -> RealtimeMessage:
    """Read one message of the service. The audio of the message is base64."""
    return read_object(load_object(message), None, warnings)


def write(command: Command) -> str:
    """Return the text of the message for a command."""
    return dump_text(write_object(command))
