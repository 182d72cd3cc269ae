"""
Use one of the smaller speech engines through an emulator.

Runs in an environment without the default engine, which ``run_engines.py`` creates. Argument: the
class of the engine that the emulator must select there.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys

from inworld_sync.emulator import Emulator
from inworld_sync.emulator.synthesis import default_synthesizer

TEXT = "Hello there. It costs $12.50, doesn't it?\nGoodbye!"


def ask(server: Emulator, **fields: object) -> dict[str, object]:
    body = {"text": TEXT, "voiceId": "Ashley", "modelId": "inworld-tts-2", **fields}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Basic {server.api_key}"}
    connection.request("POST", "/tts/v1/voice", json.dumps(body), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def seconds(server: Emulator, rate_hz: int, **fields: object) -> float:
    audio = {"audioEncoding": "PCM", "sampleRateHertz": rate_hz, **fields}
    answer = ask(server, audioConfig=audio)
    return len(base64.b64decode(str(answer["audioContent"]))) / 2 / rate_hz


def main(wanted: str) -> None:
    engine = default_synthesizer()
    assert wanted == type(engine).__name__, type(engine)
    rate_hz = engine.sample_rate_hz
    with Emulator() as server:
        plain, quick = seconds(server, rate_hz), seconds(server, rate_hz, speakingRate=1.5)
        assert 2 < plain < 8, plain
        assert quick < plain * 0.85, (plain, quick)
        info = ask(
            server,
            timestampType="WORD",
            audioConfig={"audioEncoding": "PCM", "sampleRateHertz": rate_hz},
        )["timestampInfo"]
        assert isinstance(info, dict)
        words = info["wordAlignment"]["words"]
        assert TEXT.split() == words, words
        assert abs(info["wordAlignment"]["wordEndTimeSeconds"][-1] - plain) < 0.3
    sys.stdout.write(f"{wanted}: {plain:.2f} s at {rate_hz} Hz, {quick:.2f} s at 1.5\n")


if __name__ == "__main__":
    main(sys.argv[1])
