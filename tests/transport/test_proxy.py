"""The choice of a proxy. The tests of tunnels are in ``test_tunnel.py``."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from inworld_sync.errors import ConfigError
from inworld_sync.models.options import Options
from inworld_sync.transport.proxy import choose_proxy

# (URL of an invalid or unsupported proxy, words of the error)
BAD_PROXIES = [
    (
        "socks4://host:1080",
        "start with http://, https://, socks5:// or socks5h://, got socks4",
    ),
    ("socks://host:1080", "got socks://"),
    ("ftp://u:s3cret@host:3128", "got ftp://"),
    ("http://:3128", "http://host:port"),
    ("http://host:0", "http://host:port"),
    ("http://a..b:3128", r"has the host 'a\.\.b', which is neither"),
    (f"http://{'a' * 64}:3128", "which is neither"),
    ("socks5://u@host:1", "a user and a password of 1 to 255 ASCII"),
    ("socks5://:s3cret@host:1", "a user and a password of 1 to 255 ASCII"),
    ("socks5h://u:s3cret%C3%A9@host:1", "a user and a password of 1 to 255 ASCII"),
    (f"socks5h://u:{'s3cret' * 50}@host:1", "a user and a password of 1 to 255 ASCII"),
    ("http://host:port", "http://host:port"),
    ('"http://host:1"', "http://host:port"),
    ("http://u:12/3s3cret@host:1", "write them as %2F"),
    ("http://u:1?s3cret@host:1", "write them as %2F"),
    ("http://u:s3cret#x@host:1", "write them as %2F"),
]


@pytest.mark.parametrize(("url", "words"), BAD_PROXIES)
def test_bad_proxies(url: str, words: str) -> None:
    """A proxy that is not supported raises a ConfigError with advice, before anything is sent."""
    with pytest.raises(ConfigError, match=words) as caught:
        choose_proxy("wss://service.invalid/", Options(proxy=url))

    assert "s3cret" not in str(caught.value)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that replaces all proxy settings of the environment."""
    for name in ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "all_proxy", "no_proxy"):
        for variant in (name, name.upper()):
            monkeypatch.delenv(variant, raising=False)

    def set_all(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    return set_all


S, P, A = "http://secure:1", "http://plain:2", "http://all:3"

# (environment, URL, URL of the proxy)
CHOICES = [
    ({}, "wss://host/", None),
    ({"https_proxy": S, "http_proxy": P}, "wss://host/", S),
    ({"https_proxy": S, "http_proxy": P}, "ws://host/", P),
    ({"HTTPS_PROXY": S}, "https://host/", S),
    ({"http_proxy": P}, "wss://host/", None),
    ({"all_proxy": A}, "wss://host/", A),
    ({"ALL_PROXY": A, "https_proxy": S}, "wss://host/", S),
    ({"https_proxy": "secure:1"}, "wss://host/", S),
    ({"https_proxy": "http://secure"}, "wss://host/", "http://secure:80"),
    ({"https_proxy": f"  {S}/\r\n"}, "wss://host/", S),
    ({"https_proxy": "HTTP://secure:1"}, "wss://host/", S),
    ({"wss_proxy": P, "https_proxy": S}, "wss://host/", P),
    ({"wss_proxy": P}, "https://host/", None),
    ({"all_proxy": "socks5://host:1", "https_proxy": S}, "wss://host/", S),
    ({"all_proxy": "socks5://host:1"}, "wss://host/", "socks5://host:1"),
    ({"all_proxy": "socks5h://host"}, "wss://host/", "socks5h://host:1080"),
    ({"https_proxy": "https://secure"}, "wss://host/", "https://secure:443"),
    ({"https_proxy": "http://[::1]:1"}, "wss://host/", "http://[::1]:1"),
    ({"https_proxy": S, "no_proxy": "host"}, "wss://host/", None),
    ({"https_proxy": S, "no_proxy": ".example"}, "wss://api.example:443/", None),
    ({"https_proxy": S, "no_proxy": "other, host:8443"}, "wss://host:8443/", None),
    ({"https_proxy": S, "NO_PROXY": "other"}, "wss://host/", S),
    ({"https_proxy": S, "no_proxy": "*"}, "wss://host/", None),
    ({"http_proxy": P}, "ws://localhost:8000/", None),
    ({"http_proxy": P}, "ws://127.0.0.1:8000/", None),
    ({"http_proxy": P}, "ws://[::1]:8000/", None),
    ({"http_proxy": P}, "ws://foo.localhost:8000/", None),
    ({"http_proxy": P}, "ws://localhost.:8000/", None),
    ({"http_proxy": P}, "ws://0.0.0.0:8000/", None),
    ({"https_proxy": S}, "wss://user:password@host/", S),
]

# (value of no_proxy, URL, whether no_proxy contains the host of the URL)
NO_PROXY = [
    ("api.example", "wss://api.example/", True),
    ("API.Example", "wss://api.example/", True),
    ("example", "wss://api.example/", True),
    (".example", "wss://api.example/", True),
    ("*.example", "wss://api.example/", True),
    ("ample", "wss://api.example/", False),
    ("api.example.", "wss://api.example/", True),
    ("other, api.example", "wss://api.example/", True),
    ("other api.example", "wss://api.example/", True),
    ("other,*", "wss://api.example/", True),
    ("*", "wss://api.example/", True),
    (",", "wss://api.example/", False),
    ("api.example:443", "wss://api.example/", True),
    ("api.example:443", "ws://api.example:443/", True),
    ("api.example:80", "wss://api.example/", False),
    ("10.0.0.0/8", "wss://10.1.2.3/", True),
    ("10.0.0.0/8", "wss://11.1.2.3/", False),
    ("10.1.2.3/8", "wss://10.9.9.9/", True),
    ("fd00::/8", "wss://[fd00::1]/", True),
    ("fd00::1", "wss://[FD00:0::1]/", True),
    ("[fd00::1]", "wss://[fd00::1]:8443/", True),
    ("[fd00::1]:8443", "wss://[fd00::1]:8443/", True),
    ("[fd00::1]:443", "wss://[fd00::1]:8443/", False),
    ("10.0.0.0/99", "wss://10.1.2.3/", False),
]


@pytest.mark.parametrize(("no_proxy", "url", "is_listed"), NO_PROXY)
def test_no_proxy(
    environment: Callable[..., None], no_proxy: str, url: str, is_listed: bool
) -> None:
    """For hosts, addresses, networks and ports in ``no_proxy``, the client uses no proxy."""
    environment(all_proxy=A, no_proxy=no_proxy)

    assert (choose_proxy(url, Options()) is None) is is_listed


@pytest.mark.parametrize(("settings", "url", "expected"), CHOICES)
def test_environment(
    environment: Callable[..., None], settings: dict[str, str], url: str, expected: str | None
) -> None:
    """The variables have the same meaning as in other tools. No proxy is used for loopback."""
    environment(**settings)

    chosen = choose_proxy(url, Options())

    assert expected == (chosen.url if chosen else None)


def test_options_win(environment: Callable[..., None]) -> None:
    """A proxy in the options is used for all hosts. False means that no proxy is used."""
    environment(https_proxy=S, no_proxy="*")

    chosen = choose_proxy("wss://localhost/", Options(proxy="http://mine:4"))

    assert chosen is not None
    assert "http://mine:4" == chosen.url
    environment(https_proxy=S, no_proxy="")
    assert choose_proxy("wss://host/", Options(proxy=False)) is None


def test_credential_is_hidden() -> None:
    """No repr shows the password of a proxy."""
    chosen = choose_proxy("wss://host/", Options(proxy="http://user:s3cret@mine:4"))

    assert chosen is not None
    assert "Basic dXNlcjpzM2NyZXQ=" == chosen.authorization
    assert "dXNlcjpzM2NyZXQ" not in repr(chosen)
    assert "s3cret" not in repr(Options(proxy="http://user:s3cret@mine:4"))


# (user and password in the URL, what the proxy gets)
CREDENTIALS = [
    ("u:p%40ss%3A%2F%25", "u:p@ss:/%"),
    ("u:p@ss", "u:p@ss"),
    ("u:a:b", "u:a:b"),
    ("u:%C3%A9", "u:é"),
    ("u:a+b", "u:a+b"),
    ("u:100%", "u:100%"),
    ("DOM%5Cuser:p", "DOM\\user:p"),
    ("token", "token:"),
]


@pytest.mark.parametrize(("written", "sent"), CREDENTIALS)
def test_special_characters(written: str, sent: str) -> None:
    """The user and the password of a proxy are percent-decoded."""
    chosen = choose_proxy("wss://host/", Options(proxy=f"http://{written}@mine:4"))

    assert chosen is not None
    assert chosen.authorization is not None
    assert sent == base64.b64decode(chosen.authorization.split()[1]).decode()
