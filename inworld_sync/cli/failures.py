"""Makes the message and the exit status of an error. Messages name options, not arguments."""

from __future__ import annotations

import re
from typing import Final

from inworld_sync.errors import AudioError, AuthError, ConfigError, TransportError

__all__ = ["EMPTY_STATUS", "HELP", "message_of", "status_of", "with_options"]

_FAILED_STATUS: Final = 1
# The command did its work, but the result has no words or no voices.
EMPTY_STATUS: Final = 5

_STATUSES: Final = {ConfigError: 2, AuthError: 3, TransportError: 4}

HELP: Final = """\b
Exit status:
  0    success
  1    the service reported an error, or something else failed
  2    wrong usage or a wrong setting
  3    the service refused the credential
  4    the network failed, or the service did not answer in time
  5    the result is empty: no words were recognized, or no voice matches
  130  interrupted with Ctrl-C
"""

# The option that sets an argument of the client.
_OPTIONS: Final = {
    "allow_remote": "--allow-remote",
    "base_url": "--base-url",
    "channel": "--channel",
    "channels": "--channels",
    "description": "--description",
    "host": "--host",
    "kind": "--kind",
    "language": "--language",
    "lifetime": "--lifetime",
    "local": "--local",
    "max_tokens": "--max-tokens",
    "model": "--model",
    "name": "--name",
    "overwrite": "--overwrite",
    "port": "--port",
    "preview_count": "--count",
    "preview_text": "--text",
    "prompt": "PROMPT",
    "raw_format": "--raw-format",
    "reference_id": "--reference-id",
    "sample_rate_hz": "--rate",
    "speaking_rate": "--speed",
    "tags": "--tag",
    "temperature": "--temperature",
    "template": "--template",
    "text": "TEXT",
    "tls": "--tls",
    "transcriptions": "--transcription",
    "voice": "--voice",
    "workspace": "--workspace",
}
# Matches an argument at the start of a message, after "pass" or "check", or before "=True". A name
# with an underscore is not a word of a sentence, so such a name matches everywhere.
_ARGUMENT: Final = re.compile(
    rf"(?:^|(?<=pass )|(?<=check )|\b(?=\w+=True)|\b(?=[a-z]+_))({'|'.join(_OPTIONS)})\b(?:=True)?"
)


def message_of(error: BaseException) -> str:
    """Return the message and the advice of an error, with options instead of arguments."""
    if isinstance(error, TransportError):
        return f"{error}: check the network and --base-url, then try again"
    if not isinstance(error, (AudioError, ConfigError)):
        return str(error)
    return with_options(str(error))


def with_options(message: str) -> str:
    """Replace the names of arguments in a message with the options of the command."""
    return _ARGUMENT.sub(lambda match: _OPTIONS[match[1]], message)


def status_of(error: BaseException) -> int:
    """Return the exit status for an error."""
    return next(
        (status for kind, status in _STATUSES.items() if isinstance(error, kind)), _FAILED_STATUS
    )
