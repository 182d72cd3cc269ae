"""Runs each program of a client against a new emulator, and reads the results."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from inworld_sync import AudioConfig, Inworld
from inworld_sync.emulator import Emulator, Settings
from tests.conformance.clients import Client
from tests.conformance.environments import find_program, node_environment, python_environment

PROGRAMS = Path(__file__).with_name("programs")
PROGRAM_SECONDS = 600
# Every result of a program is one line that begins with this text.
MARK = "RESULT "
# The feature, in a result that is about the program as a whole.
PROGRAM = "program"
# The texts of the two recordings. The programs in the folder have copies of these texts.
QUESTION = "What is the weather in London?"
SENTENCE = "The museum opens at ten and closes at six in the evening."
# Clients that respect these variables can reach this machine only.
_NO_NETWORK = {
    **dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"
    ),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}


@attrs.frozen
class Result:
    """The result of one check of a client. ``detail`` is an error message if the check failed."""

    feature: str
    check: str
    passed: bool
    detail: str


class _ErrorLog(logging.Handler):
    """Collects the errors that the emulator logs. No client may cause such an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def record_speech(folder: Path) -> dict[str, str]:
    """Write the recordings that clients send. Return the path of each recording by its name."""
    files = {
        "question": (QUESTION, 24000, folder / "question.wav"),
        "sentence": (SENTENCE, 16000, folder / "sentence.wav"),
    }
    with Inworld(local=True) as iw:
        for text, rate_hz, path in files.values():
            iw.tts.synthesize(text, audio=AudioConfig("PCM", rate_hz)).save(path)
    return {name: str(path) for name, (_, _, path) in files.items()}


def check_programs(client: Client) -> None:
    """Raise SetupFailed if a program that the client needs is missing."""
    for program in (*client.needs, *(("node", "npm") if client.registry == "npm" else ())):
        find_program(program)


def run_client(client: Client, cache: Path, speech: dict[str, str]) -> list[Result]:
    """Run all checks of a client. Raises SetupFailed if the client cannot be installed."""
    with tempfile.TemporaryDirectory() as folder:
        command, programs = _prepare(client, cache, Path(folder))
        results: list[Result] = []
        for program in client.programs:
            results += _run(client, [*command, str(programs / program)], speech)
    return results


def _prepare(client: Client, cache: Path, folder: Path) -> tuple[list[str], Path]:
    """Return the command that runs a program of the client, and the folder of the programs."""
    if client.registry == "PyPI":
        return [str(python_environment(cache, client.name, client.packages))], PROGRAMS
    # Node searches for packages beside the program.
    packages = node_environment(cache, client.name, client.packages)
    (folder / "node_modules").symlink_to(packages / "node_modules", target_is_directory=True)
    for file in PROGRAMS.glob("*.mjs"):
        shutil.copy(file, folder)
    return [find_program("node")], folder


def _run(client: Client, command: list[str], speech: dict[str, str]) -> list[Result]:
    log = _ErrorLog()
    logger = logging.getLogger("inworld_sync.emulator")
    logger.addHandler(log)
    try:
        # The emulator does not send at full speed, so that replies can be interrupted.
        with Emulator(settings=Settings(pace=4), tls=client.needs_tls) as server:
            results = _run_program(command, server, speech)
    finally:
        logger.removeHandler(log)
    errors = [Result(PROGRAM, "log of the emulator", False, text) for text in log.messages]
    return results + errors


def _run_program(command: list[str], server: Emulator, speech: dict[str, str]) -> list[Result]:
    wanted = {"url": server.url, "ws_url": server.ws_url, "api_key": server.api_key, **speech}
    environment = {**os.environ, **_NO_NETWORK}
    if server.ca_pem:
        authority = Path(speech["question"]).with_name("authority.pem")
        authority.write_bytes(server.ca_pem)
        environment["NODE_EXTRA_CA_CERTS"] = str(authority)
    output, errors, ending = _output_of([*command, json.dumps(wanted)], environment)
    results = list(_read_results(output))
    if not results:
        ending = ending or "it reported nothing"
    if ending:
        tail = errors.decode(errors="replace")[-2000:]
        results.append(Result(PROGRAM, PROGRAM, False, f"{ending}\n{tail}".strip()))
    return results


def _output_of(command: list[str], environment: dict[str, str]) -> tuple[bytes, bytes, str]:
    """
    Run a program.

    Return its standard output, its standard error, and a text that says how the program failed. The
    text is empty if the program succeeded.
    """
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # The program has its own process group, so that its browsers end together with the program.
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=PROGRAM_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return *process.communicate(), f"it did not end within {PROGRAM_SECONDS} s"
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    status = process.returncode
    return output, errors, f"it ended with status {status}" if status else ""


def _read_results(output: bytes) -> Iterator[Result]:
    """Read the lines that are results. A library may print other lines."""
    for line in output.decode(errors="replace").splitlines():
        if line.startswith(MARK):
            yield Result(**json.loads(line.removeprefix(MARK)))
