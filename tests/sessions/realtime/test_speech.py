"""Speech is played item by item, and truncated to the part that was heard."""

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
from support.sound_card import until

PATIENCE_SECONDS = 30.0


class Ear:
    """
    A speaker whose playback position is moved by the test.

    The speaker accepts all audio immediately. ``hear`` moves the position. A clear drops unheard
    audio.
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

    # Methods for the test.

    def wait_for(self, reached: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(reached, PATIENCE_SECONDS)

    def take(self, samples: int) -> None:
        """Wait until *samples* samples were written in total."""
        self.wait_for(lambda: len(self.written) // 2 >= samples)

    def hear(self, samples: int) -> None:
        """Play *samples* further samples."""
        with self.changed:
            self.heard = self.written[: len(self.heard) + 2 * samples]
            self.changed.notify_all()


def noise(samples: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype("<i2").tobytes()


class Talk:
    """
    A service that the test controls step by step.

    Attributes:
        cuts: The item, the content index and the position in ms of each truncation.
        cancelled: The ids of the responses that the client has cancelled.
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
    """A session and its service."""

    def __init__(self, rt: RealtimeSession, talk: Talk) -> None:
        self.rt = rt
        self.talk = talk
        self.events = rt.subscribe()
        self._begun = False

    def do(self, *steps: Callable[[Service], None]) -> None:
        """Run steps on the service, and wait until the session has handled their messages."""

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
        """Wait until both sides have handled all earlier messages."""
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
    """Let the service report speech of the user. Return the session's event."""
    stage.talk.steps.append(speech_started)
    stage.rt.clear()
    while True:
        event = stage.events.get(PATIENCE_SECONDS)
        if isinstance(event, Interrupted):
            stage.settle()
            return event


# Playing.


def test_items_play_one_after_another(stage: Stage) -> None:
    """All speech is written to the speaker, and ``end`` is called after each item."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 12000), say("r2", "a2", 7000))
    ear.take(19000)
    ear.wait_for(lambda: ear.events.count("end") == 2)

    assert noise(12000) + noise(7000) == bytes(ear.written)


@pytest.mark.parametrize("stage", [Session(output_format="g711_ulaw")], indirect=True)
def test_speech_is_converted_for_the_speaker(stage: Stage) -> None:
    """Speech of another format and rate is converted, and keeps its duration."""
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
    """``drain`` waits until all received speech is heard."""
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
    """``drain`` raises after its timeout if the speaker does not advance."""
    with NullSpeaker(24000) as speaker:
        speaker.pause()
        stage.rt.play(speaker)
        stage.do(say("r1", "a1", 24000))
        with pytest.raises(DeadlineExceeded):
            stage.rt.drain(0.1)


def test_play_none(stage: Stage) -> None:
    """After ``play(None)`` nothing more is written, and unplayed audio is dropped."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400))
    ear.take(2400)
    stage.rt.play(None)
    stage.do(say("r2", "a2", 2400))

    assert b"" == ear.written
    assert "close" not in ear.events


