"""
Reads the argument of a Python program in this folder, runs the checks, and reports each result.

A check is a function or a coroutine function with one argument, the server. A check returns a text
about the result, or raises an exception. This file runs in the environments of all clients, so it
imports the standard library only.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import sys
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

CHECK_SECONDS = 60
SENTENCE = "The museum opens at ten and closes at six in the evening."
MARK = "RESULT "


@dataclass(frozen=True)
class Server:
    """The emulator, and two recordings: QUESTION at 24 kHz and SENTENCE at 16 kHz."""

    url: str
    ws_url: str
    api_key: str
    question: str
    sentence: str

    def question_pcm(self) -> bytes:
        return _pcm(self.question)

    def sentence_pcm(self) -> bytes:
        return _pcm(self.sentence)


Check = tuple[str, Callable[[Server], Any]]


def _pcm(path: str) -> bytes:
    with wave.open(path) as recording:
        return recording.readframes(recording.getnframes())


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def tokens_of(text: str) -> list[str]:
    """Split a text into pieces like the tokens of a language model."""
    return [text[at : at + 4] for at in range(0, len(text), 4)]


async def _run(checks: Sequence[Check], server: Server) -> int:
    failed = 0
    for feature, check in checks:
        try:
            found = check(server)
            if inspect.isawaitable(found):
                found = await asyncio.wait_for(found, CHECK_SECONDS)
            passed, detail = True, str(found)
        except Exception as error:
            passed, detail = False, f"{type(error).__name__}: {error}"
            failed += 1
        name = check.__name__.replace("_", " ")
        report = {"feature": feature, "check": name, "passed": passed, "detail": detail[:1000]}
        # The result begins on a new line, because a library may have written an incomplete line.
        sys.stdout.write(f"\n{MARK}{json.dumps(report)}\n")
        sys.stdout.flush()
    return failed


def run(checks: Sequence[Check]) -> None:
    """Run the checks. Then end the process, even if threads of a library still run."""
    asyncio.run(_run(checks, Server(**json.loads(sys.argv[1]))))
    sys.stdout.flush()
    os._exit(0)
