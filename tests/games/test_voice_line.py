"""Tests of lines in the loop of a game. The state of a line shows how the line has ended."""

from __future__ import annotations

import copy
import math
import pickle
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inworld_sync import (
    AudioConfig,
    ConfigError,
    ConnectionLost,
    ContextConfig,
    Inworld,
    LocalProtocolError,
    NotFoundError,
)
from inworld_sync.games import Listener, VoiceLine
from inworld_sync.models.tts import WordTime

from support.game_loop import (
    FRAME_SECONDS,
    RATE_HZ,
    existing_speech,
    run_frames,
    run_to_end,
    run_until,
    tone,
)
from support.scripted import Service, scripted
from support.sound_card import until

TEXT = "One two three."
FRAMES = RATE_HZ // 60

SPEECH = existing_speech()


def started(latency_ms: float = 0) -> VoiceLine:
    """Return a started line of existing speech. All audio of the line is queued."""
    line = VoiceLine(None, SPEECH, latency_ms=latency_ms, start=True)
    line.update(0, 1000)
    assert line.queued_ms == 1000
    return line


@pytest.fixture
def line() -> Iterator[VoiceLine]:
    """Yield a started line of existing speech."""
    with started() as line:
        yield line


def spoken(audio: bytes) -> bytes:
    """Return the audio without the silence before and after it."""
    return audio.strip(b"\0")


def test_existing_speech_is_read_unchanged(line: VoiceLine) -> None:
    """The engine reads the speech unchanged. The line is finished when all audio was heard."""
    audio = run_to_end(line)

    assert audio.startswith(SPEECH.data)
    assert not audio[len(SPEECH.data) :].strip(b"\0")
    assert (line.state, line.error, line.starved_frames) == ("finished", None, 0)
    assert line.heard_ms == 1000.0


def test_words_are_reported_when_heard() -> None:
    """Each word is reported in the first frame after its start was heard."""
    line = started(100)
    heard: list[tuple[str, float]] = []
    line.on_word(lambda word: heard.append((word.text, line.heard_ms)))
    run_to_end(line)

    assert [text for text, _ in heard] == ["one", "two"]
    for (_, at), start in zip(heard, (0, 500), strict=True):
        assert start < at <= start + 1000 * FRAME_SECONDS + 0.1


def test_the_position_waits_for_the_latency() -> None:
    """A sample is heard latency_ms after the engine has read the sample."""
    line = started(200)
    run_frames(line, 6)
    assert (line.heard_ms, line.is_speaking) == (0.0, False)
    run_frames(line, 12)
    assert line.heard_ms == pytest.approx(100, abs=1)
    assert line.is_speaking
    line.close()


def test_now(line: VoiceLine) -> None:
    """The word, the text and the mouth belong to the position that is heard now."""
    run_frames(line, 15)
    assert line.heard_ms == pytest.approx(250, abs=1)
    assert line.word == SPEECH.words[0]
    assert line.heard_text == "one"
    assert line.mouth.shape("openxr") == "aa"
    assert line.mouth.source == "service"
    run_frames(line, 12)
    assert line.word is None
    run_frames(line, 15)
    assert (line.word, line.heard_text) == (SPEECH.words[1], "one two")


def test_speech_of_the_service(iw: Inworld) -> None:
    """A line receives speech with words and mouth shapes, and ends when all speech was heard."""
    line = VoiceLine(iw, TEXT, voice="Dennis")
    heard: list[str] = []
    ends: list[str] = []
    line.on_word(lambda word: heard.append(word.text))
    line.on_end(lambda: ends.append(line.state))
    assert line.state == "new"
    line.start()
    assert line.state == "connecting"
    run_until(line, lambda: line.speech is not None, reads=False)
    audio = run_to_end(line)

    assert line.speech is not None
    assert spoken(audio) == spoken(line.speech.data)
    assert heard == ["One", "two", "three."]
    assert ends == ["finished"]
    assert line.mouth.source == "service"
    assert line.heard_text == TEXT


