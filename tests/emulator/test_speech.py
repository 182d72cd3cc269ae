"""The sound, words and voices of the emulator's speech are measured."""

from __future__ import annotations

import difflib
import itertools
from typing import Any

import numpy as np
import pytest

from inworld_sync.emulator import EmulatedVoice, Emulator
from inworld_sync.emulator.synthesis import SpokenSentence, Synthesizer, default_synthesizer
from inworld_sync.emulator.voices import DISTINCT_VOICES

from support.engines import needs_pocketsphinx
from support.tts_client import TtsClient, audio_of, open_tts

ASHLEY = DISTINCT_VOICES[0]
RATE_HZ = 24000
# All sounds of this text are voiced, so each sound has a pitch that can be measured.
VOWELS = "We were away a year ago, and we are aware of our own way home."


@pytest.fixture(scope="session")
def engine() -> Synthesizer:
    return default_synthesizer()


def said(
    engine: Synthesizer, text: str, voice: EmulatedVoice = ASHLEY, **options: Any
) -> list[SpokenSentence]:
    return list(engine.speak(text, voice, **options))


def samples_of(sentences: list[SpokenSentence]) -> np.ndarray[Any, Any]:
    return np.frombuffer(b"".join(sentence.pcm for sentence in sentences), "<i2")


def seconds_of(sentences: list[SpokenSentence]) -> float:
    return len(samples_of(sentences)) / RATE_HZ


def timed(text: str, sentence: SpokenSentence) -> list[tuple[str, float, float]]:
    return [
        (text[word.start_char : word.end_char], word.start_samples, word.end_samples)
        for word in sentence.words
    ]


def pitch_hz(samples: np.ndarray[Any, Any]) -> float:
    """
    Measure the median fundamental frequency by autocorrelation.

    The peak of the autocorrelation is between two lags. A parabola through the three highest
    values gives the position of the peak.
    """
    found = []
    for at in range(0, len(samples) - 1200, 600):
        frame = samples[at : at + 1200].astype(float)
        if frame.std() < 600:
            continue
        frame -= frame.mean()
        correlation = np.correlate(frame, frame, "full")[1199:]
        lag = 60 + int(np.argmax(correlation[60:400]))
        before, peak, after = correlation[lag - 1 : lag + 2]
        if peak > 0.5 * correlation[0] and before <= peak > after:
            found.append(RATE_HZ / (lag + (before - after) / (2 * (before - 2 * peak + after))))
    return float(np.median(found))


# (text, shortest and longest time in seconds in which a person says the text)
DURATIONS = [
    ("Yes.", 0.3, 1.8),
    ("Hello and welcome to the emulator.", 1.8, 3.8),
    ("The quick brown fox jumps over the lazy dog. She sells sea shells by the sea shore.", 4, 8),
]


@pytest.mark.parametrize(("text", "least", "most"), DURATIONS)
def test_duration(engine: Synthesizer, text: str, least: float, most: float) -> None:
    """The speech of a text lasts about as long as a person's speech, and is not silent."""
    sentences = said(engine, text)

    assert least < seconds_of(sentences) < most
    assert samples_of(sentences).astype(float).std() > 500


def test_sentence_by_sentence(engine: Synthesizer) -> None:
    """Speech is generated sentence by sentence. Abbreviations do not end a sentence."""
    text = "Dr. Smith is here. Is he? Yes!\nA new line"
    sentences = said(engine, text)

    words = [[word for word, _, _ in timed(text, sentence)] for sentence in sentences]
    assert [
        ["Dr.", "Smith", "is", "here."],
        ["Is", "he?"],
        ["Yes!"],
        ["A", "new", "line"],
    ] == words


# Texts whose spoken words differ from their written words.
REWRITTEN = [
    "Dr. Smith paid $12.50 at 7:30 pm, didn't he?",
    "On March 3, 2024, 1,250 people came; 3/4 of them ran 5 km.",
    "It's 25°C & rising - see www.example.com or e-mail me@example.org!",
    "«Naïve» café — “résumé” (1st of 100%)…",
    "Call 555-1234, extension 42, room 7, between 9-5.",
    "He said:   too    many\tspaces",
]


@pytest.mark.parametrize("text", REWRITTEN)
def test_words_are_those_of_the_user(engine: Synthesizer, text: str) -> None:
    """All written words have times, in order and within the audio."""
    (sentence,) = said(engine, text)
    words = timed(text, sentence)

    assert text.split() == [word for word, _, _ in words]
    times = list(itertools.chain.from_iterable((start, end) for _, start, end in words))
    assert times == sorted(times)
    assert 0 <= times[0]
    assert times[-1] <= len(sentence.pcm) // 2


def test_a_price_takes_longer_than_a_word(engine: Synthesizer) -> None:
    """A price lasts as long as all the words with which it is spoken."""
    text = "It costs $12.50 now."
    (sentence,) = said(engine, text)
    lengths = {word: end - start for word, start, end in timed(text, sentence)}

    assert lengths["$12.50"] > 3 * lengths["costs"]


def test_word_times_fit_the_sound(engine: Synthesizer) -> None:
    """The sound before the first word, and between two words, is quieter than the words."""
    text = "Stop, please."
    (sentence,) = said(engine, text)
    samples = samples_of([sentence]).astype(float)
    (_, start, end), (_, second, last) = timed(text, sentence)
    loud = samples[int(start) : int(last)].std()

    assert samples[: int(start * 0.8)].std() < loud / 10
    assert samples[int(end) : int(second)].std() < samples[int(start) : int(end)].std()


