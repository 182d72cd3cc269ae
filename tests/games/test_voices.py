"""The voices of a game are updated, paused and ended together, and end with the program."""

from __future__ import annotations

import subprocess
import sys

import pytest

from inworld_sync import ConfigError, Inworld
from inworld_sync.games import Conversation, VoiceLine, Voices, prepare

from support.game_loop import FRAME_SECONDS, RATE_HZ, existing_speech
from support.peers import Peer, serve

FRAMES = RATE_HZ // 60


def run(voices: Voices, count: int) -> dict[VoiceLine, bytes]:
    """Run frames of the loop, and return the audio of each line."""
    lines = [voice for voice in voices if isinstance(voice, VoiceLine)]
    audio = dict.fromkeys(lines, b"")
    for _ in range(count):
        for line in lines:
            audio[line] += line.read_audio(FRAMES)
        voices.update(FRAME_SECONDS)
    return audio


def line() -> VoiceLine:
    return VoiceLine(None, existing_speech(), start=True)


def test_voices_that_are_over_are_removed() -> None:
    """A group updates all voices, and removes voices that are over."""
    with Voices() as voices:
        first, second = voices.add(line()), voices.add(line())
        assert len(voices) == 2
        run(voices, 70)
        assert (first.state, second.state) == ("finished", "finished")
        assert len(voices) == 0


def test_pause_and_time_scale() -> None:
    """
    A paused group also pauses voices that are added later. A time scale of 0 has the same effect.
    """
    with Voices() as voices:
        first = voices.add(line())
        voices.pause()
        second = voices.add(line())
        assert (first.is_paused, second.is_paused) == (True, True)
        voices.resume()
        assert [first.is_paused, second.is_paused] == [False, False]
        voices.time_scale = 0
        third = voices.add(line())
        assert (first.is_paused, third.is_paused) == (True, True)
        voices.time_scale = 2
        assert [first.is_paused, third.is_paused] == [False, False]


def test_a_change_of_the_scene() -> None:
    """A change of the scene fades out and closes all voices except the voices in ``keep``."""
    with Voices() as voices:
        narrator, guard = voices.add(line()), voices.add(line())
        run(voices, 5)
        voices.change_scene(keep=[narrator], fade_ms=100)
        assert list(voices) == [narrator]
        assert guard.state == "speaking"
        for _ in range(10):
            guard.read_audio(FRAMES)
            narrator.read_audio(FRAMES)
            voices.update(FRAME_SECONDS)
        assert guard.state == "cancelled"
        assert narrator.state == "speaking"


def test_a_conversation_that_leaves_reports_its_end(iw: Inworld) -> None:
    """If a change of the scene ends a conversation, its handlers of ``on_end`` are called."""
    ends: list[str] = []
    with Voices() as voices:
        talk = voices.add(Conversation(iw))
        talk.on_end(lambda: ends.append(talk.state))
        voices.change_scene(fade_ms=0)
        for _ in range(3):
            voices.update(FRAME_SECONDS)

    assert ends == ["closed"]


def test_no_handler_is_left_out_at_the_end() -> None:
    """Handlers that had no room in the budget of the last frame are called later."""
    ends: list[int] = []
    with Voices() as voices:
        first = voices.add(line())
        for number in range(3):
            first.on_end(lambda number=number: ends.append(number))
        for _ in range(80):
            first.read_audio(FRAMES)
            voices.update(FRAME_SECONDS, 0)
        assert len(voices) == 0

    assert ends == [0, 1, 2]


def test_each_voice_gets_its_turn() -> None:
    """With a budget of 0, the voices take turns, so the handlers of every voice run."""
    calls: list[str] = []
    with Voices() as voices:
        for name in "ab":
            voices.add(line()).on_word(lambda word, name=name: calls.append(name + word.text))
        for _ in range(80):
            for voice in voices:
                voice.read_audio(FRAMES)
            voices.update(FRAME_SECONDS, 0)

    assert sorted(calls) == ["aone", "atwo", "bone", "btwo"]


def test_close_ends_all_voices() -> None:
    """Closing the group closes its voices."""
    voices = Voices()
    first = voices.add(line())
    voices.close()
    assert first.state == "cancelled"
    assert len(voices) == 0


def test_wrong_arguments() -> None:
    """A group accepts only voices."""
    with pytest.raises(ConfigError, match="voice must be a VoiceLine or a Conversation"):
        Voices().add("hello")  # type: ignore[type-var]


def test_prepare(iw: Inworld) -> None:
    """After ``prepare``, a line imports no module of the package."""
    prepare(iw)
    before = {name for name in sys.modules if name.startswith("inworld_sync")}
    voices = Voices()
    voices.add(VoiceLine(iw, "One two.", start=True))
    while len(voices):
        run(voices, 1)
    assert {name for name in sys.modules if name.startswith("inworld_sync")} == before


PROGRAM = """
import socket
from inworld_sync import Inworld
from inworld_sync.games import Conversation, VoiceLine

server = socket.create_server(("127.0.0.1", 0))  # it accepts connections and sends nothing
client = Inworld(api_key="a2V5LWlkOmtleS1zZWNyZXQ=",
                 base_url=f"ws://127.0.0.1:{server.getsockname()[1]}")
line = VoiceLine(client, "Hello.", start=True)
talk = Conversation(client)
talk.start()
for _ in range(30):
    line.update(1 / 60)
    talk.update(1 / 60)
print(line.state, talk.state)
"""


def silent(peer: Peer) -> None:
    """Upgrade the connection, and send nothing more."""
    peer.upgrade()
    peer.hold()


CONNECTED = """
import atexit, sys, threading
names = lambda: [each.name for each in threading.enumerate() if "-game-" in each.name]
atexit.register(lambda: print(names()))  # runs after the functions of the package
from inworld_sync import Inworld
from inworld_sync.games import VoiceLine

client = Inworld(api_key="a2V5LWlkOmtleS1zZWNyZXQ=", base_url=f"ws://127.0.0.1:{sys.argv[1]}")
line = VoiceLine(client, "Hello.", start=True)
print(len(names()))
"""


def test_threads_end_with_the_program() -> None:
    """The threads of voices end before the program ends."""
    with serve(silent) as server:
        done = subprocess.run(
            [sys.executable, "-c", CONNECTED, str(server.port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1\n[]\n"


def test_the_program_ends_without_close() -> None:
    """If a program ends while voices connect, no thread delays the end or prints an error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "connecting connecting\n"
