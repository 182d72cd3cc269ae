"""
Speech for games: lines and conversations that the loop of a game drives, and mouth shapes.

::

    from inworld_sync.games import VoiceLine

    line = VoiceLine(client, "Hello.", voice="Ashley", start=True)
    while not line.is_over:  # the loop of the game
        line.update(dt)
        mixer.play(line.read_audio(frames))
        face.set_weights(line.mouth.weights("arkit"))

The thread of the game never waits. Connecting, sending and closing run on threads of the package.
"""

from __future__ import annotations

from inworld_sync.games.conversation import Conversation
from inworld_sync.games.engines.server import EngineServer, serve
from inworld_sync.games.export import Cue
from inworld_sync.games.mouth import Mouth
from inworld_sync.games.recording import mouth_of_recording
from inworld_sync.games.shapes import SHAPE_SETS, VISEMES, shape_weights
from inworld_sync.games.spatial import Listener, Rolloff, stereo_gains
from inworld_sync.games.timeline import MouthTimeline, mouth_timeline
from inworld_sync.games.voice import GameVoice
from inworld_sync.games.voice_line import VoiceLine
from inworld_sync.games.voices import Voices, prepare

__all__ = [
    "SHAPE_SETS",
    "VISEMES",
    "Conversation",
    "Cue",
    "EngineServer",
    "GameVoice",
    "Listener",
    "Mouth",
    "MouthTimeline",
    "Rolloff",
    "VoiceLine",
    "Voices",
    "mouth_of_recording",
    "mouth_timeline",
    "prepare",
    "serve",
    "shape_weights",
    "stereo_gains",
]
