"""Tests of opening, updates, commands, audio, events and the end of a realtime session."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any, get_args

import numpy as np
import pytest

import inworld_sync
from inworld_sync import (
    AudioError,
    AuthError,
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    InvalidRequestError,
    Inworld,
    LocalProtocolError,
    NotFoundError,
    QuotaError,
    ServiceError,
    StreamEnded,
    UnknownEvent,
)
from inworld_sync.audio import g711, pcm
from inworld_sync.models.realtime import (
    CancelResponse,
    ClearOutputAudio,
    CreateItem,
    CreateResponse,
    ErrorReported,
    InputText,
    ManualTurns,
    Memory,
    Message,
    PcmFormat,
    PingReceived,
    ProviderData,
    RealtimeEvent,
    SemanticVad,
    Session,
    SessionCreated,
    SessionUpdated,
    TtsTuning,
    UpdateSession,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.sessions.realtime.events import SESSION_EVENT_CLASSES, SessionEvent
from inworld_sync.wire.realtime.endpoint import RealtimeEndpoint

from support.counting import CountingLimiter
from support.peers import Peer, serve
from support.scripted import KEY
from support.scripted_realtime import Event, Service, obedient, realtime


def idle(service: Service) -> None:
    """Open the session, then only read."""
    service.open()
    service.until_left()


# Opening.


def test_settings_are_sent_and_mirrored() -> None:
    """When ``connect`` returns, the session has the requested settings."""
    with realtime(idle) as iw:
        session = Session(instructions="Be brief.", voice="Sarah", turn_detection=SemanticVad())
        with iw.realtime.connect(session) as rt:
            assert ("sess_1", "Be brief.", "Sarah") == (
                rt.id,
                rt.session.instructions,
                rt.session.voice,
            )


def test_the_update_does_not_wait_for_the_service() -> None:
    """The client sends its settings before any message of the service has arrived."""
    asked: list[Event] = []

    def script(service: Service) -> None:
        asked.append(service.until("session.update")["session"])
        service.event("session.created", session=service.session)
        service.event("session.updated", session={**service.session, "instructions": "Hi."})
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(Session(instructions="Hi.")) as rt:
        assert "Hi." == rt.session.instructions

    assert "Hi." == asked[0]["instructions"]


def test_the_address_names_the_session() -> None:
    """The URL of a session has the given key, or a new key for each session."""
    lines: list[str] = []

    def script(service: Service) -> None:
        lines.append(service.peer.request.decode().split("\r\n")[0])
        idle(service)

    with realtime(script) as iw:
        with iw.realtime.connect(key="my key/1") as rt:
            assert "my key/1" == rt.key
        with iw.realtime.connect() as first, iw.realtime.connect() as second:
            assert first.key != second.key

    path = "/api/v1/realtime/session"
    assert f"GET {path}?key=my+key%2F1&protocol=realtime HTTP/1.1" == lines[0]


def test_auto_tool_response_is_off() -> None:
    """``auto_tool_response`` is turned off. Otherwise each tool output would be answered twice."""
    asked: list[Event] = []

    def script(service: Service) -> None:
        asked.append(service.open())
        service.until_left()

    with realtime(script) as iw:
        iw.realtime.connect().close()
        chosen = Session(provider_data=ProviderData(auto_tool_response=True, user_id="u"))
        iw.realtime.connect(chosen).close()

    assert [{"auto_tool_response": False}, {"auto_tool_response": True, "user_id": "u"}] == [
        each["providerData"] for each in asked
    ]


def refusing(code: str | None, message: str, **fields: object) -> Any:
    def script(service: Service) -> None:
        service.event("session.created", session=service.session)
        command = service.until("session.update")
        known = {"event_id": command["event_id"]} if code == "by_id" else {}
        service.error(code, message, **known, **fields)
        service.until_left()

    return script


# Codes of an error that refuses the settings; "by_id" means an error with the event id.
REFUSALS = ["invalid_value", "by_id", None]


@pytest.mark.parametrize("code", REFUSALS)
def test_refused_settings(code: str | None) -> None:
    """``connect`` raises at once if the service refuses the settings."""
    with realtime(refusing(code, "no such model")) as iw:
        with pytest.raises(InvalidRequestError, match="no such model"):
            iw.realtime.connect(Session(model="m/0"), timeout=30)


# (status, body, the error) of an upgrade that is refused by HTTP.
REJECTIONS = [
    (401, "Unauthorized", AuthError),
    (403, '{"code":7,"message":"API key does not exist"}', AuthError),
    (402, '{"error":"no credits"}', QuotaError),
    (429, "slow down", QuotaError),
    (503, "", ServiceError),
]


@pytest.mark.parametrize(("status", "body", "kind"), REJECTIONS)
def test_rejected_upgrade(status: int, body: str, kind: type[ServiceError]) -> None:
    """If the service refuses the upgrade, ``connect`` raises an error with the HTTP status."""

    def script(peer: Peer) -> None:
        peer.read_head()
        text = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        peer.send(text.encode())

    with serve(script) as server, Inworld(api_key=KEY, base_url=server.url[:-5]) as iw:
        with pytest.raises(kind) as caught:
            iw.realtime.connect()

    assert status == caught.value.status


# (a fault without a type, the error).
FAULTS = [
    ({"errorType": "SESSION_RESOURCES_EXHAUSTED", "message": "full"}, QuotaError),
    ({"error": {"code": 16, "message": "authentication is required"}}, AuthError),
    ({"error": {"type": "x", "code": "BILLING_TOKENS_EXHAUSTED", "message": ""}}, QuotaError),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
def test_fault_at_the_start(fault: Event, kind: type[ServiceError]) -> None:
    """If a fault ends the session before the session is open, ``connect`` raises this fault."""

    def script(service: Service) -> None:
        service.until("session.update")
        service.send(fault)
        service.until_left()

    with realtime(script) as iw, pytest.raises(kind):
        iw.realtime.connect()


def test_silence_at_the_start() -> None:
    """``connect`` raises after its timeout if the service sends nothing."""
    with realtime(lambda service: service.until_left()) as iw:
        with pytest.raises(DeadlineExceeded, match=r"opening the session took longer than 0\.2 s"):
            iw.realtime.connect(timeout=0.2)


def test_closed_at_the_start() -> None:
    """If the service closes the connection before the session is open, ``connect`` raises."""
    with realtime(lambda service: service.close(1011, "oops")) as iw:
        with pytest.raises(Exception, match="oops"):
            iw.realtime.connect()


def test_the_limiter_is_released() -> None:
    """A session returns its place to the limiter at every kind of end."""
    limiter = CountingLimiter(1)
    scripts = [refusing("x", "no"), lambda service: service.close(1011), idle]
    with realtime(*scripts, limiter=limiter) as iw:
        for _ in range(2):
            with pytest.raises(Exception, match=r"no|1011"):
                iw.realtime.connect()
        for _ in range(2):
            with iw.realtime.connect():
                assert 1 == limiter.taken

    assert 0 == limiter.taken


# Updates.


def test_an_update_is_merged() -> None:
    """An update is merged into the session, and ``update`` returns the merged session."""
    sent: list[Event] = []

    def script(service: Service) -> None:
        service.open()
        sent.append(service.accept_update())
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(Session(voice="Sarah", speed=1.2)) as rt:
        info = rt.update(Session(voice="Ashley"))

    assert ("Ashley", 1.2) == (info.voice, info.speed)
    assert [{"type": "realtime", "audio": {"output": {"voice": "Ashley"}}}] == sent


# Fields that name the refused update, by its event id or by its parameter.
BLAMES = [{"event_id": "its own"}, {"param": "session.audio.input.transcription.model"}]


@pytest.mark.parametrize("fields", BLAMES)
def test_a_refused_update(fields: Event) -> None:
    """A refused update raises an error, and none of its settings are applied."""

    def script(service: Service) -> None:
        service.open()
        command = service.until("session.update")
        named = {"event_id": command["event_id"]} if "event_id" in fields else fields
        service.error("invalid_value", "unknown model", **named)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(Session(voice="Sarah")) as rt:
        with pytest.raises(InvalidRequestError, match="unknown model"):
            rt.update(Session(voice="Ashley"), timeout=30)

        assert "Sarah" == rt.session.voice


def test_an_update_without_an_answer() -> None:
    """An update that the service does not answer raises after its timeout."""
    with realtime(idle) as iw, iw.realtime.connect() as rt:
        with pytest.raises(DeadlineExceeded, match="updating the session"):
            rt.update(Session(voice="Ashley"), timeout=0.05)


@pytest.mark.parametrize(
    "tuning", [TtsTuning(conversational=True), TtsTuning(user_turn_mode="both")]
)
def test_fixed_settings_are_refused(tuning: TtsTuning) -> None:
    """Settings that are fixed when a session opens are refused before they are sent."""
    with realtime(idle) as iw, iw.realtime.connect(Session()) as rt:
        with pytest.raises(LocalProtocolError, match="open another session"):
            rt.update(Session(provider_data=ProviderData(tts=tuning)))
        with pytest.raises(LocalProtocolError, match="open another session"):
            rt.send(UpdateSession(Session(provider_data=ProviderData(tts=tuning))))


def test_a_memory_cycle_is_not_an_answer() -> None:
    """A ``session.updated`` that the service sends by itself does not answer an update."""

    def script(service: Service) -> None:
        service.open()
        service.until("session.update")
        memory = {"state": {"version": 2, "summary": "They met."}}
        service.session["providerData"] = {"memory": memory}
        service.event("session.updated", session=service.session)
        service.error("invalid_value", "no such voice", param="session.audio.output.voice")
        service.until_left()

    session = Session(provider_data=ProviderData(memory=Memory(enabled=True)))
    with realtime(script) as iw, iw.realtime.connect(session) as rt:
        with pytest.raises(InvalidRequestError, match="no such voice"):
            rt.update(Session(voice="Nobody"), timeout=30)

        assert rt.session.memory is not None
        assert (2, "They met.") == (rt.session.memory.version, rt.session.memory.summary)


# Commands.


def commands_of(act: Any, *, count: int = 1, session: Session | None = None) -> list[Event]:
    """Return the commands that a session sends when *act* is called with the session."""
    seen: list[Event] = []

    def script(service: Service) -> None:
        service.open()
        for _ in range(count):
            command = service.command()
            command.pop("event_id", None)
            seen.append(command)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(session) as rt:
        act(rt)
        deadline = time.monotonic() + 30
        while len(seen) < count and time.monotonic() < deadline:
            threading.Event().wait(0.001)
    return seen


# (call, the command that is sent).
COMMANDS = [
    (lambda rt: rt.delete("i1", wait=False), {"type": "conversation.item.delete", "item_id": "i1"}),
    (lambda rt: rt.cancel(), {"type": "response.cancel"}),
    (lambda rt: rt.cancel("r1"), {"type": "response.cancel", "response_id": "r1"}),
    (lambda rt: rt.send(CancelResponse()), {"type": "response.cancel"}),
    (lambda rt: rt.clear(), {"type": "input_audio_buffer.clear"}),
    (lambda rt: rt.commit(), {"type": "input_audio_buffer.commit"}),
    (lambda rt: rt.clear_output(), {"type": "output_audio_buffer.clear"}),
    (lambda rt: rt.send(ClearOutputAudio()), {"type": "output_audio_buffer.clear"}),
    (
        lambda rt: rt.truncate("i1", 1234.9, wait=False),
        {
            "type": "conversation.item.truncate",
            "item_id": "i1",
            "content_index": 0,
            "audio_end_ms": 1234,
        },
    ),
    (
        lambda rt: rt.approve("q1", reason="fine"),
        {
            "type": "conversation.item.create",
            "item": {
                "type": "mcp_approval_response",
                "approval_request_id": "q1",
                "approve": True,
                "reason": "fine",
            },
        },
    ),
]


@pytest.mark.parametrize(("act", "expected"), COMMANDS)
def test_command(act: Any, expected: Event) -> None:
    """Each method sends its command, and nothing else."""
    [command] = commands_of(act)
    command.get("item", {}).pop("id", None)

    assert expected == command


def test_g711_is_truncated_on_a_timebase_of_24_khz() -> None:
    """In a G.711 session, ``audio_end_ms`` is a third of the real milliseconds."""
    [command] = commands_of(
        lambda rt: rt.truncate("i1", 1500, wait=False), session=Session(output_format="g711_ulaw")
    )

    assert 500 == command["audio_end_ms"]


def test_items_get_ids_and_are_mirrored() -> None:
    """The client gives an item its id. After the acknowledgment, ``conversation`` has the item."""

    def script(service: Service) -> None:
        service.open()
        service.acknowledge(service.until("conversation.item.create"))
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        item_id = rt.add(Message.user("Hi"))
        next(e for e in rt.events(timeout=30) if isinstance(e, PingReceived))
        entry = rt.item(item_id)

        assert entry is not None
        assert (item_id, True) == (rt.conversation[0].item.id, entry.is_done)
        assert (InputText("Hi"),) == entry.item.content  # type: ignore[union-attr]


def test_an_item_after_another() -> None:
    """An item may be inserted after another item. The command has the id of that item."""
    [command] = commands_of(
        lambda rt: rt.send(CreateItem(Message.user("Hi", id="i2"), previous_item_id="i1"))
    )

    assert ("i2", "i1") == (command["item"]["id"], command["previous_item_id"])


def test_retrieve() -> None:
    """``retrieve`` returns the item of the service."""

    def script(service: Service) -> None:
        service.open()
        service.until("conversation.item.retrieve")
        item = {"id": "i0", "type": "message", "role": "user", "content": []}
        service.event("conversation.item.retrieved", item=item)
        service.event("conversation.item.retrieved", item={**item, "id": "i1"})
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        assert "i1" == rt.retrieve("i1").id


def test_retrieve_a_missing_item() -> None:
    """``retrieve`` raises ``NotFoundError`` for an item that does not exist."""

    def script(service: Service) -> None:
        service.open()
        command = service.until("conversation.item.retrieve")
        service.error("item_not_found", "no item i1", event_id=command["event_id"])
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        with pytest.raises(NotFoundError, match="no item i1"):
            rt.retrieve("i1", timeout=30)


def test_raw_commands_are_tracked() -> None:
    """A response that a raw command requests is handled like any other response."""
    with realtime(obedient) as iw, iw.realtime.connect() as rt:
        rt.send(CreateItem(Message.user("raw")))
        rt.send(CreateResponse())
        reply = rt.send_message("method").wait()

        assert "You said method" == reply.text.strip()
        assert 2 == sum(
            e.item.type == "message" and e.item.role == "assistant" for e in rt.conversation
        )  # type: ignore[union-attr]


# Input audio.


def appended(act: Any, session: Session | None = None) -> list[bytes]:
    """Return the audio that a session sends if *act* sends audio and the turn is committed."""
    seen: list[bytes] = []

    def script(service: Service) -> None:
        service.open()
        while (command := service.command())["type"] != "input_audio_buffer.commit":
            seen.append(base64.b64decode(command["audio"]))
        service.event("input_audio_buffer.committed", item_id="u1")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(session) as rt:
        act(rt)
        rt.commit()
        next(iter(e for e in rt.events(timeout=30) if e.type.endswith("committed")))  # type: ignore[union-attr]
    return seen


RAMP = np.arange(-6000, 6000, dtype="<i2")

# The same 12000 samples in several forms.
FORMS = [
    RAMP.tobytes(),
    bytearray(RAMP.tobytes()),
    memoryview(RAMP.tobytes()),
    RAMP,
    (RAMP / 32768).astype("float32"),
]


@pytest.mark.parametrize("audio", FORMS, ids=lambda audio: type(audio).__name__)
def test_audio_in_any_form(audio: Any) -> None:
    """Bytes and arrays send the same audio, in blocks of 100 ms."""
    blocks = appended(lambda rt: rt.send_audio(audio))

    assert RAMP.tobytes() == b"".join(blocks)
    assert [4800] * 5 == [len(block) for block in blocks]


def test_small_pieces_are_gathered() -> None:
    """Less than 100 ms of audio is buffered until more follows or the turn is committed."""

    def act(rt: Any) -> None:
        for start in range(0, 12000, 500):
            rt.send_audio(RAMP[start : start + 500])
        rt.send_audio(RAMP[:100])

    blocks = appended(act)

    assert [4800] * 5 + [200] == [len(block) for block in blocks]
    assert RAMP.tobytes() + RAMP[:100].tobytes() == b"".join(blocks)


# (the session's input format, the function that decodes this format, the encoded ramp).
FORMATS = [
    ("audio/pcmu", g711.decode_ulaw, g711.encode_ulaw(RAMP.tobytes())),
    ("audio/pcma", g711.decode_alaw, g711.encode_alaw(RAMP.tobytes())),
    ("float32", pcm.s16_from_f32, pcm.f32_from_s16(RAMP.tobytes())),
]


@pytest.mark.parametrize(("name", "_decode", "expected"), FORMATS, ids=[f[0] for f in FORMATS])
def test_audio_in_the_format_of_the_session(name: str, _decode: Any, expected: bytes) -> None:
    """Audio is sent in the input format of the session."""
    session = Session(input_format=name)  # type: ignore[arg-type]
    rate = session.input_format.sample_rate_hz  # type: ignore[union-attr]
    blocks = appended(lambda rt: rt.send_audio(RAMP, rate), session)

    assert expected == b"".join(blocks)
    assert session.input_format.bytes_per_sample * rate // 10 == len(blocks[0])  # type: ignore[union-attr]


def test_audio_of_another_rate_and_two_channels() -> None:
    """Stereo at 48 kHz is sent as mono at the session's rate, with the same length and pitch."""
    tone = np.round(8000 * np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000)).astype("<i2")
    stereo = np.column_stack([tone, tone])
    blocks = appended(
        lambda rt: rt.send_audio(stereo, 48000, channels=2),
        Session(input_format=PcmFormat(16000)),
    )
    samples = np.frombuffer(b"".join(blocks), "<i2")
    expected = 8000 * np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000)

    assert 16000 == len(samples)
    assert 40 > np.abs(samples[400:-400] - expected[400:-400]).max()


