"""Synthesizes speech with the emulator's voices, and counts wrongly recognized words."""

from __future__ import annotations

import functools
import re

import numpy as np
import numpy.typing as npt
import soxr

from inworld_sync.emulator.synthesis import default_synthesizer
from inworld_sync.emulator.voices import VOICES

__all__ = ["ASSISTANT", "USER", "say", "word_errors"]

ASSISTANT = (
    "The harbor was quiet in the early morning, and only the gulls were awake.",
    "A small boat came in with its lamp still lit, and nobody asked where it had been.",
    "The weather forecast for tomorrow says light rain, with some sun in the late afternoon.",
    "Your next appointment is on Thursday at half past nine, in the office on the second floor.",
    "To make the dough, mix flour, water, yeast and salt, and let it rest for about an hour.",
    "The museum opens at ten, and the guided tour of the old library begins at eleven.",
)
USER = (
    "Please stop, I want to ask something else.",
    "Can you tell me the price of the second ticket?",
    "I would like to change my order to seven apples.",
    "What time does the train to the city leave today?",
    "Send the letter to my brother before the weekend.",
    "How many people live in the north of the country?",
    "Turn the lights off in the kitchen and the garden.",
    "My daughter has a piano lesson on Monday morning.",
    "We need a table for four people near the window.",
    "The doctor said that I should drink more water.",
)


@functools.cache
def say(text: str, voice: int, rate_hz: int) -> npt.NDArray[np.int16]:
    """Return samples of a voice that speaks a text, without silence at the beginning and end."""
    engine = default_synthesizer()
    parts = [np.frombuffer(each.pcm, "<i2") for each in engine.speak(text, VOICES[voice])]
    wave = soxr.resample(np.concatenate(parts) / 32768.0, engine.sample_rate_hz, rate_hz)
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    wave = wave[loud[0] : loud[-1] + 1]
    wave *= 0.1 / np.sqrt((wave * wave).mean())
    return np.asarray((wave * 32768.0).clip(-32768, 32767), np.int16)


def word_errors(expected: str, found: str) -> tuple[int, int]:
    """Return how many words are wrong, missing or extra, and how many were expected."""
    one, other = (re.findall(r"[\w']+", text.lower()) for text in (expected, found))
    row = list(range(len(other) + 1))
    for index, word in enumerate(one, 1):
        last, row[0] = row[0], index
        for place, heard in enumerate(other, 1):
            changed = last + (word != heard)
            last, row[place] = row[place], min(changed, row[place] + 1, row[place - 1] + 1)
    return row[-1], len(one)
