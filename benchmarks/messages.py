"""Measures the conversion of a message to samples, and of samples to a frame."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import orjson
import pybase64
import ssrjson
from websocket import ABNF
from websockets.frames import Frame, Opcode

from benchmarks.harness import Call, Case, Settings
from inworld_sync.audio.frame import FrameBuilder
from inworld_sync.audio.split import Splitter

TTS_PATH = "result.audioChunk.audioContent"
TTS_PICKS = ("result.contextId", "result.status.code")
DELTA_PICKS = ("type", "response_id", "item_id", "output_index", "content_index")

# This many bytes of other memory are read before each call. Then the second-level cache no longer
# contains the message.
_COLD_BYTES = 4 << 20
_COLD_CALLS = 12


class _Chunk(msgspec.Struct, rename="camel"):
    audio_content: str


class _Result(msgspec.Struct, rename="camel"):
    audio_chunk: _Chunk


class _Message(msgspec.Struct):
    result: _Result


def tts_message(size: int) -> bytes:
    """Return a message with *size* bytes of audio and the times of twelve words."""
    words = [f"word{number}" for number in range(12)]
    times = [round(0.31 * number, 3) for number in range(12)]
    alignment = {"words": words, "wordStartTimeSeconds": times, "wordEndTimeSeconds": times}
    chunk = {
        "audioContent": base64.b64encode(os.urandom(size)).decode(),
        "usage": {"processedCharactersCount": 64, "modelId": "inworld-tts-2"},
        "timestampInfo": {"wordAlignment": alignment},
    }
    status = {"code": 0, "message": "", "details": []}
    result = {"contextId": os.urandom(16).hex(), "audioChunk": chunk, "status": status}
    return json.dumps({"result": result}, separators=(",", ":")).encode()


def delta_message(size: int) -> bytes:
    """Return a realtime audio delta with *size* bytes of audio."""
    message = {
        "type": "response.output_audio.delta",
        "event_id": "event_" + os.urandom(12).hex(),
        "response_id": "resp_" + os.urandom(12).hex(),
        "item_id": "item_" + os.urandom(12).hex(),
        "output_index": 0,
        "content_index": 0,
        "delta": base64.b64encode(os.urandom(size)).decode(),
    }
    return json.dumps(message, separators=(",", ":")).encode()


def cases(settings: Settings) -> Iterator[Case]:
    """Yield all cases."""
    for size in (640, 4800, 20_160) if not settings.is_quick else (20_160,):
        yield from sample_cases(size)
    yield from metadata_cases(20_160)
    for size in (960, 4800, 20_160):
        yield frame_case(size)


def sample_cases(size: int) -> Iterator[Case]:
    """Yield the cases that convert a TTS message to samples, with warm and with cold caches."""
    message = tts_message(size)
    splitter, out = Splitter(TTS_PATH), bytearray(4 * size)
    scale = np.float32(1 / 32768)

    def ours() -> object:
        return splitter.split_into(message, out)

    def by(text_of: Callable[[], str], decode: Callable[[str], bytes]) -> Call:
        return lambda: np.frombuffer(decode(text_of()), np.int16)

    def quickly(text: str) -> bytes:
        return pybase64.b64decode(text, None, True)

    def orjson_text() -> str:
        text: str = orjson.loads(message)["result"]["audioChunk"]["audioContent"]
        return text

    by_orjson = by(orjson_text, quickly)
    reader = msgspec.json.Decoder(_Message)
    peers: dict[str, Call] = {
        "orjson + pybase64": by_orjson,
        "msgspec + pybase64": by(
            lambda: reader.decode(message).result.audio_chunk.audio_content, quickly
        ),
        "ssrjson + pybase64": by(
            lambda: ssrjson.loads(message)["result"]["audioChunk"]["audioContent"], quickly
        ),
        "json + base64": by(
            lambda: json.loads(message)["result"]["audioChunk"]["audioContent"], base64.b64decode
        ),
    }
    is_long = size == 20_160
    yield Case(
        "message to int16",
        size,
        "bytes",
        ours,
        peers,
        {
            "orjson + pybase64": {"avx512": 1 / 8, "avx2": 1 / 4.5},
            "ssrjson + pybase64": {"avx512": 1 / 3.5},
        }
        if is_long
        else {},
    )
    if not is_long:
        return
    yield Case(
        "message to float32",
        size,
        "bytes",
        lambda: splitter.split_into(message, out, floats=True),
        {
            "orjson + pybase64": lambda: (
                np.frombuffer(quickly(orjson_text()), np.int16).astype(np.float32) * scale
            )
        },
        {"orjson + pybase64": {"avx512": 1 / 7, "avx2": 1 / 4.5}},
    )
    yield Case(
        "message to int16, cold",
        size,
        "bytes",
        cold(ours),
        {"orjson + pybase64": cold(by_orjson), "json + base64": cold(peers["json + base64"])},
        {"orjson + pybase64": {"any": 1 / 3}},
        returns_seconds=True,
    )


def cold(call: Call) -> Call:
    """Return a function that measures *call* after its data was removed from the caches."""
    waste = np.zeros(_COLD_BYTES, np.uint8)

    def run() -> float:
        total = 0.0
        for _ in range(_COLD_CALLS):
            waste.sum()
            begin = time.perf_counter()
            call()
            total += time.perf_counter() - begin
        return total / _COLD_CALLS

    return run


def metadata_cases(size: int) -> Iterator[Case]:
    """Yield the cases that read samples and the other values that a client needs from a message."""
    message = tts_message(size)
    splitter = Splitter(TTS_PATH, *TTS_PICKS)

    def whole() -> object:
        result = orjson.loads(message)["result"]
        audio = pybase64.b64decode(result["audioChunk"]["audioContent"], None, True)
        return np.frombuffer(audio, np.int16), result["contextId"], result["status"]["code"]

    yield Case(
        "TTS message to samples and ids",
        size,
        "bytes",
        lambda: splitter.split(message),
        {"orjson + pybase64": whole},
        {"orjson + pybase64": {"any": 1 / 2.5}},
    )
    delta = delta_message(size)
    delta_splitter = Splitter("delta", *DELTA_PICKS)

    def whole_delta() -> object:
        event = orjson.loads(delta)
        audio = pybase64.b64decode(event["delta"], None, True)
        return np.frombuffer(audio, np.int16), [event[name] for name in DELTA_PICKS]

    yield Case(
        "realtime delta to samples and ids",
        size,
        "bytes",
        lambda: delta_splitter.split(delta),
        {"orjson + pybase64": whole_delta},
        {"orjson + pybase64": {"any": 1 / 4}},
    )


def frame_case(size: int) -> Case:
    """Return the case that converts samples to a masked frame."""
    audio = os.urandom(size)
    builder = FrameBuilder('{"type":"input_audio_buffer.append","audio":"', '"}')

    def stdlib() -> object:
        body = {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}
        return ABNF.create_frame(json.dumps(body), ABNF.OPCODE_TEXT).format()

    def quick() -> object:
        body = {
            "type": "input_audio_buffer.append",
            "audio": pybase64.b64encode_as_string(audio),
        }
        return Frame(Opcode.TEXT, orjson.dumps(body)).serialize(mask=True)

    return Case(
        "audio to a masked frame",
        size,
        "bytes",
        lambda: builder.build(audio),
        {"stdlib + websocket-client": stdlib, "orjson + pybase64 + websockets": quick},
        {
            "stdlib + websocket-client": {"any": 1 / 15},
            "orjson + pybase64 + websockets": {"any": 1 / 2},
        }
        if size == 4800
        else {},
    )
