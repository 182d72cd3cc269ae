"""Texts without digits for measuring recognition, and the word error rate."""

from __future__ import annotations

import re

__all__ = ["MORE_SENTENCES", "SENTENCES", "TWO_CITIES", "word_errors", "words_of"]

SENTENCES = [
    "Welcome aboard, please take a seat near the window.",
    "The museum opens at ten and closes at six in the evening.",
    "Could you tell me the way to the railway station?",
    "My sister plays the violin in a small orchestra.",
    "Turn left at the bridge and follow the river for a mile.",
    "I have lost my passport and I need some help.",
    "There are twelve months in a year and seven days in a week.",
    "Water boils at one hundred degrees.",
    "Yesterday it rained all afternoon, so we stayed at home.",
    "Please send the invoice to our office before Friday.",
    "The blue car is parked behind the supermarket.",
    "How long does it take to fly from Paris to Rome?",
    "She bought fresh bread, butter and a bottle of milk.",
    "The meeting has been moved to Wednesday morning.",
    "A friend in need is a friend indeed.",
    "He opened the letter slowly and read it twice.",
    "We would like a table for four people, please.",
    "Winter is coming and the days are getting shorter.",
    "Can you play some quiet music while I am working?",
    "The children were laughing in the garden.",
    "Nobody knows what will happen next year.",
    "Press the green button to start the machine.",
    "I think that we should buy a new computer.",
    "Good night, sleep well and see you tomorrow.",
]

# Together with the sentences above, there are fifty sentences.
MORE_SENTENCES = [
    "Would you like some coffee or would you prefer tea?",
    "The train to Berlin leaves from platform nine.",
    "My brother works in a hospital on the other side of town.",
    "Please close the door when you leave the room.",
    "We walked along the beach until the sun went down.",
    "The book on the table belongs to my neighbour.",
    "Do not forget to lock your bicycle in front of the station.",
    "They have lived in this village for more than twenty years.",
    "A glass of water and the menu, please.",
    "The weather will be warm and dry for the rest of the week.",
    "He forgot his umbrella in the restaurant.",
    "Her office is on the third floor, next to the library.",
    "The doctor told him to rest for a few days.",
    "I would rather walk than wait for the bus.",
    "Our flight was late because of the heavy snow.",
    "The garden is full of red and yellow flowers.",
    "What time does the concert begin this evening?",
    "She writes a letter to her grandmother every month.",
    "Take the second street on the right after the church.",
    "The soup needs a little more salt and pepper.",
    "We are looking for a quiet hotel near the lake.",
    "Many people prefer to work from home these days.",
    "The old bridge was built more than a hundred years ago.",
    "Could you please repeat the last part of your question?",
    "All passengers must show their tickets at the gate.",
    "Thank you very much for your help and your patience.",
]

# The text of the recording "two_cities.wav" of the moonshine-voice wheel.
# Source: Charles Dickens, "A Tale of Two Cities", 1859, first sentence.
TWO_CITIES = """
It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of
foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of
Light, it was the season of Darkness, it was the spring of hope, it was the winter of despair, we
had everything before us, we had nothing before us, we were all going direct to Heaven, we were all
going direct the other way – in short, the period was so far like the present period, that some of
its noisiest authorities insisted on its being received, for good or for evil, in the superlative
degree of comparison only.
"""


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation. Hyphens separate words."""
    return re.findall(r"[a-z]+", text.lower().replace("'", "").replace("’", ""))


def word_errors(said: str, heard: str) -> int:
    """Return how many words must be inserted, removed or changed to turn *heard* into *said*."""
    reference, hypothesis = words_of(said), words_of(heard)
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(hypothesis, 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != got)),
            )
    return row[-1]
