"""
Checks the emulator itself with one of the smaller speech engines.

The environment of this program has no other engine. eSpeak NG has the license GPL and is installed
only in this environment.
"""

from __future__ import annotations

import base64
import http.client
import importlib.metadata
import json
import sys
from pathlib import Path

from checks import Check, Server, run

sys.path.insert(0, str(Path(__file__).parents[3]))

from inworld_sync.emulator import Emulator
from inworld_sync.emulator.synthesis import default_synthesizer

TEXT = "Hello there. It costs $12.50, doesn't it?\nGoodbye!"
ENGINES = {"py-nanotts": "NanoSynthesizer", "espeakng-loader": "EspeakSynthesizer"}


def ask(server: Emulator, rate_hz: int, **fields: object) -> tuple[float, dict[str, object]]:
    """Synthesize the text. Return the duration of the audio in seconds, and the whole answer."""
    rate = fields.pop("speakingRate", 1.0)
    audio = {"audioEncoding": "PCM", "sampleRateHertz": rate_hz, "speakingRate": rate}
    body = {"text": TEXT, "voiceId": "Ashley", "modelId": "inworld-tts-2", "audioConfig": audio}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Basic {server.api_key}"}
    connection.request("POST", "/tts/v1/voice", json.dumps({**body, **fields}), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return len(base64.b64decode(answer["audioContent"])) / 2 / rate_hz, answer


def installed_engine(_: Server) -> str:
    """The emulator selects the installed engine. The engine speaks faster with a rate of 1.5."""
    installed = {each.metadata["Name"].lower() for each in importlib.metadata.distributions()}
    [wanted] = [engine for package, engine in ENGINES.items() if package in installed]
    engine = default_synthesizer()
    assert type(engine).__name__ == wanted, engine
    with Emulator() as server:
        plain, _ = ask(server, engine.sample_rate_hz)
        quick, _ = ask(server, engine.sample_rate_hz, speakingRate=1.5)
    assert 2 < plain < 8, plain
    assert quick < plain * 0.85, (plain, quick)
    return f"{plain:.2f} s at {engine.sample_rate_hz} Hz, {quick:.2f} s at 1.5"


def word_times(_: Server) -> str:
    rate_hz = default_synthesizer().sample_rate_hz
    with Emulator() as server:
        seconds, answer = ask(server, rate_hz, timestampType="WORD")
    info = answer["timestampInfo"]
    assert isinstance(info, dict), info
    words = info["wordAlignment"]["words"]
    assert "".join(words) == TEXT, words
    assert abs(info["wordAlignment"]["wordEndTimeSeconds"][-1] - seconds) < 0.3
    return f"{len(words)} tokens"


CHECKS: list[Check] = [("speech", installed_engine), ("word times", word_times)]

if __name__ == "__main__":
    run(CHECKS)
