"""Speech on its way to the ear: played item by item, and cut to what was heard of it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from inworld_sync import ConfigError, DeadlineExceeded, DeviceError, NullSpeaker
from inworld_sync.audio.playout import Playout
from inworld_sync.models.realtime import (
    AudioDelta,
    BackchannelDelta,
    InputAudioCleared,
    ResponseDone,
    SemanticVad,
    Session,
)
from inworld_sync.sessions.realtime.events import Interrupted, ResponseStarted
from inworld_sync.sessions.realtime.session import RealtimeSession

from support.scripted_realtime import Service, realtime

PATIENCE_SECONDS = 30.0


class Ear:
    """
    A speaker that hears exactly what a test lets it hear.

    It takes everything at once. ``hear`` moves it on; a clear drops what was not heard.
    """

    def __init__(self, sample_rate_hz: int = 24000) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.changed = threading.Condition()
        self.written = bytearray()
        self.heard = bytearray()
        self.events: list[str] = []
        self.failure: Exception | None = None

    @property
    def heard_samples(self) -> int:
        with self.changed:
            return len(self.heard) // 2

    def write(self, pcm: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        with self.changed:
            if self.failure is not None:
                raise self.failure
            self.written += pcm
            self.changed.notify_all()

    def end(self) -> None:
        with self.changed:
            self.events.append("end")
            self.changed.notify_all()

    def clear(self) -> int:
        with self.changed:
            del self.written[len(self.heard) :]
            self.events.append("clear")
            self.changed.notify_all()
            return len(self.heard) // 2

    def drain(self, *, timeout: float | None = None) -> None:
        self.wait_for(lambda: self.heard == self.written)

    def close(self) -> None:
        self.events.append("close")

    # For the test.

    def wait_for(self, reached: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(reached, PATIENCE_SECONDS)

    def take(self, samples: int) -> None:
        """Wait until so many samples were written in all."""
        self.wait_for(lambda: len(self.written) // 2 >= samples)

    def hear(self, samples: int) -> None:
        """Hear so many samples more."""
        with self.changed:
            self.heard = self.written[: len(self.heard) + 2 * samples]
            self.changed.notify_all()


def noise(samples: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype("<i2").tobytes()


class Talk:
    """
    A service that speaks as it is told by the test, step by step, on its own connection.

    Attributes:
        cuts: What the client has cut, by item.
        cancelled: The responses that it has cancelled.
    """

    def __init__(self) -> None:
        self.steps: list[Callable[[Service], None]] = []
        self.changed = threading.Condition()
        self.cuts: list[tuple[str, int, int]] = []
        self.cancelled: list[str] = []
        self.markers = 0

    def script(self, service: Service) -> None:
        service.open()
        service.until("output_audio_buffer.clear")
        while True:
            with self.changed:
                step = self.steps.pop(0) if self.steps else None
            if step is not None:
                step(service)
            command = service.command()
            with self.changed:
                if command["type"] == "conversation.item.truncate":
                    place = (command["item_id"], command["content_index"])
                    self.cuts.append((*place, command["audio_end_ms"]))
                elif command["type"] == "response.cancel":
                    self.cancelled.append(command["response_id"])
                elif command["type"] == "input_audio_buffer.clear":
                    self.markers += 1
                    service.event("input_audio_buffer.cleared")
                self.changed.notify_all()


class Stage:
    """A session, what it plays on, and the service that it talks with."""

    def __init__(self, rt: RealtimeSession, talk: Talk) -> None:
        self.rt = rt
        self.talk = talk
        self.events = rt.subscribe()
        self._begun = False

    def do(self, *steps: Callable[[Service], None]) -> None:
        """Have the service say something, and wait until the session has followed it."""

        def step(service: Service) -> None:
            for each in steps:
                each(service)

        with self.talk.changed:
            self.talk.steps.append(step)
        if not self._begun:
            self._begun = True
            self.rt.clear_output()
        self.settle()

    def settle(self) -> None:
        """Wait until everything that was said before is done on both sides."""
        marker = self.talk.markers + 1
        self.rt.clear()
        with self.talk.changed:
            assert self.talk.changed.wait_for(lambda: self.talk.markers >= marker, PATIENCE_SECONDS)
        while not isinstance(self.events.get(PATIENCE_SECONDS), InputAudioCleared):
            pass


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def stage(talk: Talk, request: pytest.FixtureRequest) -> Iterator[Stage]:
    session = getattr(request, "param", None)
    with realtime(talk.script) as iw, iw.realtime.connect(session) as rt:
        yield Stage(rt, talk)


def say(
    response_id: str, item_id: str, samples: int, *, done: bool = True
) -> Callable[[Service], None]:
    def step(service: Service) -> None:
        service.created(response_id)
        service.item(response_id, item_id)
        data = noise(samples)
        for start in range(0, len(data), 9600):
            service.audio(response_id, item_id, data[start : start + 9600])
        if done:
            service.item_done(response_id, item_id)
            service.done(response_id)

    return step


def speech_started(service: Service) -> None:
    service.event("input_audio_buffer.speech_started", audio_start_ms=0, item_id="u1")


def interrupted(stage: Stage) -> Interrupted:
    """Have the user begin to speak; give what the session says of it."""
    stage.talk.steps.append(speech_started)
    stage.rt.clear()
    while True:
        event = stage.events.get(PATIENCE_SECONDS)
        if isinstance(event, Interrupted):
            stage.settle()
            return event


# Playing.


def test_items_play_one_after_another(stage: Stage) -> None:
    """All speech of a session is written to its speaker, and each item's end is told to it."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 12000), say("r2", "a2", 7000))
    ear.take(19000)
    ear.wait_for(lambda: ear.events.count("end") == 2)

    assert noise(12000) + noise(7000) == bytes(ear.written)


