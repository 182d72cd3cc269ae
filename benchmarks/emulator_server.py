"""
Measure the speed of the emulator: ``python benchmarks/emulator_server.py``.

The program measures:

- the time to start and to close a server, in a process that has already imported the emulator
- the time until the first audio of a text arrives
- the real-time factor of the voice: the time to receive speech, divided by its duration

The time until the first audio and the real-time factor are measured with up to 20 connections. Each
connection has up to five contexts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from typing import Any

from websockets.sync.client import ClientConnection, connect

from inworld_sync.emulator import Emulator

PATH = "/tts/v1/voice:streamBidirectional"
TEXT = (
    "Real time voice agents must answer quickly. The user speaks, the recognizer listens, "
    "and the language model starts to think. As soon as the first sentence is ready, the "
    "synthesizer begins to talk."
)
BYTES_PER_SECOND = 48000


class SpeechConnection:
    """One connection with several contexts that speak the same text."""

    def __init__(self, server: Emulator, contexts: int) -> None:
        self._server = server
        self._contexts = contexts
        self.first_ms: list[float] = []
        self.seconds = 0.0

    def run(self) -> None:
        headers = {"Authorization": f"Basic {self._server.api_key}"}
        with connect(
            self._server.ws_url + PATH, additional_headers=headers, max_queue=None
        ) as connection:
            started = time.perf_counter()
            for number in range(self._contexts):
                self._request(connection, f"c{number}")
            self._receive(connection, started)

    @staticmethod
    def _request(connection: ClientConnection, name: str) -> None:
        audio = {"audioEncoding": "PCM", "sampleRateHertz": 24000}
        config = {"voiceId": "Ashley", "modelId": "inworld-tts-2", "audioConfig": audio}
        requests: list[dict[str, Any]] = [
            {"create": config},
            {"send_text": {"text": TEXT}},
            {"close_context": {}},
        ]
        for request in requests:
            connection.send(json.dumps({**request, "contextId": name}))

    def _receive(self, connection: ClientConnection, started: float) -> None:
        begun: set[str] = set()
        closed = 0
        while closed < self._contexts:
            result = json.loads(connection.recv(timeout=60))["result"]
            if "audioChunk" in result:
                if result["contextId"] not in begun:
                    begun.add(result["contextId"])
                    self.first_ms.append((time.perf_counter() - started) * 1000)
                size = len(result["audioChunk"]["audioContent"]) * 3 / 4
                self.seconds += size / BYTES_PER_SECOND
            closed += "contextClosed" in result


def measure_start_and_close(count: int) -> None:
    for tls in (False, True):
        starts, closes = [], []
        for _ in range(count):
            begun = time.perf_counter()
            server = Emulator(tls=tls).start()
            started = time.perf_counter()
            server.close()
            starts.append((started - begun) * 1000)
            closes.append((time.perf_counter() - started) * 1000)
        print(
            f"start{' with TLS' if tls else '':9} median {statistics.median(starts):6.1f} ms, "
            f"max {max(starts):6.1f} ms; close median {statistics.median(closes):.1f} ms"
        )


def measure_speech(server: Emulator, connections: int, contexts: int) -> None:
    opened = [SpeechConnection(server, contexts) for _ in range(connections)]
    threads = [threading.Thread(target=each.run) for each in opened]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    firsts = sorted(value for each in opened for value in each.first_ms)
    seconds = sum(each.seconds for each in opened)
    print(
        f"{connections:3} x {contexts} contexts: first audio median "
        f"{statistics.median(firsts):6.1f} ms, max {firsts[-1]:7.1f} ms; "
        f"{seconds:6.1f} s of speech in {took:5.2f} s, real-time factor {took / seconds:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=20)
    repeat = parser.parse_args().repeat
    measure_start_and_close(repeat)
    with Emulator() as server:
        begun = time.perf_counter()
        SpeechConnection(server, 1).run()
        print(f"first speech, engine load included: {(time.perf_counter() - begun) * 1000:.0f} ms")
        for connections, contexts in ((1, 1), (1, 5), (20, 1), (20, 5)):
            measure_speech(server, connections, contexts)


if __name__ == "__main__":
    main()
