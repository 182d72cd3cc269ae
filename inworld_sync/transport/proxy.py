"""Chooses the proxy of a connection."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import re
import urllib.parse
import urllib.request

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models.options import Options, is_host
from inworld_sync.secret import Secret, SecretBytes
from inworld_sync.transport.tcp import is_loopback
from inworld_sync.transport.urls import Place, parse_url

__all__ = ["Proxy", "bracketed", "choose_proxy", "parse_proxy"]

# The accepted schemes, and for each scheme the default port.
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

# Matches an entry of no_proxy with a port. An IPv6 address in such an entry has brackets.
_ENTRY_WITH_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]+):(?P<port>\d{1,5})")

# RFC 1929, section 2: the longest user and the longest password of a SOCKS5 proxy, in bytes.
_MAX_SOCKS_BYTES = 255


@attrs.frozen(kw_only=True)
class Proxy:
    """
    A proxy that opens tunnels.

    Attributes:
        scheme: How the client requests a tunnel: ``http`` with CONNECT, ``https`` with CONNECT over
            TLS, ``socks5`` and ``socks5h`` with SOCKS5. The client sends an address to a ``socks5``
            proxy, and the name of the host to a ``socks5h`` proxy.
        host: The name or address of the proxy.
        port: The TCP port of the proxy.
        user: The user, or None.
        password: The password; empty if the URL has none.
    """

    scheme: str
    host: str
    port: int
    user: Secret | None = attrs.field(default=None, repr=False)
    password: Secret = attrs.field(default=Secret(""), repr=False)

    @property
    def url(self) -> str:
        """The URL of the proxy without credentials."""
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"

    @property
    def is_socks(self) -> bool:
        """Whether the proxy uses SOCKS5."""
        return self.scheme.startswith("socks")

    @property
    def authorization(self) -> Secret | None:
        """The value of the Proxy-Authorization header, or None."""
        if self.user is None:
            return None
        credential = SecretBytes(f"{self.user}:{self.password}".encode())
        return Secret(f"Basic {base64.b64encode(credential).decode()}")


def choose_proxy(url: str, options: Options) -> Proxy | None:
    """
    Return the proxy for *url*, or None to connect directly.

    If ``options.proxy`` is not None, only this option decides. Otherwise the client uses the URL in
    the first of these environment variables that is set. The names of the variables may be in lower
    or upper case:

    - for a ``wss`` URL: ``wss_proxy``, ``https_proxy``, ``all_proxy``
    - for an ``https`` URL: ``https_proxy``, ``all_proxy``
    - for a ``ws`` URL: ``ws_proxy``, ``http_proxy``, ``all_proxy``
    - for an ``http`` URL: ``http_proxy``, ``all_proxy``

    The client connects directly to the hosts that ``no_proxy`` lists. If no ``*_proxy`` variable is
    set, the system settings of macOS and Windows are used. For a loopback host such as
    ``localhost``, the client ignores the environment and the system settings.

    Raises:
        ConfigError: The proxy's URL is invalid, its scheme is not supported, or python-socks is not
            installed for a SOCKS5 proxy.
    """
    if options.proxy is not None:
        return parse_proxy(options.proxy, "proxy=") if options.proxy else None
    place = parse_url(url)
    if is_loopback(place.host):
        return None
    # The URLs may have passwords, which a traceback must not show.
    known = {name: Secret(value) for name, value in urllib.request.getproxies_environment().items()}
    if known:
        is_bypassed = _matches_no_proxy(place, known.get("no", ""))
    else:
        known = {name: Secret(value) for name, value in urllib.request.getproxies().items()}
        is_bypassed = bool(known) and bool(urllib.request.proxy_bypass(place.authority))
    if is_bypassed:
        return None
    scheme = urllib.parse.urlsplit(url).scheme
    for name in (scheme, scheme.replace("ws", "http"), "all"):
        if known.get(name):
            return parse_proxy(known[name], f"the environment's {name}_proxy")
    return None


def _matches_no_proxy(place: Place, no_proxy: str) -> bool:
    """
    Return whether ``no_proxy`` lists the host of *place*.

    Entries are separated by commas or spaces. An entry is ``*`` for all hosts, or one of these,
    with or without a port:

    - a host name, which also matches its subdomains
    - an IP address
    - a network such as ``10.0.0.0/8``
    """
    host = place.host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in no_proxy.lower().replace(",", " ").split():
        name = entry
        match = _ENTRY_WITH_PORT.fullmatch(entry)
        if match:
            if int(match["port"]) != place.port:
                continue
            name = match["host"]
        name = name.strip("[]")
        if address is not None:
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(name, strict=False):
                    return True
        suffix = name.lstrip("*").strip(".")
        if name == "*" or (suffix and (host == suffix or host.endswith(f".{suffix}"))):
            return True
    return False


def parse_proxy(text: str, source: str) -> Proxy:
    """
    Return the proxy of a URL. Without a scheme, the URL means an ``http`` proxy.

    Args:
        text: The URL, which may have a user and a password.
        source: Where the URL comes from, for errors.

    Raises:
        ConfigError: As for :func:`choose_proxy`.
    """
    text = Secret(text)
    found = _read(text)
    if isinstance(found, str):
        raise ConfigError(f"{source} {found}")
    if found.is_socks:
        try:
            import python_socks.sync  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"{source} names a SOCKS5 proxy, which needs python-socks: "
                "pip install 'inworld-sync[socks]'"
            ) from error
    return found


def _read(text: str) -> Proxy | str:
    """
    Return the proxy of a URL, or a text that says what is wrong with the URL.

    The URL may have a password. So this function raises no error, because a traceback could show
    the password.
    """
    text = text.strip()
    parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    scheme = parts.scheme
    if scheme and scheme not in _DEFAULT_PORTS:
        return (
            f"must start with http://, https://, socks5:// or socks5h://, got {scheme}://; use "
            "one of these proxies, or proxy=False for no proxy"
        )
    if "@" in parts.path + parts.query + parts.fragment:
        return (
            "has one of the characters / ? # in its user or password; "
            "write them as %2F, %3F and %23"
        )
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not scheme or port == 0:
        return "must look like http://host:port"
    if not is_host(host):
        return f"has the host {host!r}, which is neither a name nor an address"
    if parts.username is None:
        return Proxy(scheme=scheme, host=host, port=port or _DEFAULT_PORTS[scheme])
    user = urllib.parse.unquote(parts.username)
    password = urllib.parse.unquote(parts.password or "")
    if scheme.startswith("socks") and not all(map(_is_for_socks, (user, password))):
        return (
            "must have a user and a password of 1 to 255 ASCII characters each, "
            "as SOCKS5 requires, or none of them"
        )
    return Proxy(
        scheme=scheme,
        host=host,
        port=port or _DEFAULT_PORTS[scheme],
        user=Secret(user),
        password=Secret(password),
    )


def _is_for_socks(text: str) -> bool:
    return text.isascii() and 0 < len(text) <= _MAX_SOCKS_BYTES


def bracketed(host: str) -> str:
    """Return a host as it is written in a URL: an IPv6 address has brackets."""
    return f"[{host}]" if ":" in host else host