@pytest.mark.parametrize("stage", [Session(output_format="g711_ulaw")], indirect=True)
def test_speech_is_converted_for_the_speaker(stage: Stage) -> None:
    """Speech of another format and rate plays at its own pitch and length."""
    ear = Ear(24000)
    stage.rt.play(ear)
    stage.do(
        lambda s: s.created("r1"),
        lambda s: s.audio("r1", "a1", bytes([0xFF]) * 8000),
        lambda s: s.item_done("r1", "a1"),
        lambda s: s.done("r1"),
    )
    ear.wait_for(lambda: "end" in ear.events)

    assert 24000 == len(ear.written) // 2


def test_draining(stage: Stage) -> None:
    """Draining waits until everything that has come is heard."""
    ear = Ear()
    with pytest.raises(ConfigError, match="call play"):
        stage.rt.drain(1)
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400))
    drained = threading.Thread(target=stage.rt.drain, args=(PATIENCE_SECONDS,))
    drained.start()
    ear.take(2400)
    drained.join(0.05)
    still = drained.is_alive()
    ear.hear(2400)
    drained.join(PATIENCE_SECONDS)

    assert (True, False) == (still, drained.is_alive())


def test_draining_has_a_deadline(stage: Stage) -> None:
    """A speaker that stands still costs the timeout."""
    with NullSpeaker(24000) as speaker:
        speaker.pause()
        stage.rt.play(speaker)
        stage.do(say("r1", "a1", 24000))
        with pytest.raises(DeadlineExceeded):
            stage.rt.drain(0.1)


def test_playing_on_nothing_any_more(stage: Stage) -> None:
    """After play(None) nothing more is written, and what was is dropped."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400))
    ear.take(2400)
    stage.rt.play(None)
    stage.do(say("r2", "a2", 2400))

    assert b"" == ear.written
    assert "close" not in ear.events


def test_a_speaker_that_fails(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A speaker that fails is logged once, and the session goes on without it."""
    ear = Ear()
    ear.failure = DeviceError("unplugged")
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 48000), say("r2", "a2", 48000))
    with pytest.raises(DeviceError, match="unplugged"):
        stage.rt.drain(PATIENCE_SECONDS)

    assert 1 == caplog.text.count("unplugged")
    assert stage.rt.ended is None