@pytest.mark.parametrize("audio", ["text", np.array([np.nan], "float32"), [1, 2]])
def test_values_that_are_not_audio(audio: Any) -> None:
    """Values that are not audio are refused, and the session continues."""
    with realtime(idle) as iw, iw.realtime.connect() as rt:
        with pytest.raises(AudioError):
            rt.send_audio(audio)
        rt.send_audio(bytes(4800))


def test_a_service_that_reads_nothing_blocks_the_sender() -> None:
    """Audio waits for room until the timeout. No audio is dropped without an error."""

    def script(service: Service) -> None:
        service.open()
        service.peer.hold()

    settings = {"max_queued_bytes": 20_000, "close_timeout": 0.1}
    with realtime(script, **settings) as iw, iw.realtime.connect() as rt:
        with pytest.raises(DeadlineExceeded):
            for _ in range(10_000):
                rt.send_audio(bytes(48_000), timeout=0.1)


# Events.


def test_transcripts_are_the_whole_turn() -> None:
    """Each transcript is the whole turn so far, and may correct earlier words."""

    def script(service: Service) -> None:
        service.open()
        for text in ("what", "what time", "what time", "watch them"):
            service.event(
                "conversation.item.input_audio_transcription.delta", item_id="u1", delta=text
            )
        service.event(
            "conversation.item.input_audio_transcription.completed",
            item_id="u1",
            transcript="Watch them!",
        )
        service.until_left()

    texts = []
    with realtime(script) as iw, iw.realtime.connect() as rt:
        for event in rt.events(timeout=30):
            if isinstance(event, (UserTranscriptUpdated, UserTranscriptCompleted)):
                texts.append(event.transcript)
            if isinstance(event, UserTranscriptCompleted):
                break

    assert ["what", "what time", "what time", "watch them", "Watch them!"] == texts