def test_sources_of_the_mouth(iw: Inworld) -> None:
    """Without visemes and phonemes, the mouth follows the loudness."""
    line = VoiceLine(iw, TEXT, visemes=False, config=ContextConfig(auto_mode=True), start=True)
    widest: list[float] = []

    def speaks() -> bool:
        widest.append(line.mouth.weights()["aa"])
        return line.is_over

    run_until(line, speaks)
    assert line.mouth.source == "loudness"
    assert max(widest) > 0.3


@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_the_rate_of_the_engine(iw: Inworld, rate_hz: int) -> None:
    """The service speaks at the sample rate of the engine's mixer."""
    line = VoiceLine(iw, TEXT, sample_rate_hz=rate_hz, start=True)
    run_to_end(line)

    assert line.speech is not None
    assert line.speech.sample_rate_hz == rate_hz
    assert line.heard_ms == pytest.approx(line.speech.duration_ms, abs=0.1)


def test_text_in_pieces(iw: Inworld) -> None:
    """The thread of the line iterates over pieces of text."""
    line = VoiceLine(iw, iter(["One ", "two ", "three."]), start=True)
    run_to_end(line)

    assert line.speech is not None
    assert [word.text for word in line.speech.words] == ["One", "two", "three."]


# ---- ends ------------------------------------------------------------------------------------


