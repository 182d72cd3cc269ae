"""
A plugin of pytest that writes all credentials of a run to a file.

The option ``-p support.secret_recorder`` loads the plugin. The environment variable
``SECRETS_FILE`` has the name of the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from inworld_sync.secret import Secret

_seen: set[str] = set()
_new = Secret.__new__


def _recorded(cls: type[Secret], text: str) -> Secret:
    _seen.add(str.__str__(text))
    return _new(cls, text)


@pytest.hookimpl
def pytest_configure() -> None:
    Secret.__new__ = _recorded  # type: ignore[method-assign,assignment]


@pytest.hookimpl
def pytest_sessionfinish() -> None:
    Path(os.environ["SECRETS_FILE"]).write_text(json.dumps(sorted(_seen)), encoding="utf-8")