def test_four_ways_to_read_events() -> None:
    """Handlers by class and by name, queues and iteration get the same events in order."""

    def script(service: Service) -> None:
        service.open()
        service.until("output_audio_buffer.clear")
        for number in range(50):
            service.event("ping", timestamp=number)
        service.close()

    by_class: list[int | None] = []
    by_name: list[int | None] = []
    ends: list[StreamEnded] = []
    with realtime(script) as iw, iw.realtime.connect() as rt:
        rt.on(PingReceived, lambda event: by_class.append(event.timestamp))
        rt.on("ping", lambda event: by_name.append(event.timestamp))
        rt.on(StreamEnded, ends.append)
        queue, events = rt.subscribe(), rt.events(timeout=30)
        rt.clear_output()
        iterated = [e.timestamp for e in events if isinstance(e, PingReceived)]
        queued = [e.timestamp for e in queue if isinstance(e, PingReceived)]

    assert [list(range(50))] * 4 == [by_class, by_name, iterated, queued]
    assert [("server", 1000, None)] == [(e.by, e.code, e.error) for e in ends]


def test_a_handler_for_an_event_of_another_service() -> None:
    """A class that no session emits is refused, and the error names the right class."""
    with realtime(idle) as iw, iw.realtime.connect() as rt:
        for kind in SESSION_EVENT_CLASSES:
            rt.on(kind, print)
        with pytest.raises(ConfigError, match=r"did you mean .*realtime\.InputSpeechStarted"):
            rt.on(inworld_sync.SpeechStarted, print)