def test_cancel(line: VoiceLine) -> None:
    """A cancelled line is silent immediately, and the mouth closes within 80 ms."""
    words: list[str] = []
    line.on_word(lambda word: words.append(word.text))
    run_frames(line, 15)
    line.cancel()

    assert (line.state, line.is_speaking, line.queued_ms) == ("cancelled", False, 0.0)
    # The playout fades out within 5 ms.
    assert not run_frames(line, 5)[RATE_HZ // 200 * 2 :].strip(b"\0")
    assert line.mouth.weights()["sil"] == 1.0
    assert words == ["one"]


def test_cancel_of_audio_that_was_read() -> None:
    """cancel() increases ``drops`` only if the engine has read audio that was not heard yet."""
    line = started(100)
    run_frames(line, 15)
    assert line.drops == 0
    line.cancel()
    line.cancel()
    assert line.drops == 1
    other = started()
    other.cancel()
    assert other.drops == 0


def test_cancel_ends_the_thread() -> None:
    """If the service is silent, cancel() ends the thread of the line."""
    with scripted(lambda service: service.until_left()) as client:
        line = VoiceLine(client, TEXT, start=True)
        run_frames(line, 3)
        until(lambda: game_threads() == 1)
        line.cancel()
        assert line.state == "cancelled"
        ends: list[str] = []
        line.on_end(lambda: ends.append("end"))
        run_frames(line, 2)
        assert ends == ["end"]
        until(lambda: game_threads() == 0)


def test_cancel_ends_the_synthesis() -> None:
    """cancel() closes the context, even while the text of the line is incomplete."""
    closed, asked, release = threading.Event(), threading.Event(), threading.Event()

    def script(service: Service) -> None:
        service.until("close_context")
        closed.set()
        service.until_left()

    def pieces() -> Iterator[str]:
        yield "One. "
        asked.set()
        release.wait(60)

    with scripted(script) as client:
        line = VoiceLine(client, pieces(), start=True)
        assert asked.wait(30)
        assert not closed.is_set()
        line.cancel()
        until(closed.is_set)
        release.set()


def test_a_cancelled_line_has_no_speech() -> None:
    """If a line is cancelled before all audio was received, ``speech`` is None."""

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        service.result(context_id, contextCreated={})
        service.audio(context_id, tone(1000, 0.4))
        service.until_left()

    with scripted(script) as client:
        line = VoiceLine(client, TEXT, start=True)
        run_until(line, lambda: line.is_speaking)
        line.cancel()
        until(lambda: game_threads() == 0)

        assert (line.state, line.error, line.speech) == ("cancelled", None, None)


def game_threads() -> int:
    return sum(each.name.startswith("inworld-game-line") for each in threading.enumerate())


def test_an_unknown_voice_fails_the_line(iw: Inworld) -> None:
    """
    An error of the service becomes the error of the line. No call of the game raises this error.
    """
    line = VoiceLine(iw, TEXT, voice="nobody", start=True)
    audio = run_to_end(line)

    assert line.state == "failed"
    assert isinstance(line.error, NotFoundError)
    assert not audio.strip(b"\0")
    assert line.speech is None


def test_speech_before_an_error_is_spoken() -> None:
    """If the connection is lost, the audio that was received is heard before the line fails."""

    def script(service: Service) -> None:
        context_id = service.until("close_context")
        service.result(context_id, contextCreated={})
        service.audio(context_id, tone(400, 0.4))
        service.peer.sock.close()

    with scripted(script, max_retries=0) as client:
        line = VoiceLine(client, TEXT, config=ContextConfig(), start=True)
        run_until(line, lambda: line.error is not None, reads=False)
        assert line.state == "connecting"
        audio = run_to_end(line)

    assert isinstance(line.error, ConnectionLost)
    assert line.state == "failed"
    assert spoken(audio) == spoken(tone(400, 0.4))
    assert line.heard_ms == 400.0


def test_an_exception_of_the_text_fails_the_line(iw: Inworld) -> None:
    """An exception of the user's iterator is the cause of the line's error."""

    def pieces() -> Iterator[str]:
        yield "One. "
        raise KeyError("lost")

    line = VoiceLine(iw, pieces(), start=True)
    run_to_end(line)

    assert line.state == "failed"
    assert "KeyError" in str(line.error)
    assert line.error is not None
    assert isinstance(line.error.__cause__, KeyError)


def test_a_wrong_client_is_no_error_of_the_text() -> None:
    """
    If an exception does not come from the text, the error does not name the text as the cause.
    """
    line = VoiceLine(object(), TEXT, start=True)  # type: ignore[arg-type]
    run_to_end(line)

    assert str(line.error) == "speaking the line raised AttributeError"


# ---- pause, time, volume ---------------------------------------------------------------------


def test_pause_and_resume(line: VoiceLine) -> None:
    """A paused line returns silence. No speech is lost."""
    audio = run_frames(line, 12)
    line.pause()
    assert line.is_paused
    silence = run_frames(line, 30)
    position = line.heard_ms
    run_frames(line, 30)
    assert line.heard_ms == position
    # The playout fades out in the first 50 ms.
    assert not silence[RATE_HZ // 20 * 2 :].strip(b"\0")
    line.resume()
    run_to_end(line)

    assert len(audio) == 12 * FRAMES * 2
    assert line.heard_ms == 1000.0


@pytest.mark.parametrize(("scale", "is_paused"), [(0.0, True), (0.5, False), (3.0, False)])
def test_time_scale(line: VoiceLine, scale: float, is_paused: bool) -> None:
    """A time scale of 0 pauses the line. With any other scale, speech keeps its speed."""
    line.time_scale = scale
    audio = run_frames(line, 15)

    assert line.is_paused == is_paused
    assert (audio == SPEECH.data[: len(audio)]) == (not is_paused)
    line.time_scale = 1.0
    assert not line.is_paused


def test_a_pause_outlasts_the_time_scale(line: VoiceLine) -> None:
    """A line that was paused with pause() stays paused when the time scale is no longer 0."""
    line.pause()
    line.time_scale = 0.0
    line.time_scale = 1.0
    assert line.is_paused
    assert line.pull_audio(FRAMES) == b""


def test_pull_gives_only_speech() -> None:
    """``pull_audio`` returns only speech. Before and after the speech, the result is empty."""
    line = VoiceLine(None, SPEECH)
    assert line.pull_audio(FRAMES) == b""
    line.start()
    pieces = []
    while not line.is_over:
        pieces.append(line.pull_audio(2400))
        line.update(0.1)
    assert line.pull_audio(FRAMES) == b""
    assert b"".join(pieces).startswith(SPEECH.data)
    assert {len(piece) for piece in pieces} <= {0, 4800}


def test_reports_of_the_engine() -> None:
    """If the engine reports how many frames were played, the heard position follows the reports."""
    line = started()
    line.pull_audio(2400)
    line.pull_audio(2400)
    line.report_heard(0)
    line.update(0.05)
    assert line.heard_ms == pytest.approx(50)
    line.report_heard(2400)
    line.update(0.0)
    assert line.heard_ms == pytest.approx(100)
    line.update(5.0)
    assert line.heard_ms == pytest.approx(200)
    line.close()


def test_a_report_of_too_many_frames(line: VoiceLine) -> None:
    """A report of more frames than were read counts as a report of all frames that were read."""
    run_frames(line, 3)
    line.report_heard(10**400)
    run_frames(line, 1, read=False)
    assert line.heard_ms == 50.0


def test_read_into_a_buffer(line: VoiceLine) -> None:
    """``read_into`` fills a buffer, and returns the number of frames with speech."""
    buffer = bytearray(4800)
    assert line.read_into(memoryview(buffer)) == 2400
    assert bytes(buffer) == SPEECH.data[:4800]
    assert line.read_into(bytearray()) == 0


def test_fade_out(line: VoiceLine) -> None:
    """``fade_out`` reduces the volume linearly, and then cancels the line."""
    run_frames(line, 15)
    line.fade_out(200)
    assert line.is_fading
    audio = run_until(line, lambda: line.is_over)
    samples = struct.unpack(f"<{len(audio) // 2}h", audio)
    peaks = [max(map(abs, samples[at : at + FRAMES])) for at in range(0, 12 * FRAMES, FRAMES)]

    assert line.state == "cancelled"
    assert not line.is_fading
    assert peaks == sorted(peaks, reverse=True)
    assert 0.4 < peaks[5] / peaks[0] < 0.65
    assert peaks[-1] <= peaks[0] / 8


def test_a_fade_ends_with_the_speech(line: VoiceLine) -> None:
    """If a line is cancelled during a fade, the fade ends."""
    run_frames(line, 3)
    line.fade_out(1000)
    line.cancel()
    run_frames(line, 1)
    assert not line.is_fading


def test_fade_without_an_engine(line: VoiceLine) -> None:
    """A fade ends the line even if the engine reads no more audio."""
    run_frames(line, 3)
    line.fade_out(100)
    run_frames(line, 120, read=False)
    assert line.state == "cancelled"


def test_stereo(line: VoiceLine) -> None:
    """A voice on the right is heard only in the right channel, with the voice's volume."""
    line.position = (2, 0, 0)
    line.volume = 0.5
    line.rolloff = type(line.rolloff)("none")
    out = line.read_stereo(FRAMES, Listener())
    samples = struct.unpack(f"<{2 * FRAMES}h", out)
    mono = struct.unpack(f"<{FRAMES}h", SPEECH.data[: 2 * FRAMES])

    assert max(map(abs, samples[::2])) == 0
    assert samples[1::2] == tuple(pytest.approx(value * 0.5, abs=1) for value in mono)
    assert line.gains() == (0.5, 0.5)


def test_a_change_of_gains_has_no_step(line: VoiceLine) -> None:
    """If a voice moves to the other side, the gains change gradually within one block."""
    line.position = (5, 0, 0)
    line.read_stereo(FRAMES, Listener())
    line.position = (-5, 0, 0)
    out = line.read_stereo(FRAMES, Listener())
    left = struct.unpack(f"<{2 * FRAMES}h", out)[::2]

    assert max(map(abs, left[:32])) == 0
    assert max(map(abs, left[-64:])) > 500


# ---- handlers and arguments ------------------------------------------------------------------


def test_a_handler_that_raises(line: VoiceLine, caplog: pytest.LogCaptureFixture) -> None:
    """
    Each exception of a handler is counted. Only the first one is logged. Other handlers still run.
    """
    heard: list[str] = []

    def fail(_: WordTime) -> None:
        raise ValueError("in the handler")

    line.on_word(fail)
    line.on_word(lambda word: heard.append(word.text))
    run_to_end(line)

    assert heard == ["one", "two"]
    assert line.handler_errors == 2
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_the_budget_limits_handlers(line: VoiceLine) -> None:
    """With a budget of 0, each update runs one handler. Later updates run the other handlers."""
    calls: list[str] = []
    for name in "abc":
        line.on_word(lambda word, name=name: calls.append(name))
    line.read_audio(FRAMES)
    line.update(FRAME_SECONDS, 0)
    line.update(FRAME_SECONDS, 0)
    assert len(calls) <= 2
    line.update(0, 0)
    line.update(0, 0)
    assert calls == ["a", "b", "c"]


@pytest.mark.parametrize("save", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_line_is_not_saved(line: VoiceLine, save: Callable[[object], object]) -> None:
    """Saving a game that refers to a line raises an error with advice."""
    with pytest.raises(TypeError, match="a VoiceLine cannot be saved or copied"):
        save(line)


def test_start_twice(line: VoiceLine) -> None:
    """A line can be started only once."""
    with pytest.raises(LocalProtocolError, match="a line can be started once"):
        line.start()
    line.cancel()
    with pytest.raises(LocalProtocolError, match="this line is cancelled"):
        line.start()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda line: VoiceLine(None, "text"), "client is needed"),
        (lambda line: VoiceLine(None, ["text"]), "client is needed"),
        (lambda line: line.update(-0.1), "dt must be 0 to inf"),
        (lambda line: line.update(math.nan), "dt must be a finite number"),
        (lambda line: line.update(0.1, -1), "budget_ms must be 0 to"),
        (lambda line: line.read_audio(-1), "frames must be 0 to"),
        (lambda line: line.pull_audio(1.5), "frames must be an integer"),
        (lambda line: line.read_into(bytes(4)), "buffer must be writable"),
        (lambda line: line.read_into(bytearray(3)), "whole 16-bit samples"),
        (lambda line: line.read_into("text"), "buffer must be writable"),
        (lambda line: line.report_heard(-1), "frames must be 0 or more"),
        (lambda line: setattr(line, "volume", 5), "volume must be 0 to 4"),
        (lambda line: setattr(line, "position", 5), "position must be three numbers"),
        (lambda line: setattr(line, "rolloff", "linear"), "rolloff must be a Rolloff, got str"),
        (lambda line: setattr(line, "time_scale", -1), "time_scale must be 0 to"),
        (lambda line: setattr(line, "latency_ms", -1), "latency_ms must be 0 to 60000 ms"),
        (lambda line: line.fade_out(-1), "duration_ms must be 0 to 60000 ms"),
        (lambda line: line.on_word(None), "handler must be callable"),
    ],
)
def test_wrong_arguments(line: VoiceLine, call: Any, message: str) -> None:
    """A wrong argument raises an error that names the argument."""
    with pytest.raises(ConfigError, match=message):
        call(line)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": " "}, "text must have something to speak"),
        ({"text": 5}, "text must be a str or an iterable"),
        ({"sample_rate_hz": 12345}, "sample_rate_hz must be one of"),
        ({"config": ContextConfig(audio=AudioConfig("MP3"))}, "must have AudioConfig"),
        ({"config": 5}, "config must be a ContextConfig or None, got int"),
        ({"speaking_rate": 9}, "speaking_rate must be"),
        ({"latency_ms": math.inf}, "latency_ms must be a finite number"),
    ],
)
def test_wrong_settings(iw: Inworld, arguments: dict[str, Any], message: str) -> None:
    """A wrong setting is refused before anything is sent."""
    with pytest.raises(ConfigError, match=message):
        VoiceLine(iw, **{"text": TEXT, **arguments})
