"""Credentials: functions that block or fail, the renewal, and the places in a request."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync.auth import ApiKey, Auth, Token
from inworld_sync.errors import AuthError, ConfigError, ConnectError, DeadlineExceeded
from inworld_sync.transport.credential import Credential, place_credential
from inworld_sync.transport.deadline import Deadline


def deadline(seconds: float | None = 30.0) -> Deadline:
    return Deadline(seconds, "connecting")


class Blocking:
    """A function that returns tokens. Each call waits until the test releases the function."""

    def __init__(self) -> None:
        self.calls = 0
        self.released = threading.Event()

    def __call__(self) -> str:
        self.calls += 1
        self.released.wait(30)
        return f"t{self.calls}"


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    function = Blocking()
    yield function
    function.released.set()


def test_a_function_that_blocks(blocking: Blocking) -> None:
    """
    A caller waits at most until its deadline.

    The function is then still running, and the next caller waits for the same call of the function.
    """
    credential = Credential(Token(blocking))
    for _ in range(3):
        with pytest.raises(DeadlineExceeded, match=r"longer than 0\.02 s; the cred"):
            credential.header(deadline(0.02))
    threading.Timer(0.05, blocking.released.set).start()

    assert ("Authorization", "Bearer t1") == credential.header(deadline())
    assert "Bearer t2" == credential.header(deadline())[1]


def test_each_request_has_its_own_call(blocking: Blocking) -> None:
    """Requests at the same time get different tokens, because a token may allow only one use."""
    numbers = iter(range(100))
    ready = threading.Barrier(5)

    def function() -> str:
        ready.wait(30)
        return f"t{next(numbers)}"

    credential = Credential(Token(function))
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(credential.header(deadline())[1]))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert {f"Bearer t{number}" for number in range(5)} == set(found)


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), AuthError("refused")])
def test_a_function_that_raises(error: BaseException) -> None:
    """An exception of the function reaches the caller unchanged."""

    def function() -> str:
        raise error

    with pytest.raises(type(error)) as caught:
        Credential(Token(function)).header(deadline())

    assert error is caught.value


def test_the_context_of_the_caller() -> None:
    """The function sees the context variables of the caller. Flask's ``g`` is one of these."""
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("mine")

    assert "Bearer mine" == Credential(Token(variable.get)).header(deadline())[1]


class Returning:
    def __init__(self, value: object) -> None:
        self.value = value

    def header(self) -> Any:
        return self.value


@pytest.mark.parametrize("value", [None, "Bearer x", ("a",), ("a", None), ("a", b"b"), ("a", 1, 2)])
def test_a_wrong_header(value: object) -> None:
    """A credential that does not return a header's name and value raises an error with advice."""
    with pytest.raises(ConfigError, match="the name and the value"):
        Credential(Returning(value)).header(deadline())


def test_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the thread for the function cannot start, ConnectError is raised."""

    def refusing(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refusing)
    with pytest.raises(ConnectError, match="can't start"):
        Credential(Token(lambda: "t")).header(deadline())
    assert "Bearer t" == Credential(Token("t")).header(deadline())[1]


class Renewing:
    """A credential object that has another token after each refusal, up to *most* tokens."""

    def __init__(self, most: int) -> None:
        self.number = 1
        self.most = most
        self.refused: list[str] = []

    def header(self) -> tuple[str, str]:
        return "Authorization", f"Bearer t{self.number}"

    def rejected(self, value: str) -> None:
        self.refused.append(value)
        self.number = min(self.number + 1, self.most)


def refusing(accepted: str, seen: list[str]) -> Callable[[tuple[str, str]], str]:
    def send(header: tuple[str, str]) -> str:
        seen.append(header[1])
        if header[1] != accepted:
            raise AuthError("refused")
        return "sent"

    return send


def test_renewal() -> None:
    """A request that is refused is sent once more with another credential."""
    seen: list[str] = []
    assert "sent" == Credential(Renewing(9)).use(deadline(), refusing("Bearer t2", seen))
    assert ["Bearer t1", "Bearer t2"] == seen


def test_renewal_that_does_not_help() -> None:
    """After two refusals, a request is not sent again. Both credentials are reported as refused."""
    seen: list[str] = []
    auth = Renewing(9)
    with pytest.raises(AuthError):
        Credential(auth).use(deadline(), refusing("Bearer t3", seen))
    assert seen == auth.refused == ["Bearer t1", "Bearer t2"]


@pytest.mark.parametrize(
    "auth", [Renewing(1), ApiKey("id:secret"), Token("t"), Token(lambda: "t")], ids=range(4)
)
def test_the_same_credential(auth: Auth) -> None:
    """If a refused credential stays the same, the request is not sent again."""
    seen: list[str] = []
    with pytest.raises(AuthError):
        Credential(auth).use(deadline(), refusing("Bearer other", seen))
    assert 1 == len(seen)


KEY = ApiKey("id:secret").header()
TOKEN = Token("eyJ.e-y_J.s").header()

PLACES = [
    (KEY, "query", "ws://h/p?key=1&authorization=Basic+aWQ6c2VjcmV0", {}),
    (TOKEN, "query", "ws://h/p?key=1&authorization=Bearer+eyJ.e-y_J.s", {}),
    (TOKEN, "header", "ws://h/p?key=1", {"Authorization": "Bearer eyJ.e-y_J.s"}),
    (KEY, "subprotocol", "ws://h/p?key=1", {"Sec-WebSocket-Protocol": "basic_aWQ6c2VjcmV0"}),
    (TOKEN, "subprotocol", "ws://h/p?key=1", {"Sec-WebSocket-Protocol": "bearer_eyJ.e-y_J.s"}),
    (
        ApiKey("aWQ6cw==").header(),
        "subprotocol",
        "ws://h/p?key=1",
        {"Sec-WebSocket-Protocol": "basic_aWQ6cw"},
    ),
]


@pytest.mark.parametrize(("header", "place", "url", "headers"), PLACES)
def test_places(header: tuple[str, str], place: Any, url: str, headers: dict[str, str]) -> None:
    """The credential is only in the chosen place of the request. No repr shows the credential."""
    placed = place_credential("ws://h/p?key=1", header, place)

    assert (url, headers) == placed
    assert header[1].split()[1].rstrip("=") not in repr(placed)


@pytest.mark.parametrize(
    ("header", "place", "words"),
    [
        (("X-Key", "secret"), "query", "got the header 'X-Key'"),
        (("Authorization", "Digest secret"), "subprotocol", "needs an API key or a token"),
        (("Authorization", "Basic sec/ret="), "subprotocol", "allows no /"),
    ],
)
def test_impossible_places(header: tuple[str, str], place: Any, words: str) -> None:
    """A credential that does not fit the chosen place raises an error without the credential."""
    with pytest.raises(ConfigError, match=words) as caught:
        place_credential("ws://h/p", header, place)

    assert "sec" not in str(caught.value)