# Interruptions.

# (samples that were heard of an item of 24000, the cut in ms): all positions that matter.
HEARD = [(0, 0), (1, 0), (23, 0), (24, 1), (12000, 500), (23999, 999)]


@pytest.mark.parametrize(("samples", "cut_ms"), HEARD)
def test_cut_to_what_was_heard(stage: Stage, samples: int, cut_ms: int) -> None:
    """When the user speaks, the speaker falls silent and the item is cut to what was heard."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000))
    ear.take(24000)
    ear.hear(samples)
    event = interrupted(stage)

    assert [("a1", 0, cut_ms)] == stage.talk.cuts
    assert ({"a1": pytest.approx(samples / 24)}, ()) == (event.heard_ms, event.cancelled)
    assert ear.heard == ear.written
    assert [] == stage.talk.cancelled


def test_nothing_is_cut_that_was_heard(stage: Stage) -> None:
    """Speech that was heard to its end is not cut, and the user interrupts nothing."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000))
    ear.take(24000)
    ear.hear(24000)
    stage.do(speech_started)

    assert ([], []) == (stage.talk.cuts, stage.talk.cancelled)


def test_a_reply_under_way_is_cancelled_first(stage: Stage) -> None:
    """A reply that is still being given is cancelled, then cut."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000, done=False))
    ear.take(24000)
    ear.hear(2400)
    event = interrupted(stage)

    assert ((("r1",)), ["r1"], [("a1", 0, 100)]) == (
        event.cancelled,
        stage.talk.cancelled,
        stage.talk.cuts,
    )


def test_all_heard_of_an_item_that_goes_on(stage: Stage) -> None:
    """An item of which more was to come is cut even where all that came was heard."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400, done=False))
    ear.take(2400)
    ear.hear(2400)
    interrupted(stage)

    assert [("a1", 0, 100)] == stage.talk.cuts


def test_each_item_by_itself(stage: Stage) -> None:
    """Of several items each is cut by its own count: one whole, one in part, one not at all."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000), say("r2", "a2", 24000), say("r3", "a3", 24000))
    ear.take(72000)
    ear.hear(30000)
    event = interrupted(stage)

    assert [("a2", 0, 250), ("a3", 0, 0)] == stage.talk.cuts
    assert {"a2": 250.0, "a3": 0.0} == event.heard_ms


def test_the_count_goes_on_after_a_cut(stage: Stage) -> None:
    """What is said after an interruption is counted from its own beginning."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000))
    ear.take(24000)
    ear.hear(6000)
    interrupted(stage)
    stage.do(say("r2", "a2", 24000))
    ear.take(6000 + 24000)
    ear.hear(2400)
    interrupted(stage)

    assert [("a1", 0, 250), ("a2", 0, 100)] == stage.talk.cuts


def test_late_speech_is_dropped(stage: Stage) -> None:
    """Speech that was on its way when the user spoke is neither played nor told."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400, done=False))
    ear.take(2400)
    interrupted(stage)
    told = stage.rt.subscribe()
    stage.do(
        lambda s: s.audio("r1", "a1", noise(2400)),
        lambda s: s.transcript("r1", "a1", "late"),
        lambda s: s.done("r1", "cancelled"),
        lambda s: s.audio("r1", "a1", noise(2400)),
        say("r2", "a2", 1200),
    )
    ear.take(1200)
    items = []
    while not isinstance(event := told.get(PATIENCE_SECONDS), ResponseDone) or (
        event.response.id != "r2"
    ):
        if isinstance(event, AudioDelta):
            items.append(event.item_id)

    assert ["a2"] == items
    assert noise(1200) == bytes(ear.written)


def test_cancelled_by_the_service_itself(stage: Stage) -> None:
    """A reply that the service has cancelled by itself is cut, and not cancelled again."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000, done=False), lambda s: s.done("r1", "cancelled"))
    ear.take(24000)
    ear.hear(2400)
    event = interrupted(stage)

    assert ["a1"] == [cut[0] for cut in stage.talk.cuts]
    assert ([], ()) == (stage.talk.cancelled, event.cancelled)


