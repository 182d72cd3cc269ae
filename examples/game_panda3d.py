"""A head in Panda3D speaks from its position and moves its mouth. The space bar ends the speech."""

from pathlib import Path

from direct.actor.Actor import Actor
from direct.showbase.ShowBase import ShowBase
from panda3d.core import ClockObject

from inworld_sync import Inworld
from inworld_sync.games import VoiceLine
from inworld_sync.games.panda3d import MorphMouth, VoiceSound

TEXT = "I am a head with morph sliders. You hear me from the left, because I stand there."
HEAD = Path(__file__).with_name("talking_head.egg")


class Game(ShowBase):
    def __init__(self, voice: VoiceLine) -> None:
        super().__init__()
        self.time = ClockObject.get_global_clock()
        self.time.set_mode(ClockObject.M_limited)
        self.time.set_frame_rate(60)
        self.head = Actor(str(HEAD))
        self.head.reparent_to(self.render)
        self.head.set_pos(-2, 6, 0)
        self.voice = voice
        self.voice.position = tuple(self.head.get_pos(self.render))
        self.sound = VoiceSound(voice, self.sfxManagerList[0], positional=True)
        self.mouth = MorphMouth(self.head, voice.mouth)
        self.accept("space", voice.cancel)
        self.task_mgr.add(self.speak, "speak")

    def speak(self, task):
        self.voice.update(self.time.get_dt())
        self.sound.update()
        self.mouth.update()
        if self.voice.is_over:
            self.task_mgr.stop()
        return task.cont


with Inworld() as iw, VoiceLine(iw, TEXT, start=True) as voice:
    game = Game(voice)
    game.run()
    game.sound.close()
    game.destroy()
    print(f"{voice.state}: {voice.heard_text} ({game.sound.gaps} gaps)")
