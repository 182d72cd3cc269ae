"""
Adapts the recognizer Moonshine tiny-en, which onnxruntime decodes greedily.

The weights are in the wheel of ``moonshine-voice`` (MIT). The library in this wheel is not loaded,
because it reports no confidence, and its voice activity detection causes wrong words at the start
of a segment.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from inworld_sync.emulator.onnx import open_model
from inworld_sync.emulator.recognition.protocols import SAMPLE_RATE_HZ, HeardWord
from inworld_sync.errors import ConfigError

__all__ = ["Moonshine", "find_weights"]

_START_TOKEN: Final = 1
_END_TOKEN: Final = 2
# The authors of the model limit the output to 6.5 tokens per second of audio, because a greedy
# decoder can repeat itself without end if the audio has no words. Source: Jeffries et al.,
# "Moonshine: Speech Recognition for Live Transcription", section 3.2.
_TOKENS_PER_SECOND: Final = 6.5
_SPARE_TOKENS: Final = 6
# The strides of the encoder's first layers need about 0.1 s of audio.
_MIN_SAMPLES: Final = SAMPLE_RATE_HZ // 10
_WORD_START: Final = "\u2581".encode()
# For noise that the detector reports as speech, the model returns "You" without a full stop, or
# repeats a few words. In the tests, every correct word had at least this confidence.
_CONFIDENCE_FLOOR: Final = 0.35
_LOOP_MAX_WORDS: Final = 4
_LOOP_MIN_TIMES: Final = 4
_REPEATED_STOPS: Final = re.compile(r"(?<=[.,?!])[.,?!]+$")

_Floats = npt.NDArray[np.float32]


def find_weights() -> Path:
    """
    Return the folder of the tiny-en weights in the installed ``moonshine-voice``.

    Raises:
        ConfigError: The package is not installed, or has no weights (0.1.1 and later).
    """
    spec = importlib.util.find_spec("moonshine_voice")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / "assets" / "tiny-en"
        if (folder / "encoder_model.ort").is_file():
            return folder
    raise ConfigError(
        "the emulator's speech recognition needs the weights in moonshine-voice 0.0.69 to 0.1.0, "
        "which are not installed: pip install 'inworld-sync[local]'"
    )


class Moonshine:
    """
    The recognizer of the emulator. It recognizes English, and needs about 15 ms of CPU time for a
    second of speech.

    Args:
        folder: The folder with ``encoder_model.ort``, ``decoder_model_merged.ort`` and
            ``tokenizer.bin``. The default is the result of :func:`find_weights`.

    Raises:
        ConfigError: The weights are not installed.
    """

    languages: tuple[str, ...] = ("en",)

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or find_weights()
        self._encoder = open_model(str(folder / "encoder_model.ort"))
        self._decoder = open_model(str(folder / "decoder_model_merged.ort"))
        self._tokens = _read_tokens((folder / "tokenizer.bin").read_bytes())
        self._no_past = {
            node.name: np.zeros((1, node.shape[1], 0, node.shape[3]), np.float32)
            for node in self._decoder.get_inputs()
            if node.name.startswith("past_key_values")
        }
        self._outputs = [node.name for node in self._decoder.get_outputs()]
        # The decoder computes the keys and values of the encoder once, with the first token.
        self._later_outputs = [name for name in self._outputs if ".encoder." not in name]

    def recognize(self, pcm: bytes) -> tuple[HeardWord, ...]:
        """
        Return the words of one segment of speech.

        Args:
            pcm: 16-bit little-endian mono at 16 kHz. The best length is 0.5 to 15 s. Silence at the
                start and the end should be short.

        Returns:
            The words with punctuation. The confidence of a word is the geometric mean of the
            probabilities of its tokens.
        """
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        if samples.size < _MIN_SAMPLES:
            samples = np.pad(samples, (0, _MIN_SAMPLES - samples.size))
        words = _without_loop(list(_words(self._decode(samples[np.newaxis]))))
        return tuple(words) if _is_believable(words) else ()

    def _decode(self, samples: _Floats) -> Iterator[tuple[bytes, float]]:
        """Yield pieces of text with their probabilities, until the model's end token."""
        # Encoder and decoder need the mask of the raw samples, and apply their strides to the mask.
        mask = np.ones(samples.shape, np.int64)
        (hidden,) = self._encoder.run(None, {"input_values": samples, "attention_mask": mask})
        past = dict(self._no_past)
        token = _START_TOKEN
        limit = int(samples.size / SAMPLE_RATE_HZ * _TOKENS_PER_SECOND) + _SPARE_TOKENS
        for step in range(limit):
            names = self._later_outputs if step else self._outputs
            logits, *present = self._decoder.run(
                names,
                {
                    "input_ids": np.array([[token]], np.int64),
                    "encoder_hidden_states": np.asarray(hidden),
                    "encoder_attention_mask": mask,
                    "use_cache_branch": np.array([step > 0]),
                    **past,
                },
            )
            for name, value in zip(names[1:], present, strict=True):
                past[name.replace("present", "past_key_values", 1)] = np.asarray(value)
            scores = np.asarray(logits)[0, -1]
            token = int(scores.argmax())
            if token == _END_TOKEN:
                return
            yield self._tokens[token], 1.0 / float(np.exp(scores - scores[token]).sum())