@pytest.mark.parametrize(
    "stage",
    [Session(turn_detection=SemanticVad(interrupt_response=False))],
    indirect=True,
)
def test_speech_need_not_interrupt(stage: Stage) -> None:
    """A session whose turns do not interrupt goes on speaking."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400, done=False), speech_started)
    ear.take(2400)

    assert ([], [], []) == (stage.talk.cuts, stage.talk.cancelled, ear.events)


def test_without_barge_in(talk: Talk) -> None:
    """``barge_in=False`` leaves the assistant's speech alone."""
    with realtime(talk.script) as iw, iw.realtime.connect(barge_in=False) as rt:
        stage, ear = Stage(rt, talk), Ear()
        rt.play(ear)
        stage.do(say("r1", "a1", 2400, done=False), speech_started)
        ear.take(2400)

        assert ([], []) == (talk.cuts, talk.cancelled)


def test_interrupting_by_hand(stage: Stage) -> None:
    """interrupt() does at once what the user's speech does, and says what was heard."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000, done=False))
    ear.take(24000)
    ear.hear(4800)
    waiting = stage.rt.respond()
    event = stage.rt.interrupt()
    again = stage.rt.interrupt()
    stage.settle()

    assert ({"a1": 200.0}, ("r1",)) == (event.heard_ms, event.cancelled)
    assert ({}, ()) == (again.heard_ms, again.cancelled)
    assert ([("a1", 0, 200)], ["r1"]) == (stage.talk.cuts, stage.talk.cancelled)
    assert "cancelled" == waiting.status


def test_an_application_that_plays_by_itself(stage: Stage) -> None:
    """Without a speaker here, what is cut is what the application says that it played."""
    stage.do(say("r1", "a1", 24000), say("r2", "a2", 24000))
    event = stage.rt.interrupt({"a2": 125.0})
    stage.settle()

    assert [("a2", 0, 125)] == stage.talk.cuts
    assert {"a2": 125.0} == event.heard_ms


# (what the application says, the cut): never beyond what was received, never below zero.
CLAMPED = [(5000.0, 1000), (-3.0, 0)]


@pytest.mark.parametrize(("heard_ms", "cut_ms"), CLAMPED)
def test_what_was_heard_is_clamped(stage: Stage, heard_ms: float, cut_ms: int) -> None:
    """A cut is within what was received, whatever an application says."""
    stage.do(say("r1", "a1", 24000, done=False))
    stage.rt.interrupt({"a1": heard_ms})
    stage.settle()

    assert [("a1", 0, cut_ms)] == stage.talk.cuts


def test_nobody_plays(stage: Stage) -> None:
    """Without a speaker nothing is known of what was heard, so nothing is cut."""
    stage.do(say("r1", "a1", 24000, done=False))
    event = interrupted(stage)

    assert ({}, ("r1",)) == (event.heard_ms, event.cancelled)
    assert ([], ["r1"]) == (stage.talk.cuts, stage.talk.cancelled)


@pytest.mark.parametrize("stage", [Session(output_format="g711_ulaw")], indirect=True)
def test_g711_is_cut_by_its_own_clock(stage: Stage) -> None:
    """In a G.711 session the service is told a third of the real milliseconds."""
    ear = Ear(8000)
    stage.rt.play(ear)
    stage.do(lambda s: s.created("r1"), lambda s: s.audio("r1", "a1", bytes(8000)))
    ear.take(8000)
    ear.hear(6000)
    event = interrupted(stage)

    assert ([("a1", 0, 250)], {"a1": 750.0}) == (stage.talk.cuts, event.heard_ms)


def test_a_speaker_of_another_rate(stage: Stage) -> None:
    """What was heard at the speaker's rate is counted at the session's."""
    ear = Ear(16000)
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000))
    ear.take(16000)
    ear.hear(4000)
    interrupted(stage)

    assert [("a1", 0, 250)] == stage.talk.cuts


def test_a_speaker_of_another_rate_that_heard_all(stage: Stage) -> None:
    """At another rate too, what was heard to its end is not cut by a rounding."""
    ear = Ear(11025)
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24007))
    ear.wait_for(lambda: "end" in ear.events)
    ear.hear(1 << 20)
    stage.do(speech_started)

    assert [] == stage.talk.cuts


def test_a_playout(stage: Stage) -> None:
    """A playout that something else reads is cut to what was read of it."""
    playout = Playout(24000, time_scaling=False, start_ms=10, fade_ms=1)
    stage.rt.play(playout)
    stage.do(say("r1", "a1", 24000))
    out = bytearray(24000)
    while playout.stats().queued_ms < 1000:
        threading.Event().wait(0.001)
    playout.read(out)
    event = interrupted(stage)
    [(item_id, _, cut_ms)] = stage.talk.cuts

    assert noise(12000) == bytes(out)
    assert ("a1", 500) == (item_id, cut_ms - cut_ms % 5)
    assert 500 <= event.heard_ms["a1"] <= 502
    playout.close()


def test_a_playout_that_was_read_out(stage: Stage) -> None:
    """What was read of a playout to its end is not cut."""
    playout = Playout(24000, time_scaling=False, start_ms=10)
    stage.rt.play(playout)
    stage.do(say("r1", "a1", 2400))
    while playout.stats().queued_ms < 100:
        threading.Event().wait(0.001)
    playout.read(bytearray(9600))
    stage.do(speech_started)

    assert [] == stage.talk.cuts
    playout.close()


def test_a_full_playout_holds_the_speech(stage: Stage) -> None:
    """A playout without room is waited for; nothing is lost, and an interruption still works."""
    playout = Playout(24000, time_scaling=False, start_ms=10, capacity_ms=300)
    stage.rt.play(playout)
    stage.do(say("r1", "a1", 24000))
    out = bytearray()
    while len(out) < 24000:
        block = bytearray(480)
        while playout.stats().queued_ms < 10:
            threading.Event().wait(0.001)
        out += block[: 2 * playout.read(block)]
    sound = bytes(out)
    event = interrupted(stage)

    assert noise(24000)[: len(sound)] == sound
    assert len(sound) / 48 <= event.heard_ms["a1"] <= len(sound) / 48 + 6
    playout.close()


def test_a_playout_behind_a_latency(stage: Stage) -> None:
    """What the reader took and drops again is not heard."""
    playout = Playout(24000, time_scaling=False, start_ms=10)
    stage.rt.play(playout, latency_ms=200)
    stage.do(say("r1", "a1", 24000))
    while playout.stats().queued_ms < 1000:
        threading.Event().wait(0.001)
    playout.read(bytearray(24000))

    assert {"a1": 300.0} == interrupted(stage).heard_ms
    playout.close()


def test_a_playout_that_its_owner_closed(stage: Stage) -> None:
    """An interruption after that raises nothing, and reports what was known to be heard."""
    playout = Playout(24000, time_scaling=False, start_ms=10)
    stage.rt.play(playout)
    stage.do(say("r1", "a1", 24000))
    while playout.stats().queued_ms < 1000:
        threading.Event().wait(0.001)
    playout.close()

    assert {"a1": 0.0} == interrupted(stage).heard_ms


def test_two_channels_are_refused(stage: Stage) -> None:
    """A playout of two channels cannot play a session."""
    with Playout(24000, 2) as playout, pytest.raises(ConfigError, match="1 channel"):
        stage.rt.play(playout)
    with pytest.raises(ConfigError, match="expected a speaker"):
        stage.rt.play("speaker")  # type: ignore[arg-type]


def test_a_reply_that_plays_alone_is_cut_too(stage: Stage) -> None:
    """A reply on a speaker of its own is stopped and cut like the session's speech."""
    ear = Ear()
    starts = stage.rt.subscribe()
    stage.do(say("r1", "a1", 24000, done=False))
    while not isinstance(event := starts.get(PATIENCE_SECONDS), ResponseStarted):
        pass
    playback = event.response.audio.play(ear)
    ear.take(24000)
    ear.hear(6000)
    interrupted(stage)

    assert [("a1", 0, 250)] == stage.talk.cuts
    assert (True, 250.0) == (playback.done, playback.heard_ms)


