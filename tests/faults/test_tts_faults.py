"""
Every fault of a server and its network is tried at every message of an utterance.

An utterance is complete or ends with an error, in a limited time. The client then returns every
place and ends every thread, and the next utterance succeeds.
"""

from __future__ import annotations

import threading

import pytest

from inworld_sync import (
    AudioConfig,
    AuthError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    Inworld,
    InworldError,
    ProtocolError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    Speech,
)
from inworld_sync.emulator import Emulator, FaultKind, Settings
from inworld_sync.emulator.faults import WEBRTC_KINDS

from support.counting import CountingLimiter
from support.spelling import SpellingSynthesizer, spelled

TEXT = "Afewwordsofspeech."

# The messages are contextCreated, three messages of audio, flushCompleted and contextClosed.
MESSAGES = 6
CHUNK_MS = 25
SAMPLES_OF_A_CHARACTER = 96

# With these harmless faults, the utterance is complete.
HARMLESS = [
    "accept_delay:0.05",
    "response_delay:0.05",
    "delay:0.01",
    "slow:200000",
    *(f"{fault}@{after}" for after in range(MESSAGES) for fault in ("pause:0.05", "fragments:7")),
    *(f"{fault}@{after}" for after in range(MESSAGES) for fault in ("ping", "unknown_message")),
    *(f"binary@{after}" for after in range(MESSAGES)),
    *(f"error:3@{after}" for after in range(MESSAGES)),
    "lose@0",  # no call waits for contextCreated
    "bad_json@0",
    "duplicate@0",
    f"duplicate@{MESSAGES - 1}",
]

# (fault, error, words) of faults before the connection is open.
BEFORE: list[tuple[str, type[InworldError], str]] = [
    ("http_status:400", ServiceError, "HTTP status 400"),
    ("http_status:401", AuthError, "HTTP status 401"),
    ("http_status:403", AuthError, "HTTP status 403"),
    ("http_status:402", QuotaError, "HTTP status 402"),
    ("http_status:429", QuotaError, "HTTP status 429"),
    ("http_status:500", ServiceError, "HTTP status 500"),
    ("drop_request", ConnectError, ""),
    ("reset_request", ConnectError, ""),
    ("response_delay:2", DeadlineExceeded, "took longer than 1 s"),
    ("accept_delay:2", DeadlineExceeded, "took longer than 1 s"),
]

# (fault, error, words) of faults that end the connection at any message.
FATAL: list[tuple[str, type[InworldError], str]] = [
    ("drop", ConnectionLost, "without a CLOSE frame"),
    ("reset", ConnectionLost, ""),
    ("close:1000", ConnectionLost, "contexts open"),
    ("close:1011", ConnectionLost, "1011"),
    ("close:4000", ConnectionLost, "4000"),
    ("half_frame", ConnectionLost, ""),
    ("bad_utf8", RemoteProtocolError, "UTF-8"),
    ("reserved_opcode", ProtocolError, ""),
    ("masked", ProtocolError, "mask"),
    ("huge_frame:99999999999", ProtocolError, ""),
    ("fatal_error:7", AuthError, "code 7"),
    ("fatal_error:16", AuthError, "code 16"),
    ("fatal_error:13", ServiceError, "code 13"),
    ("stall", DeadlineExceeded, "the service did not answer"),
]

# Faults that cannot be detected, because messages have no numbers. Audio or the end of a generation
# arrives twice or never. The audio of the utterance is wrong, but the utterance must still end.
UNNOTICED = [
    f"{fault}@{after}" for after in (1, 2, 3, 4) for fault in ("lose", "duplicate", "bad_json")
]


@pytest.fixture
def server() -> object:
    with Emulator(
        synthesizer=SpellingSynthesizer(SAMPLES_OF_A_CHARACTER),
        settings=Settings(chunk_ms=CHUNK_MS),
    ) as server:
        yield server


@pytest.fixture
def limiter() -> CountingLimiter:
    return CountingLimiter(1)


@pytest.fixture
def iw(server: Emulator, limiter: CountingLimiter) -> object:
    with Inworld(
        api_key=server.api_key,
        base_url=server.url,
        limiter=limiter,
        close_timeout=0.2,
        max_retries=0,
    ) as client:
        yield client
    assert 0 == limiter.taken


def spoken(iw: Inworld, timeout: float = 30) -> str:
    audio = AudioConfig("PCM", 24000)
    return spelled(
        iw.tts.synthesize(TEXT, audio=audio, timeout=timeout).data, SAMPLES_OF_A_CHARACTER
    )


def test_the_table_knows_every_kind() -> None:
    """Every kind of WebSocket fault is in one of the lists."""
    faults = [*HARMLESS, *UNNOTICED, *(fault for fault, *_ in [*BEFORE, *FATAL]), "cut_upload"]

    kinds = {kind.value for kind in set(FaultKind) - WEBRTC_KINDS}
    assert kinds == {f.partition("@")[0].split(":")[0] for f in faults}


