"""All streams share one engine. The engine loads its models at the first use."""

import importlib.util
import sys
import threading

import pytest

from inworld_sync.emulator import fair_lock as fair_lock_module
from inworld_sync.emulator.recognition import engine as engine_module
from inworld_sync.emulator.recognition.engine import SpeechEngine, open_recognizer
from inworld_sync.emulator.recognition.moonshine import Moonshine
from inworld_sync.emulator.recognition.protocols import HeardWord
from inworld_sync.emulator.recognition.sphinx import SphinxRecognizer
from inworld_sync.errors import ConfigError, DeadlineExceeded

from support.engines import needs_pocketsphinx
from support.scripted_recognizer import LoudnessVad, ScriptedAligner, ScriptedRecognizer, engine_for

# (language or None, whether it is supported)
LANGUAGES = [
    (None, True),
    ("", True),
    ("en", True),
    ("en-US", True),
    ("EN_gb", True),
    ("fr-FR", False),
    ("enm", False),
]


@pytest.fixture
def without(monkeypatch):
    """Return a function that makes the import of a module fail."""
    find = importlib.util.find_spec
    hidden = set()
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in hidden else find(name)
    )

    def hide(name):
        hidden.add(name)
        monkeypatch.setitem(sys.modules, name, None)

    return hide


@pytest.mark.parametrize(("language", "understood"), LANGUAGES)
def test_languages(language, understood):
    """A language other than English is refused with a message that names the language."""
    engine = engine_for(ScriptedRecognizer())
    if understood:
        engine.check_language(language)
    else:
        with pytest.raises(ConfigError, match=f"supports en only, got language '{language}'"):
            engine.check_language(language)


def test_loads_late(monkeypatch):
    """The models are loaded at the first use, and only once."""
    loads = []
    monkeypatch.setattr(
        engine_module, "open_recognizer", lambda: loads.append(1) or ScriptedRecognizer()
    )
    engine = SpeechEngine()
    assert [] == loads

    engine.recognize(b"")
    engine.recognize(b"")

    assert [1] == loads


def test_moonshine_is_preferred():
    """Moonshine is used if it is installed."""
    assert isinstance(open_recognizer(), Moonshine)


@needs_pocketsphinx
def test_fallback_recognizer(without, caplog):
    """Without Moonshine's weights, PocketSphinx is used, and the log has a warning."""
    without("moonshine_voice")

    assert isinstance(open_recognizer(), SphinxRecognizer)
    assert "many more errors" in caplog.text


def test_no_recognizer(without):
    """If neither recognizer is installed, the error names the extra to install."""
    without("moonshine_voice")
    without("pocketsphinx")

    with pytest.raises(ConfigError, match=r"inworld-sync\[local\]"):
        open_recognizer()


def test_no_aligner(without):
    """Without PocketSphinx, words still get times, in order."""
    without("pocketsphinx")
    engine = SpeechEngine(ScriptedRecognizer(), new_vad=LoudnessVad)
    words = (HeardWord("Good", 0.5), HeardWord("night.", 0.5))

    timed = engine.with_times(b"\x00\x10" * 16_000, words)

    assert ["Good", "night."] == [word.text for word in timed]
    assert 0 <= timed[0].start_ms < timed[0].end_ms <= timed[1].start_ms < timed[1].end_ms <= 1000


def test_misfit():
    """If words do not match the audio, their times are estimated from the lengths of the words."""
    engine = engine_for(ScriptedRecognizer(), ScriptedAligner(None))

    (word,) = engine.with_times(b"\x00\x10" * 16_000, (HeardWord("Yes.", 0.5),))

    assert word.start_ms is not None


def test_busy(monkeypatch):
    """A thread that waits too long for the recognizer gets an error. A later thread is served."""
    monkeypatch.setattr(fair_lock_module, "_PATIENCE_SECONDS", 0.01)
    recognizer = ScriptedRecognizer()
    engine = engine_for(recognizer)
    recognizer.may_answer.clear()
    other = threading.Thread(target=engine.recognize, args=(b"",))
    other.start()
    try:
        assert recognizer.asked.wait(30)
        assert engine.try_recognize(b"") is None
        with pytest.raises(DeadlineExceeded):
            engine.recognize(b"")
    finally:
        recognizer.may_answer.set()
        other.join(30)

    assert () == engine.recognize(b"")