def test_every_event_class_is_known() -> None:
    """Handlers can be registered for every class in the type of all events."""
    known = set(SESSION_EVENT_CLASSES)

    assert set(get_args(SessionEvent)) - {RealtimeEvent} <= known
    assert all(issubclass(each, RealtimeEvent) for each in known - set(get_args(SessionEvent)))


def test_first_events_are_buffered() -> None:
    """Events that arrive before the first consumer are buffered for this consumer."""
    with realtime(idle) as iw, iw.realtime.connect() as rt:
        events = rt.events(timeout=30)

        assert [SessionCreated, SessionUpdated] == [type(next(events)), type(next(events))]


def test_events_without_a_consumer_are_bounded() -> None:
    """Without a consumer only the newest 256 events are kept, and the others are counted."""

    def script(service: Service) -> None:
        service.open()
        for number in range(1000):
            service.event("ping", timestamp=number)
        service.acknowledge(service.until("conversation.item.create"))
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        rt.add(Message.user("Hi", id="i1"))
        while rt.item("i1") is None:
            threading.Event().wait(0.001)
        left = [e for _, e in zip(range(256), rt.events(timeout=30), strict=False)]

        # Two events precede the pings, and two events follow. The last event may arrive late.
        assert rt.unclaimed_events in (1003 - 256, 1004 - 256)
        assert isinstance(left[0], PingReceived)
        assert rt.unclaimed_events - 2 == left[0].timestamp


