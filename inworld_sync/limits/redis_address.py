"""Checks the address of Redis. If the address has a password, no error may show the password."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from inworld_sync.errors import ConfigError

__all__ = ["require_address"]

_ADDRESS = re.compile(r"unix://.+|rediss?://([^/?#]*@)?[^@/?#]*(/\d*)?/?(\?[^@#]*)?")


def require_address(url: str) -> None:
    """
    Check the form of an address.

    Raises:
        ConfigError: The form of the address is wrong.
    """
    # The address may have a password. If the password has "/", the errors of redis-py show a part
    # of the password.
    try:
        is_right = isinstance(url, str) and _ADDRESS.fullmatch(url) and urlsplit(url).port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ConfigError(
            "url must be the address of Redis, such as 'redis://localhost:6379/0', with the scheme "
            "redis, rediss or unix; in a password, write %2F for / and %23 for #"
        )
