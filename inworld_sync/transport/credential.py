"""
Gets the credential of a client within a deadline, and another credential after a refusal.

A function or an object of the user may block, so each call runs on a separate thread. If this call
takes longer than a caller waits, the next caller waits for the same call instead of starting
another call. So a function that never returns costs one thread for each caller that waits at the
same time.

Lock rule: ``_lock`` guards the list of calls that did not return in time. Nothing is called while
the lock is held.
"""

from __future__ import annotations

import contextvars
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import urlencode

from inworld_sync._version import __version__
from inworld_sync.auth import ApiKey, Auth, RenewableAuth, TimedAuth, Token
from inworld_sync.errors import AuthError, ConfigError, ConnectError, DeadlineExceeded
from inworld_sync.locks import Event, make_lock
from inworld_sync.models.options import CredentialPlace
from inworld_sync.secret import Secret
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline
from inworld_sync.transport.needed import import_needed

__all__ = ["Credential", "Header", "place_credential", "request_headers", "send_authorized"]

Header = tuple[str, str]
T = TypeVar("T")

# A subprotocol is a token of RFC 9110, section 5.6.2.
_SUBPROTOCOL: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Credential:
    """
    Asks the credential object of a client for the header of each request.

    Args:
        auth: The credential object.

    Thread safety: any thread may use the object. A forked child needs an object of its own.
    """

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._lock = make_lock()
        self._overdue: list[_Call] = []

    @property
    def is_renewable(self) -> bool:
        """Whether the credential may change after the service has refused it."""
        auth = self._auth
        return auth.is_function if isinstance(auth, Token) else isinstance(auth, RenewableAuth)

    def header(self, deadline: Deadline) -> Header:
        """
        Return the name and the value of the header for one request.

        Raises:
            DeadlineExceeded: The function of the user did not return in time.
            ConfigError: The function of the user did not return a credential.
            Exception: Any exception of the user's function, unchanged.
        """
        auth = self._auth
        if isinstance(auth, TimedAuth):
            return auth.header_within(deadline.remaining())
        if isinstance(auth, ApiKey) or (isinstance(auth, Token) and not auth.is_function):
            return auth.header()
        return self._called(deadline)

    def use(self, deadline: Deadline, send: Callable[[Header], T]) -> T:
        """
        Call *send* with the header. If the service refuses the credential and another credential is
        available, call *send* once more.

        Args:
            deadline: The deadline for the header; *send* has a deadline of its own.
            send: Sends the request; raises :class:`AuthError` if the service refuses the
                credential. In this case, the service must not have handled the request.
        """
        header = self.header(deadline)
        try:
            return send(header)
        except AuthError:
            self.reject(header)
            renewed = self.header(deadline) if self.is_renewable else header
            if renewed == header:
                raise
        try:
            return send(renewed)
        except AuthError:
            self.reject(renewed)
            raise

    def reject(self, header: Header) -> None:
        """Drop a credential that the service refused."""
        if isinstance(self._auth, RenewableAuth):
            self._auth.rejected(header[1])

    def _called(self, deadline: Deadline) -> Header:
        with self._lock:
            self._overdue = [call for call in self._overdue if not call.is_done]
            call = self._overdue.pop() if self._overdue else None
        call = call or _Call(self._auth)
        if not call.wait(deadline):
            with self._lock:
                self._overdue.append(call)
            raise DeadlineExceeded(f"{deadline.error()}; the credential's function did not return")
        return call.result()


def send_authorized(
    send: Callable[[Mapping[str, str]], T],
    credential: Credential | Header | None,
    deadline: Deadline,
    headers: Mapping[str, str] | None = None,
) -> T:
    """
    Send an HTTP request with a credential; see :meth:`Credential.use`.

    Args:
        send: Gets the headers, and sends the request with them.
        credential: The credential of a client, a header, or None.
        deadline: The deadline for the header.
        headers: Further headers.
    """
    import_needed()

    def attempt(header: Header | None) -> T:
        return send({**(headers or {}), **dict([header] if header else ())})

    if isinstance(credential, Credential):
        return credential.use(deadline, attempt)
    return attempt(credential)


class _Call:
    """
    One call of an object of the user, on its own thread, with the context variables of the first
    caller.
    """

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._done = Event()
        self._header: object = None
        self._error: BaseException | None = None
        run = contextvars.copy_context().run
        thread = threading.Thread(
            target=run, args=(self._run,), name="inworld-credential", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise ConnectError(f"no thread could start for the credential: {error}") from error

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def _run(self) -> None:
        try:
            self._header = self._auth.header()
        except BaseException as error:  # noqa: BLE001 - the user's function may raise anything
            self._error = error
        finally:
            self._done.set()

    def wait(self, deadline: Deadline) -> bool:
        """Wait for the end of the call; return whether the call has ended."""
        while not self._done.wait(deadline.at_most(LONGEST_WAIT_SECONDS)):
            if deadline.expired:
                return False
        return True

    def result(self) -> Header:
        if self._error is not None:
            # The error refers to a frame, and the frame refers to this object. Removing the error
            # ends this reference cycle.
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        match self._header:
            case (str() as name, str() as value):
                return name, value
        raise ConfigError(
            "header() of auth must return the name and the value of a header, got "
            f"{type(self._header).__name__}"
        )


def request_headers() -> dict[str, str]:
    """Return the headers that every request has, including a new id."""
    return {"User-Agent": f"inworld-sync/{__version__}", "X-Request-Id": str(uuid.uuid4())}


def place_credential(
    url: str, header: Header, place: CredentialPlace
) -> tuple[str, Mapping[str, str]]:
    """
    Put a credential into the upgrade of a WebSocket.

    Args:
        url: The address, with or without a query.
        header: The header with the credential.
        place: ``header``, ``query`` or ``subprotocol``.

    Returns:
        The address, and the headers to add.

    Raises:
        ConfigError: The credential cannot be sent in this place; the message does not show the
            credential.
    """
    name, value = header
    if place == "header":
        return url, {name: value}
    scheme, _, secret = value.partition(" ")
    if name.lower() != "authorization" or scheme.lower() not in ("basic", "bearer"):
        raise ConfigError(
            f"credential_in={place!r} needs an API key or a token, got the header {name!r}"
        )
    if place == "query":
        return Secret(f"{url}{'&' if '?' in url else '?'}{urlencode({'authorization': value})}"), {}
    subprotocol = Secret(f"{scheme.lower()}_{secret.rstrip('=')}")
    if not _SUBPROTOCOL.fullmatch(subprotocol):
        raise ConfigError(
            "credential_in='subprotocol' allows no / in the credential, which this API key has: "
            "use a token, 'query' or 'header'"
        )
    return url, {"Sec-WebSocket-Protocol": subprotocol}
