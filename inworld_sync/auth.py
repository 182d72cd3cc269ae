"""
Makes the ``Authorization`` header of a request from a credential.

No secret appears in a repr, a log or an error. Debuggers and error reports show the variables of
stack frames, so a stored credential is a :class:`Secret`.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.secret import Secret

__all__ = [
    "API_KEY_VARIABLE",
    "ApiKey",
    "Auth",
    "Endpoint",
    "RenewableAuth",
    "TimedAuth",
    "Token",
    "auth_from",
    "endpoints_from",
    "is_token",
]

API_KEY_VARIABLE = "INWORLD_API_KEY"

# A credential may be pasted together with the scheme of the header.
_SCHEME = re.compile(r"^\s*(basic|bearer)(\s+|$)", re.IGNORECASE)
_BASIC, _BEARER = "basic", "bearer"

# A bearer token has only these characters (RFC 6750, section 2.1). Base64 uses some of these
# characters.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_QUOTES = "\"'"

# Matches a line of an .env file, a variable that was not expanded, the text of an example, and the
# text of a missing value, such as ``None``.
_PLACEHOLDER = re.compile(
    r"(?:export\s+)?[A-Za-z][A-Za-z0-9_]*=.*[^=].*|\$\{.*\}|\$[A-Z_]+|<.*>|\{.*\}|%.*%"
    r"|(?:your|my|insert|paste|enter)[-_ ].*(?:key|token).*|(?:your|my)(?:api)?(?:key|token)"
    r"|(?:inworld[-_]?)?(?:api|access|auth|secret|bearer)[-_]?(?:key|token|secret)(?:[-_]?here)?"
    r"|(?:\w*[-_])?[x*._-]{3,}|(\w)\1{2,}"
    r"|change[-_]?me|replace[-_]?me|placeholder|todo|none|null|nil|undefined",
    re.IGNORECASE | re.DOTALL,
)


class Auth(Protocol):
    """A credential. ``header()`` is called once for each request."""

    def header(self) -> tuple[str, str]:
        """Return the name and the value of a header that is valid now."""
        ...


@runtime_checkable
class TimedAuth(Protocol):
    """An :class:`Auth` that can make its header within a time limit."""

    def header_within(self, timeout: float | None) -> tuple[str, str]:
        """Return the header as ``header()`` does, or raise after *timeout* seconds."""
        ...


@runtime_checkable
class RenewableAuth(Protocol):
    """An :class:`Auth` whose method ``rejected`` is called when the service refuses a header."""

    def rejected(self, value: str) -> None:
        """Drop the credential that is in *value*, the value of a refused header."""
        ...


def _header_text(value: object, what: str, wrong_scheme: str, other: str) -> Secret:
    """
    Remove the quotes, the white space and the scheme around a credential, and return the
    credential.

    Args:
        value: The credential.
        what: The kind of credential, for errors.
        wrong_scheme: The scheme of another kind of credential.
        other: The argument for the other kind of credential.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be a str, got {type(value).__name__}")
    secret, schemes = _without_wrapping(value)
    value = secret
    if wrong_scheme in schemes:
        raise ConfigError(f"{what} begins with {wrong_scheme.title()}; pass it as {other}=")
    if not secret:
        raise ConfigError(f"{what} is empty")
    if _is_placeholder(secret):
        raise ConfigError(
            f"{what} is a placeholder or a line of an .env file: pass only the value, as the "
            "portal shows it"
        )
    return secret


def _without_wrapping(text: str) -> tuple[Secret, set[str]]:
    """Remove quotes, white space and schemes around a key; return the key and the schemes."""
    schemes: set[str] = set()
    before = None
    while text != before:
        before = text
        if scheme := _SCHEME.match(text):
            schemes.add(scheme[1].lower())
            text = text[scheme.end() :]
        text = text.strip()
        if len(text) > 1 and text[0] in _QUOTES and text[0] == text[-1]:
            text = text[1:-1]
    return Secret(text), schemes


def _is_placeholder(text: str) -> bool:
    return _PLACEHOLDER.fullmatch(text) is not None


def _wrong_characters(what: str) -> ConfigError:
    return ConfigError(
        f"{what} may have only letters, digits and the characters . _ ~ + / - =, as the portal "
        "shows it; check for spaces, placeholders and other text around it"
    )


def is_token(text: str) -> bool:
    """Return whether a text has only the characters of a bearer token."""
    return _TOKEN.fullmatch(text) is not None


def _bearer(value: object) -> Secret:
    """Return the value of the header for a token."""
    value = Secret(value) if isinstance(value, str) else value
    token = _header_text(value, "the token", _BASIC, "api_key")
    if not is_token(token):
        raise _wrong_characters("the token")
    return Secret(f"Bearer {token}")


class ApiKey:
    """
    An API key as the Inworld portal shows it.

    This key is the base64 of id and secret, and is sent unchanged. ``id:secret`` is accepted too,
    and is encoded.
    """

    def __init__(self, key: str) -> None:
        key = Secret(key) if isinstance(key, str) else key
        key = _header_text(key, "the API key", _BEARER, "token")
        if ":" in key and key.isascii() and key.isprintable() and " " not in key:
            key = Secret(base64.b64encode(key.encode()).decode())
        elif not is_token(key):
            raise _wrong_characters("the API key")
        elif key.startswith("eyJ") and key.count(".") == 2:
            raise ConfigError("the API key is a JSON Web Token; pass it as token=")
        self._key = Secret(key)
        # While this object exists, the secret is masked in the messages of the service too.
        self._secret = _secret_in(key)

    @property
    def key(self) -> str:
        """The key, which is base64 of id and secret."""
        return self._key

    def header(self) -> tuple[str, str]:
        """Return ``Authorization`` and ``Basic ...``."""
        return "Authorization", Secret(f"Basic {self._key}")

    def __repr__(self) -> str:
        return "ApiKey('***')"