def test_a_speaker_that_fails(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The error of a speaker that fails is logged once, and the session continues."""
    ear = Ear()
    ear.failure = DeviceError("unplugged")
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 48000), say("r2", "a2", 48000))
    with pytest.raises(DeviceError, match="unplugged"):
        stage.rt.drain(PATIENCE_SECONDS)

    assert 1 == caplog.text.count("unplugged")
    assert stage.rt.ended is None


class Unplugged(Ear):
    """A speaker whose clear() raises."""

    error: Exception

    def clear(self) -> int:
        raise self.error


@pytest.mark.parametrize("error", [DeviceError("unplugged"), OSError("unplugged")])
def test_a_speaker_that_cannot_be_cleared(
    stage: Stage, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """
    If clear() of a speaker raises, the truncation is still sent, and the error is logged once.
    """
    ear = Unplugged()
    ear.error = error
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000))
    ear.take(24000)
    ear.hear(12000)
    event = interrupted(stage)

    assert [("a1", 0, 500)] == stage.talk.cuts
    assert {"a1": pytest.approx(500)} == event.heard_ms
    stage.rt.play(None)
    assert 1 == caplog.text.count("the speaker failed")
    assert stage.rt.ended is None


def test_another_speaker(stage: Stage) -> None:
    """
    If the speaker changes, an interruption truncates each item to the part that its speaker played.
    """
    ears = [Ear(), Ear(), Ear()]
    for number, (ear, heard) in enumerate(zip(ears, (24000, 12000, 2400), strict=True)):
        stage.rt.play(ear)
        stage.do(say(f"r{number}", f"a{number}", 24000))
        ear.take(24000)
        ear.hear(heard)
        if number == 0:
            stage.rt.play(None)
    event = interrupted(stage)

    assert [("a1", 0, 500), ("a2", 0, 100)] == stage.talk.cuts
    assert {"a1": 500.0, "a2": 100.0} == event.heard_ms


def test_another_speaker_within_an_item(stage: Stage) -> None:
    """The second speaker plays the audio that arrives after the change."""
    first, second = Ear(), Ear()
    stage.rt.play(first)
    stage.do(say("r1", "a1", 24000, done=False))
    first.take(24000)
    first.hear(12000)
    stage.rt.play(second)
    stage.do(lambda service: service.audio("r1", "a1", noise(24000)))
    second.take(24000)
    second.hear(2400)
    interrupted(stage)

    assert [("a1", 0, 1100)] == stage.talk.cuts


# Interruptions.

# (count of heard samples of an item with 24000 samples, the truncation in ms).
HEARD = [(0, 0), (1, 0), (23, 0), (24, 1), (12000, 500), (23999, 999)]


@pytest.mark.parametrize(("samples", "cut_ms"), HEARD)
def test_truncated_to_the_heard_audio(stage: Stage, samples: int, cut_ms: int) -> None:
    """When the user speaks, the speaker stops, and the item is truncated to the heard audio."""
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


def test_speech_that_was_heard_is_not_truncated(stage: Stage) -> None:
    """Speech that was heard to its end is not truncated, and there is no interruption."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000))
    ear.take(24000)
    ear.hear(24000)
    stage.do(speech_started)

    assert ([], []) == (stage.talk.cuts, stage.talk.cancelled)


def test_a_response_in_progress_is_cancelled_first(stage: Stage) -> None:
    """A response in progress is cancelled, then its item is truncated."""
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


def test_all_heard_of_an_unfinished_item(stage: Stage) -> None:
    """An unfinished item is truncated even if all received audio was heard."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400, done=False))
    ear.take(2400)
    ear.hear(2400)
    interrupted(stage)

    assert [("a1", 0, 100)] == stage.talk.cuts


def test_each_item_by_itself(stage: Stage) -> None:
    """Each item is truncated to its own heard samples, which may be all, some or none."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000), say("r2", "a2", 24000), say("r3", "a3", 24000))
    ear.take(72000)
    ear.hear(30000)
    event = interrupted(stage)

    assert [("a2", 0, 250), ("a3", 0, 0)] == stage.talk.cuts
    assert {"a2": 250.0, "a3": 0.0} == event.heard_ms


def test_the_count_after_an_interruption(stage: Stage) -> None:
    """Speech after an interruption is counted from its own beginning."""
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
    """Speech that arrives after the interruption is neither played nor emitted."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400, done=False))
    ear.take(2400)
    interrupted(stage)
    events = stage.rt.subscribe()
    stage.do(
        lambda s: s.audio("r1", "a1", noise(2400)),
        lambda s: s.transcript("r1", "a1", "late"),
        lambda s: s.done("r1", "cancelled"),
        lambda s: s.audio("r1", "a1", noise(2400)),
        say("r2", "a2", 1200),
    )
    ear.take(1200)
    items = []
    while not isinstance(event := events.get(PATIENCE_SECONDS), ResponseDone) or (
        event.response.id != "r2"
    ):
        if isinstance(event, AudioDelta):
            items.append(event.item_id)

    assert ["a2"] == items
    assert noise(1200) == bytes(ear.written)


def test_cancelled_by_the_service_itself(stage: Stage) -> None:
    """A response that the service has cancelled is truncated, and not cancelled again."""
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
def test_interrupt_response_false(stage: Stage) -> None:
    """With ``interrupt_response=False`` the assistant continues to speak."""
    ear = Ear()
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 2400, done=False), speech_started)
    ear.take(2400)

    assert ([], [], []) == (stage.talk.cuts, stage.talk.cancelled, ear.events)


def test_without_barge_in(talk: Talk) -> None:
    """With ``barge_in=False`` the user's speech does not interrupt."""
    with realtime(talk.script) as iw, iw.realtime.connect(barge_in=False) as rt:
        stage, ear = Stage(rt, talk), Ear()
        rt.play(ear)
        stage.do(say("r1", "a1", 2400, done=False), speech_started)
        ear.take(2400)

        assert ([], []) == (talk.cuts, talk.cancelled)


def test_interrupt(stage: Stage) -> None:
    """``interrupt`` stops the speech as the user's speech does, and returns the heard time."""
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
    """Without a player, an item is truncated to the time that the application passes."""
    stage.do(say("r1", "a1", 24000), say("r2", "a2", 24000))
    event = stage.rt.interrupt({"a2": 125.0})
    stage.settle()

    assert [("a2", 0, 125)] == stage.talk.cuts
    assert {"a2": 125.0} == event.heard_ms


# (the milliseconds of the application, the truncation). The received audio has 1000 ms.
CLAMPED = [(5000.0, 1000), (-3.0, 0)]


@pytest.mark.parametrize(("heard_ms", "cut_ms"), CLAMPED)
def test_the_heard_time_is_clamped(stage: Stage, heard_ms: float, cut_ms: int) -> None:
    """A truncation is never longer than the received audio, even if the application passes more."""
    stage.do(say("r1", "a1", 24000, done=False))
    stage.rt.interrupt({"a1": heard_ms})
    stage.settle()

    assert [("a1", 0, cut_ms)] == stage.talk.cuts


def test_without_a_player(stage: Stage) -> None:
    """Without a player, the heard part of the speech is unknown, so nothing is truncated."""
    stage.do(say("r1", "a1", 24000, done=False))
    event = interrupted(stage)

    assert ({}, ("r1",)) == (event.heard_ms, event.cancelled)
    assert ([], ["r1"]) == (stage.talk.cuts, stage.talk.cancelled)


@pytest.mark.parametrize("stage", [Session(output_format="g711_ulaw")], indirect=True)
def test_g711_is_truncated_on_its_own_timebase(stage: Stage) -> None:
    """In a G.711 session, ``audio_end_ms`` is a third of the real milliseconds."""
    ear = Ear(8000)
    stage.rt.play(ear)
    stage.do(lambda s: s.created("r1"), lambda s: s.audio("r1", "a1", bytes(8000)))
    ear.take(8000)
    ear.hear(6000)
    event = interrupted(stage)

    assert ([("a1", 0, 250)], {"a1": 750.0}) == (stage.talk.cuts, event.heard_ms)


def test_a_speaker_of_another_rate(stage: Stage) -> None:
    """Samples heard at the speaker's rate are counted at the session's rate."""
    ear = Ear(16000)
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24000))
    ear.take(16000)
    ear.hear(4000)
    interrupted(stage)

    assert [("a1", 0, 250)] == stage.talk.cuts