def test_a_reply_that_was_played_out_is_not_cut(stage: Stage) -> None:
    """A reply that was heard to its end on a speaker of its own is not cut later."""
    starts = stage.rt.subscribe()
    stage.do(say("r1", "a1", 2400))
    while not isinstance(event := starts.get(PATIENCE_SECONDS), ResponseStarted):
        pass
    with NullSpeaker(24000) as speaker:
        event.response.audio.play(speaker).wait(PATIENCE_SECONDS)
        stage.do(speech_started)

    assert [] == stage.talk.cuts


# Sounds of listening.


def test_sounds_of_listening_are_left_alone(stage: Stage) -> None:
    """A sound of listening plays on its own speaker; nothing interrupts it, and it nobody."""
    ear, second = Ear(), Ear()
    stage.rt.play(ear, backchannel=second)
    hum = noise(1200, seed=2)
    stage.do(
        say("r1", "a1", 24000),
        lambda s: s.event(
            "response.backchannel.audio.delta",
            backchannel_id="b1",
            delta=base64.b64encode(hum).decode(),
        ),
    )
    ear.take(24000)
    second.take(1200)
    interrupted(stage)
    stage.do(
        lambda s: s.event("response.backchannel.audio.done", backchannel_id="b1", phrase="uh-huh"),
    )
    second.wait_for(lambda: "end" in second.events)

    assert (hum, ["end"]) == (bytes(second.written), second.events)
    assert ["a1"] == [cut[0] for cut in stage.talk.cuts]


