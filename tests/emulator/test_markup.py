"""Markup changes the speech and is not listed as words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from inworld_sync.emulator import EmulatedVoice, Emulator, Settings
from inworld_sync.emulator.status import Refused
from inworld_sync.emulator.synthesis import SpokenSentence
from inworld_sync.emulator.tts.markup import check_readable, is_phonetic, read_markup

from support.realtime_client import open_realtime
from support.tone import ToneSynthesizer, tone_seconds
from support.tts_client import TtsClient, audio_of, open_tts

# (text, the text that is spoken, or None if nothing is removed)
SPOKEN = [
    ("Plain text, with (brackets) and a 2*3*4 product.", None),
    ("[happy] Hello.", " Hello."),
    ("Well [laughing, softly] yes.", "Well  yes."),
    ("See [name](address) and [1] and [].", None),
    ("I *really* mean it.", "I really mean it."),
    ("This is **very** good, *isn't it*?", "This is very good, isn't it?"),
    ("* a list\n* of lines", None),
    ("either/or/both and /usr/bin", None),
    ("I saw /kriːt/.", None),
]


@pytest.mark.parametrize(("text", "spoken"), SPOKEN)
def test_removed_markup(text: str, spoken: str | None) -> None:
    """Tags and emphasis marks are removed. Text that only looks like markup is not changed."""
    (passage,) = read_markup(text)

    assert (spoken or text) == passage.text
    assert [text[place] for place in passage.places] == list(passage.text)


# (text, passages with their pauses in seconds)
PAUSES = [
    ('One <break time="1.5s"/> two', [("One ", 1.5), (" two", 0)]),
    ("One<break time='300ms'>two", [("One", 0.3), ("two", 0)]),
    ("<break time=2s/>One", [("", 2), ("One", 0)]),
    ("One <break/> two", [("One ", 0), (" two", 0)]),
    ("One <break time='99999s'/>", [("One ", 10), ("", 0)]),
    ("a <breakfast> b", [("a <breakfast> b", 0)]),
]


@pytest.mark.parametrize(("text", "passages"), PAUSES)
def test_pauses(text: str, passages: list[tuple[str, float]]) -> None:
    """A break is a pause of at most ten seconds between two passages."""
    assert passages == [(one.text, one.pause_seconds) for one in read_markup(text)]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("/kriːt/", True), ("/ˈhɛloʊ/,", True), ("and/or", False), ("/usr/bin", False), ("//", False)],
)
def test_phonetic(word: str, expected: bool) -> None:
    """A word in slashes is phonetic spelling if it has phonetic symbols."""
    assert expected == is_phonetic(word)


def speak(client: TtsClient, text: str, **fields: Any) -> list[dict[str, Any]]:
    client.create(**fields)
    client.text(text)
    client.flush()
    return client.until("flushCompleted")


def words_of(results: list[dict[str, Any]]) -> list[str]:
    infos = [one.get("audioChunk", {}).get("timestampInfo") for one in results]
    tokens = [word for info in infos if info for word in info["wordAlignment"]["words"]]
    return "".join(tokens).split()


def test_words_and_pause_on_the_wire(client: TtsClient) -> None:
    """The audio has the pause of the markup, and the list of words has no markup."""
    text = "[happy] One *two* <break time='1s'/> three /kriːt/ four."
    results = speak(client, text, timestampType="WORD")

    assert ["One", "two", "three", "four."] == words_of(results)
    seconds = len(audio_of(results)) / 48000
    assert abs(tone_seconds("One two three /kriːt/ four.") + 1 - seconds) < 0.01
    starts = {
        word: start
        for one in results
        if (info := one.get("audioChunk", {}).get("timestampInfo"))
        for word, start in zip(
            info["wordAlignment"]["words"],
            info["wordAlignment"]["wordStartTimeSeconds"],
            strict=True,
        )
    }
    assert abs(tone_seconds("One two") + 1 - starts["three"]) < 0.01


@pytest.mark.parametrize("encoding", ["PCM", "LINEAR16", "WAV", "MP3", "OGG_OPUS", "FLAC", "MULAW"])
def test_markup_without_text(client: TtsClient, encoding: str) -> None:
    """If a text is only markup, there are no words, and the flush completes in every encoding."""
    audio = {"audioEncoding": encoding, "sampleRateHertz": 24000}
    results = speak(client, "[happy] <break/>", timestampType="WORD", audioConfig=audio)

    assert [] == words_of(results)
    assert 0 == results[-1]["status"]["code"]


def test_phonetic_spelling_is_spoken(speech_server: Emulator) -> None:
    """Phonetic spelling sounds like the word that it spells."""
    with open_tts(speech_server) as client:
        spelled = audio_of(speak(client, "I saw /krit/ again."))
        client.close()
        client.until("contextClosed")
        written = audio_of(speak(client, "I saw Crete again."))

    assert abs(len(spelled) - len(written)) < 0.1 * len(written)
    size = min(len(spelled), len(written)) // 4800 * 4800
    one, other = (
        np.abs(np.frombuffer(pcm[:size], "<i2").astype(float)).reshape(-1, 2400).mean(axis=1)
        for pcm in (spelled, written)
    )
    assert np.corrcoef(one, other)[0, 1] > 0.8


def test_truncated_reply_with_markup(tone_server: Emulator) -> None:
    """A truncated reply keeps its markup up to the last word that had begun."""
    text = "Say [happy] One *two* three four."
    with open_realtime(tone_server) as client:
        events = client.ask(text)
        item = events[-1]["response"]["output"][0]
        client.send(
            "conversation.item.truncate", item_id=item["id"], content_index=0, audio_end_ms=200
        )
        client.next("conversation.item.truncated")
        client.send("conversation.item.retrieve", item_id=item["id"])
        part = client.next("conversation.item.retrieved")["item"]["content"][0]

    assert "[happy] One *two" == part["transcript"]


# Languages and characters.


class EnglishTones(ToneSynthesizer):
    """A tone generator that declares its language."""

    languages = ("en",)

    def speak(
        self, text: str, voice: EmulatedVoice, *, speaking_rate: float = 1.0, normalize: bool = True
    ) -> Iterator[SpokenSentence]:
        return super().speak(text, voice, speaking_rate=speaking_rate, normalize=normalize)


@pytest.mark.parametrize("text", ["こんにちは", "Привет!", "🙂🙂", "你好 <break time='1s'/>"])
def test_unreadable_text(text: str) -> None:
    """Text without a readable character is refused with code 3, and the flush is not completed."""
    with Emulator(synthesizer=EnglishTones()) as server, open_tts(server) as client:
        client.create()
        client.text(text)
        client.flush()
        client.result()
        status = client.result()["status"]
        assert client.is_silent(client.ask)

    assert 3 == status["code"]
    assert "English only" in status["message"]


def test_partly_readable_text() -> None:
    """If only some characters cannot be spoken, the status of the flush names them."""
    with Emulator(synthesizer=EnglishTones()) as server, open_tts(server) as client:
        status = speak(client, "Hello 世界 and 世.")[-1]["status"]

    assert (0, "characters that cannot be spoken were left out: 世界") == (
        status["code"],
        status["message"],
    )


@pytest.mark.parametrize(
    ("language", "code"), [("en-US", 0), ("en", 0), ("AUTO", 0), ("fr-FR", 3), ("ja", 3)]
)
def test_language(language: str, code: int) -> None:
    """A language that the synthesizer does not speak is refused with code 3."""
    with Emulator(synthesizer=EnglishTones()) as server, open_tts(server) as client:
        client.create(language=language)
        client.text("Hello.")
        client.flush()
        client.result()
        status = client.result()["status"]

    assert code == status["code"]


def test_check_is_a_setting() -> None:
    """With check_language=False, text in another language becomes a short pause."""
    settings = Settings(check_language=False)
    with Emulator(synthesizer=EnglishTones(), settings=settings) as server:
        with open_tts(server) as client:
            assert speak(client, "こんにちは", language="ja")


@pytest.mark.parametrize("text", ["Café, naïve!", "12 + 30", "?!…", "I saw /θɪŋ/ today: 20 °C, ™"])
def test_readable_text(text: str) -> None:
    """Latin letters, digits, punctuation and phonetic symbols are readable."""
    assert "" == check_readable(text)


def test_unreadable_reply() -> None:
    """If a reply cannot be spoken, the response fails with an error that has the reason."""
    with Emulator(synthesizer=EnglishTones()) as server, open_realtime(server) as client:
        response = client.ask("Say こんにちは")[-1]["response"]

    assert "failed" == response["status"]
    assert "English only" in response["status_details"]["error"]["message"]


def test_refusal_names_the_characters() -> None:
    """The error names each unreadable character once."""
    with pytest.raises(Refused, match="'世界'"):
        check_readable("世界世界")
