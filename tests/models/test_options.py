"""Each option is checked when the client is created."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping

import pytest

from inworld_sync import ConfigError, ConnectionLimiter, Options

# (options, words of the error). The value of each option is wrong or has a wrong type.
WRONG: list[tuple[Mapping[str, object], str]] = [
    ({"base_url": "api.inworld.ai"}, "base_url must be a URL such as 'https://api.inworld.ai'"),
    ({"base_url": None}, "base_url must be a URL"),
    ({"base_url": "https://[::1"}, "base_url must be a URL"),
    ({"base_url": "https://host:99999"}, "base_url must be a URL"),
    ({"base_url": "https://host:0"}, "base_url must be a URL"),
    ({"base_url": "https://host/v1"}, "the client appends the path"),
    ({"base_url": "https://exämple.de"}, "ASCII or Punycode"),
    ({"base_url": "https://a b"}, "ASCII or Punycode"),
    ({"connect_timeout": "5"}, "connect_timeout must be a number, got '5'"),
    ({"send_timeout": None}, "send_timeout must be a number, got None"),
    ({"close_timeout": True}, "close_timeout must be a number, got True"),
    ({"ping_timeout": 0}, "ping_timeout must be above 0, in seconds, got 0"),
    ({"ping_interval": float("nan")}, "ping_interval must be above 0, in seconds, got nan"),
    ({"max_message_bytes": 1.5}, "max_message_bytes must be an integer, got 1.5"),
    ({"proxy": True}, "proxy must be a URL.*got bool"),
    ({"proxy": 8080}, "proxy must be a URL.*got int"),
    ({"ssl_context": False}, "ssl_context must have the method wrap_bio"),
    ({"headers": None}, "headers must be a mapping, got NoneType"),
    ({"headers": {"X-Secret": 7}}, "headers must have strings as values, got int for .X-Secret.$"),
    ({"limiter": 20}, "limiter must have the method acquire"),
    ({"observer": "call.jsonl"}, "observer must have the method message"),
    ({"logger": "mine"}, "logger must have the method debug"),
    ({"logger": None}, "logger must have the method debug"),
    ({"on_trace": "print"}, "on_trace must be callable"),
    ({"credential_in": "body"}, "credential_in must be one of header, query, subprotocol"),
    ({"dispatch": "threads"}, "dispatch must be one of thread, poll, got 'threads'"),
]


@pytest.mark.parametrize(("settings", "words"), WRONG)
def test_wrong(settings: Mapping[str, object], words: str) -> None:
    """A wrong option raises an error with its name and the given value."""
    with pytest.raises(ConfigError, match=words):
        Options(**settings)  # type: ignore[arg-type]


def test_no_secret_is_shown() -> None:
    """Neither the repr nor an error shows the value of a header or the password of a proxy."""
    shown = repr(Options(headers={"X-Key": "hunter2"}, proxy="http://me:hunter2@proxy:80"))
    with pytest.raises(ConfigError) as caught:
        Options(base_url="https://me:hunter2@host")

    assert "hunter2" not in shown + str(caught.value)


def test_everything_at_once() -> None:
    """Right values of all options are accepted together."""
    options = Options(
        base_url="wss://[::1]:8443",
        connect_timeout=1,
        proxy=False,
        ssl_context=ssl.create_default_context(),
        headers={"X-Tenant": "7"},
        limiter=ConnectionLimiter(2),
        logger=logging.getLogger("mine"),
        on_trace=print,
        dispatch="poll",
    )

    assert "https://[::1]:8443/voices" == options.endpoint("/voices", websocket=False)


@pytest.mark.parametrize(
    "name", ["connect_timeout", "send_timeout", "close_timeout", "ping_interval", "ping_timeout"]
)
def test_times(name: str) -> None:
    """A time must be above 0 and at most a million seconds. All platforms can wait that long."""
    for value in (1e-3, 1, 1_000_000):
        assert value == getattr(Options(**{name: value}), name)
    for value, words in (
        (-1, "must be above 0, in seconds, got -1"),
        (0, "must be above 0, in seconds, got 0"),
        (float("nan"), "must be above 0, in seconds, got nan"),
        (float("inf"), "must be 0 to 1000000 s, got inf"),
        (1e12, "must be 0 to 1000000 s, got 1000000000000.0"),
    ):
        with pytest.raises(ConfigError, match=f"{name} {words}"):
            Options(**{name: value})