def test_an_iteration_that_was_left_is_bounded() -> None:
    """After an iteration was left, only the newest events are buffered."""

    def script(service: Service) -> None:
        service.open()
        service.until("output_audio_buffer.clear")
        for _ in range(600):
            service.audio("r1", "a1", bytes(48_000))
        service.event("ping", timestamp=1)
        service.acknowledge(service.until("conversation.item.create"))
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        for event in rt:
            if isinstance(event, SessionUpdated):
                break
        del event
        rt.clear_output()
        rt.add(Message.user("Hi", id="i1"))
        while rt.item("i1") is None:
            threading.Event().wait(0.001)

        assert 500 < rt.unclaimed_events


def test_unknown_messages_are_events() -> None:
    """A message of an unknown type is emitted as an ``UnknownEvent``."""

    def script(service: Service) -> None:
        service.open()
        service.event("weather.changed", to="rain")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        event = next(e for e in rt.events(timeout=30) if isinstance(e, UnknownEvent))

    assert ("weather.changed", "rain") == (event.type, event.raw["to"])


def test_errors_of_the_service_are_events_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error that belongs to no command is an event and a log entry. The session continues."""

    def script(service: Service) -> None:
        service.open()
        service.error("unknown_event_type", "what?")
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect() as rt:
        event = next(e for e in rt.events(timeout=30) if isinstance(e, ErrorReported))

        assert ("what?", None) == (event.error.message, rt.ended)
    assert "the service reports unknown_event_type: what?" in caplog.text


# The end.


def test_close_ends_everything_once() -> None:
    """After close, every wait has ended, and each further call raises an error."""
    with realtime(idle) as iw:
        rt = iw.realtime.connect()
        ended: list[StreamEnded] = []
        rt.on(StreamEnded, ended.append)
        rt.close()
        rt.close()

        assert [("client", None)] == [(each.by, each.error) for each in ended]
        assert [] == [e for e in rt.events(timeout=1) if isinstance(e, ErrorReported)]
        for act in (
            lambda: rt.send_message("Hi"),
            lambda: rt.respond(),
            lambda: rt.send_audio(bytes(4800)),
            lambda: rt.update(Session(voice="x")),
            lambda: rt.retrieve("i"),
            lambda: rt.cancel(),
            lambda: rt.add(Message.user("x")),
        ):
            with pytest.raises(ClosedError, match="was closed by the client"):
                act()


def test_close_from_anywhere() -> None:
    """A session may be closed by its own handler, or by a thread while another thread waits."""

    def script(service: Service) -> None:
        service.open()
        service.event("ping", timestamp=1)
        service.until_left()

    with realtime(script) as iw:
        rt = iw.realtime.connect()
        rt.on(PingReceived, lambda _: rt.close())
        list(rt.events(timeout=30))

        assert rt.ended is not None
        assert "client" == rt.ended.by
        rt.close()


def test_the_client_closes_its_sessions() -> None:
    """Closing the client closes every session that the client opened."""
    with realtime(idle) as iw:
        sessions = [iw.realtime.connect() for _ in range(3)]
        iw.close()

    assert ["client"] * 3 == [rt.ended.by for rt in sessions if rt.ended]


def test_a_waiting_call_wakes_with_the_end() -> None:
    """A call that waits for an answer raises at once when the session is closed."""
    with realtime(idle) as iw:
        rt = iw.realtime.connect()
        threading.Timer(0.05, rt.close).start()
        began = time.monotonic()
        with pytest.raises(ClosedError):
            rt.update(Session(voice="x"), timeout=300)

        assert 30 > time.monotonic() - began


def test_the_service_closes() -> None:
    """If the service closes normally, the session ends without an error."""

    def script(service: Service) -> None:
        service.open()
        service.close(1000, "bye")

    with realtime(script) as iw, iw.realtime.connect() as rt:
        list(rt.events(timeout=30))

        assert StreamEnded("server", 1000, "bye") == rt.ended


# (the message that ends the session, the error).
ENDS = [
    ({"errorType": "SESSION_RESOURCES_EXHAUSTED", "message": "full"}, QuotaError),
    ({"type": "error", "error": {"code": "SESSION_TOKEN_EXPIRED", "message": "old"}}, AuthError),
    ({"type": "error", "error": {"code": "SESSION_EXPIRED", "message": "60 min"}}, ServiceError),
]


@pytest.mark.parametrize(("fault", "kind"), ENDS)
def test_a_fault_ends_the_session(fault: Event, kind: type[ServiceError]) -> None:
    """Without reconnects, a fault ends the session with an error, even if the socket stays open."""

    def script(service: Service) -> None:
        service.open()
        service.send(fault)
        service.until_left()

    with realtime(script) as iw, iw.realtime.connect(reconnect_timeout=0) as rt:
        with pytest.raises(kind):
            list(rt.events(timeout=30))

        assert rt.ended is not None
        assert "server" == rt.ended.by


# Another service of the same protocol.


def test_openai_compatible_endpoint() -> None:
    """``connect`` opens a session with an OpenAI-compatible service, in the protocol of OpenAI."""
    seen: list[Event] = []
    lines: list[str] = []

    def script(service: Service) -> None:
        lines.append(service.peer.request.decode().split("\r\n")[0])
        lines.append(service.peer.header("authorization"))
        seen.append(service.open())
        seen.append(service.until("conversation.item.create"))
        for delta in ("what ", "time"):
            service.event(
                "conversation.item.input_audio_transcription.delta", item_id="u1", delta=delta
            )
        service.until_left()

    with realtime(script) as placeholder:
        url = placeholder.options.base_url
        with Inworld(token="sk-1", base_url=url) as iw:
            endpoint = RealtimeEndpoint.openai("gpt-realtime")
            with iw.realtime.connect(
                Session(turn_detection=ManualTurns()), endpoint=endpoint
            ) as rt:
                rt.add(Message.assistant("Hello."), wait=False)
                texts = [
                    event.transcript
                    for _, event in zip(range(4), rt.events(timeout=30), strict=False)
                    if isinstance(event, UserTranscriptUpdated)
                ]
                assert rt.key is None

    assert ["GET /v1/realtime?model=gpt-realtime HTTP/1.1", "Bearer sk-1"] == lines
    assert "providerData" not in seen[0]
    assert "output_text" == seen[1]["item"]["content"][0]["type"]
    assert ["what ", "what time"] == texts


def test_endpoints_are_checked() -> None:
    """A wrong path of an endpoint is refused."""
    with pytest.raises(ConfigError, match="must start with /"):
        RealtimeEndpoint(path="v1/realtime?x=1")