@pytest.mark.parametrize("fault", HARMLESS)
def test_harmless(server: Emulator, iw: Inworld, fault: str) -> None:
    """After a harmless fault, the speech is complete."""
    server.faults.add(fault)

    assert TEXT == spoken(iw)


@pytest.mark.parametrize(("fault", "error", "words"), BEFORE)
def test_no_connection(
    server: Emulator, iw: Inworld, fault: str, error: type[InworldError], words: str
) -> None:
    """If a connection cannot be opened, an error of the right class is raised."""
    server.faults.add(fault)
    with pytest.raises(error, match=words or None):
        spoken(iw, 1 if error is DeadlineExceeded else 30)

    assert TEXT == spoken(iw)


@pytest.mark.parametrize(("fault", "error", "words"), FATAL)
@pytest.mark.parametrize("after", range(MESSAGES))
def test_fatal(
    server: Emulator,
    iw: Inworld,
    fault: str,
    error: type[InworldError],
    words: str,
    after: int,
) -> None:
    """A fatal fault raises an error that has the earlier audio. The next connection works."""
    server.faults.add(f"{fault}@{after}")
    with pytest.raises(error, match=words or None) as caught:
        spoken(iw, 1 if error is DeadlineExceeded else 30)
    partial = caught.value.partial
    data = partial.data if isinstance(partial, Speech) else b""

    assert TEXT.startswith(spelled(data[: len(data) // 192 * 192], SAMPLES_OF_A_CHARACTER))
    # After a stall, the timeout may have passed before the last messages arrived.
    count, expected = -(-len(data) // (CHUNK_MS * 48)), min(max(after - 1, 0), 3)
    assert count == expected or (error is DeadlineExceeded and count < expected)
    assert TEXT == spoken(iw)


@pytest.mark.parametrize("fault", UNNOTICED)
def test_undetectable(server: Emulator, iw: Inworld, fault: str) -> None:
    """After a fault that cannot be detected, the utterance still ends."""
    server.faults.add(fault)
    spoken(iw) if fault[-1] == "4" else iw.tts.synthesize(TEXT, timeout=30)

    assert TEXT == spoken(iw)


def test_the_end_is_lost(server: Emulator, iw: Inworld) -> None:
    """If the last message of an utterance is lost, the call raises an error at its timeout."""
    server.faults.add(f"lose@{MESSAGES - 1}")
    with pytest.raises(DeadlineExceeded) as caught:
        spoken(iw, 3)

    assert isinstance(caught.value.partial, Speech)
    assert TEXT == spelled(caught.value.partial.data, SAMPLES_OF_A_CHARACTER)
    assert TEXT == spoken(iw)


@pytest.mark.parametrize("fault", ["drop@4", "close:1000@4", "reset@2", "masked@3"])
def test_the_end_of_a_connection_ends_every_context(
    server: Emulator, iw: Inworld, fault: str
) -> None:
    """If a connection ends, every context on this connection ends with an error."""
    server.faults.add(fault)
    with iw.tts.connect() as connection:
        contexts = [connection.context() for _ in range(3)]
        contexts[0].send(TEXT)
        contexts[0].flush()
        for context in contexts:
            with pytest.raises(InworldError):
                list(context.events(30))


def test_idle_cut(limiter: CountingLimiter) -> None:
    """An idle connection that the service closes is replaced without an error."""
    settings = Settings(idle_timeout=0.5, chunk_ms=CHUNK_MS)
    with (
        Emulator(synthesizer=SpellingSynthesizer(SAMPLES_OF_A_CHARACTER), settings=settings) as s,
        Inworld(api_key=s.api_key, base_url=s.url, limiter=limiter, ping_interval=60) as iw,
    ):
        for _ in range(3):
            assert TEXT == spoken(iw)
            while limiter.taken:
                threading.Event().wait(0.001)


@pytest.mark.parametrize(
    "quirks",
    [
        {"status_in_audio_chunk": True},
        {"word_tokens": False},
        {"word_tokens": False, "spaces_in_words": True},
    ],
    ids=str,
)
def test_quirks(quirks: dict[str, bool]) -> None:
    """The client reads all documented forms of a message."""
    settings = Settings(**quirks)
    with (
        Emulator(synthesizer=SpellingSynthesizer(), settings=settings) as server,
        Inworld(api_key=server.api_key, base_url=server.url) as iw,
    ):
        speech = iw.tts.synthesize("Some words here.")

    assert ["Some", "words", "here."] == [word.text for word in speech.words]


def test_a_slow_server(limiter: CountingLimiter) -> None:
    """Latency and a slow pace change only the duration of the call, not the speech."""
    settings = Settings(latency_ms=20, pace=4, chunk_ms=CHUNK_MS)
    with (
        Emulator(synthesizer=SpellingSynthesizer(SAMPLES_OF_A_CHARACTER), settings=settings) as s,
        Inworld(api_key=s.api_key, base_url=s.url, limiter=limiter) as iw,
    ):
        assert TEXT == spoken(iw)