def test_phones(engine: Synthesizer) -> None:
    """Each word has its phonemes in IPA, in order and within the word."""
    text = "My boy, choose a phone."
    (sentence,) = said(engine, text)

    symbols = ["".join(phoneme.symbol for phoneme in word.phonemes) for word in sentence.words]
    assert ["maɪ", "bɔɪ", "ʧuz", "ɐ", "foʊn"] == symbols
    for word in sentence.words:
        times = [(phoneme.start_samples, phoneme.end_samples) for phoneme in word.phonemes]
        assert times == sorted(times)
        assert word.start_samples <= times[0][0]
        assert times[-1][1] <= word.end_samples


def test_same_bytes_every_time(engine: Synthesizer) -> None:
    """The same text and voice give the same samples."""
    assert said(engine, VOWELS)[0].pcm == said(engine, VOWELS)[0].pcm


def test_voices_differ(engine: Synthesizer) -> None:
    """
    Any two voices differ by more than a semitone in pitch, or by more than 5 % in speed.

    The pitches of the most similar voices, Aarav and Clive, differ by 1.6 to 1.9 semitones. The
    difference depends on the release of the engine.
    """
    semitone = np.log(2) / 12
    facts = {}
    for voice in DISTINCT_VOICES:
        sentences = said(engine, VOWELS, voice)
        facts[voice.voice_id] = (pitch_hz(samples_of(sentences)), seconds_of(sentences))

    for (one, (pitch, pace)), (other, (pitch_2, pace_2)) in itertools.combinations(
        facts.items(), 2
    ):
        differ = abs(np.log(pitch / pitch_2)) > semitone or abs(np.log(pace / pace_2)) > 0.05
        assert differ, f"{one} {facts[one]} sounds like {other} {facts[other]}"


def test_voices_fit_their_description(engine: Synthesizer) -> None:
    """
    The pitch of male voices is below 165 Hz. The pitch of female voices is above 185 Hz.

    The voices nearest to these limits are Aarav (149 Hz) and Ashley (208 Hz). Rounding in an
    engine changes a pitch by about 1 Hz.
    """
    for voice in DISTINCT_VOICES:
        pitch = pitch_hz(samples_of(said(engine, VOWELS, voice)))

        if voice.gender == "male":
            assert 80 < pitch < 165, voice.voice_id
        if voice.gender == "female":
            assert 185 < pitch < 320, voice.voice_id


def test_formants_do_not_change_the_pace(engine: Synthesizer) -> None:
    """Formants are lowered by resampling, but the speed stays about the same."""
    large = EmulatedVoice(voice_id="L", gender="male", description="", formant=0.8)
    ratio = seconds_of(said(engine, VOWELS, large)) / seconds_of(said(engine, VOWELS))

    assert abs(ratio - 1) < 0.15


@pytest.mark.parametrize("rate", [0.5, 0.75, 1.25, 1.5])
def test_speaking_rate(engine: Synthesizer, rate: float) -> None:
    """speaking_rate divides the duration, and does not change the pitch."""
    plain, changed = said(engine, VOWELS), said(engine, VOWELS, speaking_rate=rate)

    assert abs(seconds_of(plain) / seconds_of(changed) - rate) < 0.1 * rate
    assert abs(np.log(pitch_hz(samples_of(changed)) / pitch_hz(samples_of(plain)))) < 0.1


@pytest.mark.parametrize("text", ["こんにちは", "🎉", "***", "...", "-", "\u200b x"])
def test_unreadable_text_is_a_pause(engine: Synthesizer, text: str) -> None:
    """Text that cannot be read becomes a short pause, and raises no error."""
    assert 0 < seconds_of(said(engine, text)) < 2


def test_long_text_without_an_end(engine: Synthesizer) -> None:
    """A text of 2000 characters without a full stop is spoken completely, at the usual speed."""
    text = "one two three four five six seven eight nine ten " * 40
    sentences = said(engine, text)

    assert len(text.split()) == sum(len(sentence.words) for sentence in sentences)
    per_word = seconds_of(sentences) / len(text.split())
    assert 0.2 < per_word < 0.6


def spoken_over_the_wire(server: Emulator, text: str, **audio: Any) -> bytes:
    with open_tts(server) as client:
        return talk(client, text, audio)


def talk(client: TtsClient, text: str, audio: dict[str, Any]) -> bytes:
    client.create(audioConfig={"audioEncoding": "PCM", "sampleRateHertz": 16000, **audio})
    client.text(text)
    client.close()
    return audio_of(client.until("contextClosed"))


SPOKEN = (
    "The train to Manchester leaves from platform seven.",
    "Please call me back tomorrow morning.",
    "A good teacher explains difficult ideas with simple examples.",
)


@needs_pocketsphinx
def test_speech_is_understood(speech_server: Emulator) -> None:
    """An independent recognizer recognizes at least 90 % of the words."""
    import pocketsphinx

    decoder = pocketsphinx.Decoder(samprate=16000, loglevel="FATAL")
    right = total = 0
    for text in SPOKEN:
        decoder.start_utt()
        decoder.process_raw(spoken_over_the_wire(speech_server, text), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        heard = hypothesis.hypstr.split() if hypothesis else []
        wanted = text.lower().replace(".", "").split()
        blocks = difflib.SequenceMatcher(None, wanted, heard, autojunk=False)
        right += sum(block.size for block in blocks.get_matching_blocks())
        total += len(wanted)

    assert right >= 0.9 * total
