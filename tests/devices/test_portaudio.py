"""Devices are listed and found. The error for a missing package says what to install."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from inworld_sync import DeviceInfo, Speaker
from inworld_sync.devices import list_devices, portaudio, refresh_devices
from inworld_sync.errors import ConfigError, DeviceError

from support.sound_card import SoundCard


def test_importing_needs_no_sounddevice() -> None:
    """The package can be imported on a machine without sounddevice and numpy."""
    code = (
        "import sys; sys.modules['sounddevice'] = sys.modules['numpy'] = None\n"
        "from inworld_sync import Microphone, NullSpeaker, Speaker, WavSink, WavSource\n"
        "import inworld_sync.devices"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_sounddevice_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If sounddevice is missing, the error of a device names the extra to install."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)

    with pytest.raises(DeviceError, match=r"pip install 'inworld-sync\[audio\]'"):
        Speaker()


# (platform, words of the error if PortAudio is missing)
CURES = [("linux", "apt install libportaudio2"), ("darwin", "brew"), ("win32", "reinstall")]


@pytest.mark.parametrize(("platform", "cure"), CURES)
def test_without_portaudio_the_package_is_named(
    monkeypatch: pytest.MonkeyPatch, platform: str, cure: str
) -> None:
    """Without PortAudio, the error names the system package to install."""
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "platform", platform)

    class WithoutPortAudio:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.setattr(sys, "meta_path", [WithoutPortAudio(), *sys.meta_path])

    with pytest.raises(DeviceError, match=cure):
        list_devices()


def test_lists_devices(sound_card: SoundCard) -> None:
    """The list has the name, the channels and the defaults of each device."""
    sound_card.plug_in("headset", rates=(16000,), inputs=1, outputs=2)
    sound_card.look()

    assert [
        DeviceInfo(0, "headset", "ALSA", 1, 2, 16000, default_input=True, default_output=True),
        DeviceInfo(1, "built-in", "ALSA", 2, 2, 48000),
    ] == list_devices()


def test_a_new_device_is_seen_after_a_refresh(sound_card: SoundCard) -> None:
    """A new device is in the list only after refresh_devices() was called."""
    sound_card.plug_in("headset")
    before = [device.name for device in list_devices()]
    refresh_devices()

    assert before == ["built-in"]
    assert [device.name for device in list_devices()] == ["headset", "built-in"]
    assert sound_card.initialized == 1


def test_a_speaker_works_after_a_refresh(sound_card: SoundCard) -> None:
    """If refresh_devices() is called while a speaker plays, the speaker opens its device again."""
    with Speaker() as speaker:
        speaker.write(bytes(2000))
        refresh_devices()
        speaker.drain(timeout=30)

        assert speaker.heard_samples == 1000
    assert len(sound_card.streams) == 2


# An index, a part of a name, and a name with its host API.
CHOICES = [1, "built", "built-in, ALSA"]


@pytest.mark.parametrize("device", CHOICES)
def test_finds_a_device(sound_card: SoundCard, device: int | str) -> None:
    """A device is found by its index, by its name, or by its name and host API."""
    sound_card.plug_in("headset")
    sound_card.look()
    with Speaker(device=device) as speaker:
        name = speaker.device.name

    assert name == "built-in"


@pytest.mark.parametrize("device", ["nothing", ""])
def test_a_name_must_match_one_device(sound_card: SoundCard, device: str) -> None:
    """A name that fits no device or several devices raises an error."""
    sound_card.plug_in("headset")
    sound_card.look()

    with pytest.raises(ConfigError, match="output device"):
        Speaker(device=device)


def test_no_device_at_all(sound_card: SoundCard) -> None:
    """If the machine has no device, Speaker() raises an error."""
    sound_card.unplug("built-in")
    sound_card.look()

    with pytest.raises(DeviceError, match="finds no output device"):
        Speaker()


def test_a_sounddevice_without_c_callbacks(sound_card: SoundCard) -> None:
    """If sounddevice accepts no C callbacks, Speaker() raises an error with its version."""
    sound_card.module._StreamBase = lambda kind: SimpleNamespace()

    with pytest.raises(DeviceError, match=r"sounddevice 0\.5\.1 does not accept a C callback"):
        Speaker()


def test_a_device_that_does_not_start_is_closed(
    sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a device does not start, the stream is closed, and the error has the reason."""

    def fail(self: object) -> None:
        raise sound_card.module.PortAudioError("Unanticipated host error")

    monkeypatch.setattr("support.sound_card._Stream.start", fail)
    closed: list[object] = []
    monkeypatch.setattr("support.sound_card._Stream.close", lambda self, **_: closed.append(self))

    # The exception is kept, so its traceback keeps references to all objects of the call.
    with pytest.raises(DeviceError) as caught:
        Speaker()

    assert len(closed) == 1
    assert str(caught.value) == "starting 'built-in' failed: Unanticipated host error"


def test_at_exit_all_devices_stop(sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the interpreter exits, all devices are stopped, and no device can be opened."""
    monkeypatch.setattr(portaudio, "_exiting", threading.Event())
    with Speaker() as speaker:
        portaudio._shut_down()

        assert not sound_card.streams[0].active
        with pytest.raises(DeviceError, match="shutting down"):
            speaker.write(bytes(2_000_000))


def test_the_exit_function_is_registered(
    sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first use of sounddevice registers the function that stops all devices at exit."""
    registered: list[object] = []
    monkeypatch.setattr(portaudio.atexit, "register", registered.append)
    portaudio._close_at_exit.cache_clear()
    try:
        list_devices()
        list_devices()
    finally:
        # The next use registers the function again.
        portaudio._close_at_exit.cache_clear()

    assert [portaudio._shut_down] == registered


def test_a_second_close_does_nothing(sound_card: SoundCard) -> None:
    """A stream that refresh_devices() has closed is not closed a second time."""
    closed: list[object] = []
    with Speaker():
        stream = sound_card.streams[0]
        end = stream.close
        stream.close = lambda **_: (closed.append(stream), end())
        refresh_devices()

    assert len(closed) == 1
