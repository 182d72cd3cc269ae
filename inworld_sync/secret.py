"""
Defines text that is shown as ``***``, for keys, tokens and passwords.

A report of an error may show the local variables of each frame of a traceback. So a credential is a
:class:`Secret` as soon as it enters the client. Code that needs the plain text is in functions that
raise no error.
"""

from __future__ import annotations

import contextlib
import weakref

__all__ = ["Secret", "SecretBytes", "mask_known", "mask_known_bytes"]

# Shorter texts are not masked in the messages of a service, because they may be words.
_MIN_CHARACTERS = 8

# The service repeats the beginning of a key that it refuses: "abcd***".
_ECHOED_CHARACTERS = 4

# Every secret in use.
_known: dict[int, weakref.ref[Secret]] = {}


class Secret(str):  # noqa: SLOT000 - it has weak references
    """
    A secret text. Its ``repr`` is ``***``, and the messages of a service are shown without the
    text.
    """

    def __new__(cls, text: str) -> Secret:
        """Make a secret of a text; a secret is returned unchanged."""
        if isinstance(text, Secret):
            return text
        secret = super().__new__(cls, text)
        if len(text) >= _MIN_CHARACTERS:
            number = id(secret)
            _known[number] = weakref.ref(secret, lambda _: _known.pop(number, None))
        return secret

    def __repr__(self) -> str:
        return "'***'"


class SecretBytes(bytes):
    """Bytes with a credential, such as a request. Their ``repr`` is ``***``."""

    def __repr__(self) -> str:
        return "b'***'"


def mask_known(text: str) -> str:
    """Replace every secret in use, and each part that the service repeats, by ``***``."""
    for secret in _in_use():
        text = text.replace(secret, "***").replace(secret[:_ECHOED_CHARACTERS] + "***", "***")
    return text


def mask_known_bytes(data: bytes) -> bytes:
    """Mask a message in UTF-8 as :func:`mask_known` masks a text."""
    for secret in _in_use():
        coded = SecretBytes(secret.encode())
        data = data.replace(coded, b"***").replace(coded[:_ECHOED_CHARACTERS] + b"***", b"***")
    return data


def _in_use() -> list[Secret]:
    secrets = [reference() for reference in _references()]
    # The longest secrets are first, because "Basic KEY" must be replaced before KEY.
    return sorted((each for each in secrets if each is not None), key=len, reverse=True)


def _references() -> list[weakref.ref[Secret]]:
    while True:
        # The table may change during the iteration, if a secret is made or freed. This is rare.
        with contextlib.suppress(RuntimeError):
            return list(_known.values())