def _read_tokens(table: bytes) -> list[bytes]:
    """Read the tokens. A token's length takes one byte if it is below 128, otherwise two bytes."""
    tokens = []
    at = 0
    while at < len(table):
        size = table[at]
        at += 1
        if size >= 128:
            size = size - 128 + table[at] * 128
            at += 1
        tokens.append(_piece(table[at : at + size]))
        at += size
    return tokens


def _piece(token: bytes) -> bytes:
    """Return the text of a token. A byte is spelled ``<0x0A>``, and a word starts with U+2581."""
    if len(token) == 6 and token.startswith(b"<0x"):
        return bytes([int(token[3:5], 16)])
    return token.replace(_WORD_START, b" ")


def _words(pieces: Iterable[tuple[bytes, float]]) -> Iterator[HeardWord]:
    """Join pieces into words. See ``recognize`` for the confidence."""
    text = b""
    logs: list[float] = []
    for piece, probability in pieces:
        if piece.startswith(b" ") and text.strip():
            yield _word(text, logs)
            text, logs = b"", []
        text += piece
        logs.append(math.log(max(probability, 1e-6)))
    if text.strip():
        yield _word(text, logs)


def _word(text: bytes, logs: list[float]) -> HeardWord:
    confidence = math.exp(sum(logs) / len(logs))
    written = text.decode("utf-8", "replace").strip()
    return HeardWord(_REPEATED_STOPS.sub("", written), round(confidence, 4))


def _without_loop(words: list[HeardWord]) -> list[HeardWord]:
    """If the text ends with the same one to four words, four times or more, keep them once."""
    texts = [word.text.rstrip(".,?!").lower() for word in words]
    for size in range(1, _LOOP_MAX_WORDS + 1):
        # The last repetition may be incomplete.
        ends = range(max(len(texts) - size + 1, size), len(texts) + 1)
        spans = [(_loop_start(texts, size, end), end) for end in ends]
        loops = [start for start, end in spans if end - start >= size * _LOOP_MIN_TIMES]
        if loops:
            return words[: min(loops) + size]
    return words


def _loop_start(texts: list[str], size: int, end: int) -> int:
    """Return where the repetitions of the *size* words before *end* begin."""
    start = end - size
    while start >= size and texts[start - size : start] == texts[end - size : end]:
        start -= size
    return start


def _is_believable(words: list[HeardWord]) -> bool:
    if len(words) == 1 and words[0].text[-1].isalnum():
        return False
    logs = [math.log(max(word.confidence, 1e-6)) for word in words]
    return bool(logs) and math.exp(sum(logs) / len(logs)) >= _CONFIDENCE_FLOOR