def _secret_in(key: str) -> Secret:
    """
    Return the secret that a key contains. The secret is empty if the key is not base64.

    This function raises no error, because a traceback could show the secret.
    """
    try:
        decoded = base64.b64decode(key, validate=True).decode()
    except ValueError:
        return Secret("")
    return Secret(decoded.partition(":")[2])


class Token:
    """
    A JSON Web Token.

    Args:
        token: The token, or a function that returns a new token. The client calls the function for
            each connection and each HTTP request, and once more if the service refuses the token.
            The function runs on a thread of its own, in the context (``contextvars``) of the
            caller. A call waits for the function until the timeout of the call passes.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        token = Secret(token) if isinstance(token, str) else token
        self._token = token if callable(token) else _bearer(token)

    @property
    def is_function(self) -> bool:
        """Whether the token comes from a function."""
        return not isinstance(self._token, str)

    def header(self) -> tuple[str, str]:
        """Return ``Authorization`` and ``Bearer ...``."""
        token = self._token
        return "Authorization", token if isinstance(token, Secret) else _bearer(token())

    def __repr__(self) -> str:
        return "Token('***')"


def auth_from(
    *,
    api_key: str | None,
    token: str | Callable[[], str] | None,
    auth: Auth | None,
    environment: Mapping[str, str] | None = None,
) -> Auth:
    """
    Return the given credential, or the API key from the environment.

    Raises:
        ConfigError: Several credentials were given, or neither an argument nor the environment has
            a credential.
    """
    api_key = Secret(api_key) if isinstance(api_key, str) else api_key
    token = Secret(token) if isinstance(token, str) else token
    values = {"api_key": api_key, "token": token, "auth": auth}
    given = [name for name, value in values.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"expected one credential, got {' and '.join(given)}: pass one of them")
    if auth is not None:
        if not callable(getattr(auth, "header", None)):
            raise ConfigError(
                f"auth must have the method header(), got {type(auth).__name__}; a key goes into "
                "api_key= and a JSON Web Token into token="
            )
        return auth
    if token is not None:
        return Token(token)
    if api_key is not None:
        return ApiKey(api_key)
    key = Secret((os.environ if environment is None else environment).get(API_KEY_VARIABLE, ""))
    if not key:
        raise ConfigError(
            f"no credential: set the environment variable {API_KEY_VARIABLE}, pass api_key=, "
            "token= or auth=, or pass local=True for the emulator, which needs no account"
        )
    return ApiKey(key)


def _masked(value: str | None) -> str | None:
    return None if value is None else Secret(value)


def _masked_token(value: str | Callable[[], str] | None) -> str | Callable[[], str] | None:
    return Secret(value) if isinstance(value, str) else value


@attrs.frozen(kw_only=True)
class Endpoint:
    """
    Another address or credential for ``Inworld(failover=[...])``.

    Attributes:
        base_url: The address; None means the address of the client.
        api_key: An API key. If all three credentials are None, the endpoint uses the credential of
            the client.
        token: A JSON Web Token, or a function that returns a new token for every connection.
        auth: An object whose ``header()`` returns the name and the value of a header.
    """

    base_url: str | None = None
    api_key: str | None = attrs.field(default=None, converter=_masked, repr=False)
    token: str | Callable[[], str] | None = attrs.field(
        default=None, converter=_masked_token, repr=False
    )
    auth: Auth | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        given = (self.base_url, self.api_key, self.token, self.auth)
        if all(value is None for value in given):
            raise ConfigError("Endpoint needs a base_url or a credential, got neither")

    def credential(self, default: Auth) -> Auth:
        """
        Return the credential of the endpoint.

        Raises:
            ConfigError: Several credentials were given, or a credential is wrong.
        """
        if self.api_key is None and self.token is None and self.auth is None:
            return default
        return auth_from(api_key=self.api_key, token=self.token, auth=self.auth)


def endpoints_from(
    failover: Sequence[Endpoint | Literal["local"]] | None,
) -> tuple[Endpoint | Literal["local"], ...]:
    """
    Check the further endpoints of a client.

    Raises:
        ConfigError: The list has a value that is not an endpoint, or ``local`` is not its last
            value.
    """
    if failover is None:
        return ()
    if isinstance(failover, (str, Endpoint)) or not isinstance(failover, Sequence):
        raise ConfigError(
            "failover must be a list of Endpoint objects, of which the last may be 'local'"
        )
    for number, endpoint in enumerate(failover, 1):
        if endpoint == "local":
            if number < len(failover):
                raise ConfigError("failover may have 'local', the emulator, only at its end")
        elif not isinstance(endpoint, Endpoint):
            raise ConfigError(
                f"failover must have Endpoint objects or 'local', got {type(endpoint).__name__}"
            )
    return tuple(failover)