def test_a_speaker_of_another_rate_that_heard_all(stage: Stage) -> None:
    """At another rate, rounding does not truncate an item that was heard to its end."""
    ear = Ear(11025)
    stage.rt.play(ear)
    stage.do(say("r1", "a1", 24007))
    ear.wait_for(lambda: "end" in ear.events)
    ear.hear(1 << 20)
    stage.do(speech_started)

    assert [] == stage.talk.cuts


def test_a_playout(stage: Stage) -> None:
    """An item in a playout is truncated to the audio that the application has read."""
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
    """
    If the application has read all audio of an item from a playout, the item is not truncated.
    """
    playout = Playout(24000, time_scaling=False, start_ms=10)
    stage.rt.play(playout)
    stage.do(say("r1", "a1", 2400))
    while playout.stats().queued_ms < 100:
        threading.Event().wait(0.001)
    playout.read(bytearray(9600))
    stage.do(speech_started)

    assert [] == stage.talk.cuts
    playout.close()


def test_a_full_playout(stage: Stage) -> None:
    """The session waits for room in a playout. Nothing is lost, and an interruption still works."""
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


def test_the_latency_of_a_playout(stage: Stage) -> None:
    """Audio within the latency of the reader is not counted as heard."""
    playout = Playout(24000, time_scaling=False, start_ms=10)
    stage.rt.play(playout, latency_ms=200)
    stage.do(say("r1", "a1", 24000))
    while playout.stats().queued_ms < 1000:
        threading.Event().wait(0.001)
    playout.read(bytearray(24000))

    assert {"a1": 300.0} == interrupted(stage).heard_ms
    playout.close()