@pytest.mark.parametrize("kind", [AudioDelta, BackchannelDelta])
def test_events_have_whole_samples(stage: Stage, kind: type[AudioDelta | BackchannelDelta]) -> None:
    """Audio that is cut inside a sample is whole in events, as bytes, and nothing is lost."""
    sent = noise(1200, seed=3)
    pieces = [sent[:7], sent[7:8], sent[8:1001], sent[1001:]]
    place = {"response_id": "r1", "item_id": "a1", "backchannel_id": "b1"}
    with stage.rt.subscribe() as events:
        for piece in pieces:
            delta = base64.b64encode(piece).decode()
            stage.do(lambda s, delta=delta: s.event(kind.type, **place, delta=delta))
        found = []
        while len(found) < len(pieces):
            event = events.get(PATIENCE_SECONDS)
            found += [event.audio] if isinstance(event, kind) else []

    assert [6, 2, 992, len(sent) - 1000] == [len(audio) for audio in found]
    assert sent == b"".join(found)


# Many at once.


def test_interruptions_from_many_threads(stage: Stage) -> None:
    """However many interrupt at once, an item is cut once."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000, done=False))
    ear.take(24000)
    ear.hear(2400)
    threads = [threading.Thread(target=stage.rt.interrupt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    stage.settle()

    assert ([("a1", 0, 100)], ["r1"]) == (stage.talk.cuts, stage.talk.cancelled)


def test_a_real_device_clock(talk: Talk) -> None:
    """With a speaker of real time, what is cut is near what the ear got, and never beyond it."""
    with realtime(talk.script) as iw, iw.realtime.connect() as rt, NullSpeaker(24000) as speaker:
        stage = Stage(rt, talk)
        rt.play(speaker)
        stage.do(say("r1", "a1", 720_000, done=False))
        while speaker.heard_samples < 4800:
            threading.Event().wait(0.005)
        interrupted(stage)
        [(_, _, cut_ms)] = talk.cuts

        assert cut_ms == speaker.heard_samples * 1000 // 24000
        assert 200 <= cut_ms < 30_000