def test_a_playout_that_its_owner_closed(stage: Stage) -> None:
    """If the playout was closed, an interruption reports the heard audio and raises no error."""
    playout = Playout(24000, time_scaling=False, start_ms=10)
    stage.rt.play(playout)
    stage.do(say("r1", "a1", 24000))
    while playout.stats().queued_ms < 1000:
        threading.Event().wait(0.001)
    playout.close()

    assert {"a1": 0.0} == interrupted(stage).heard_ms


def test_two_channels_are_refused(stage: Stage) -> None:
    """A playout of two channels is refused."""
    with Playout(24000, 2) as playout, pytest.raises(ConfigError, match="1 channel"):
        stage.rt.play(playout)
    with pytest.raises(ConfigError, match="expects a speaker"):
        stage.rt.play("speaker")  # type: ignore[arg-type]


def test_a_response_on_its_own_speaker_is_truncated(stage: Stage) -> None:
    """A response on its own speaker is stopped and truncated as on the session's speaker."""
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


def test_a_response_that_was_played_to_its_end_is_not_truncated(stage: Stage) -> None:
    """A response that was heard to its end on its own speaker is not truncated later."""
    starts = stage.rt.subscribe()
    stage.do(say("r1", "a1", 2400))
    while not isinstance(event := starts.get(PATIENCE_SECONDS), ResponseStarted):
        pass
    with NullSpeaker(24000) as speaker:
        event.response.audio.play(speaker).wait(PATIENCE_SECONDS)
        stage.do(speech_started)

    assert [] == stage.talk.cuts


# Backchannels.


def test_backchannels_are_not_interrupted(stage: Stage) -> None:
    """A backchannel plays on its own speaker. The user's speech does not stop the backchannel."""
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
    """If audio is split inside a sample, the events have whole samples, and no sample is lost."""
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


# Several threads, and a speaker in real time.


def test_interruptions_from_many_threads(stage: Stage) -> None:
    """If many threads interrupt at the same time, an item is truncated only once."""
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
    """With a speaker in real time, the item is truncated exactly at the end of the heard audio."""
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


class FullSink:
    """
    An ``ItemSink`` that accepts no audio before ``accepts`` is set. It plays audio immediately.
    """

    is_idle = True
    failure = None

    def __init__(self) -> None:
        self.accepts = threading.Event()

    def push(self, item_id: str, audio: bytes, audio_format: object, *, end: bool = False) -> bool:
        return self.accepts.is_set()

    def clear(self) -> dict[str, int]:
        return {}

    def drain(self, timeout: float | None) -> None:
        pass

    def close(self) -> None:
        pass


def test_speech_that_the_player_has_not_got_yet() -> None:
    """``is_playing`` is true while received speech waits for a player that is full."""

    def script(service: Service) -> None:
        service.open()
        service.speak(service.request(), 1, "Hello", bytes(4800))
        service.until_left()

    sink = FullSink()
    with realtime(script) as iw, iw.realtime.connect() as rt:
        rt.play(sink)
        assert not rt.is_playing
        rt.respond().wait(PATIENCE_SECONDS)
        assert (rt.is_responding, rt.is_playing) == (False, True)
        sink.accepts.set()
        rt.drain(PATIENCE_SECONDS)
        until(lambda: not rt.is_playing)
