"""
Connect clients by other authors to the emulator: ``python -m tests.conformance``.

Exits with 1 if a check fails, and with 2 if a client cannot be installed, or if a program that the
client needs is not installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.clients import CLIENTS
from tests.conformance.environments import SetupFailed, default_cache, find_program
from tests.conformance.runner import check_programs, record_speech, run_client
from tests.conformance.table import PAGE, Run, write


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    names = [client.name for client in CLIENTS]
    parser.add_argument("names", nargs="*", metavar="CLIENT", help="run only these clients")
    parser.add_argument("--list", action="store_true", help="list the clients")
    parser.add_argument(
        "--write", action="store_true", help=f"if no check fails, write docs/{PAGE.name}"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="the folder in which the clients are installed",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"unknown client {', '.join(sorted(unknown))}; --list lists the names")
    if arguments.write and arguments.names:
        parser.error("--write needs the results of all clients, so it takes no names")
    return arguments


def _version(program: str) -> str:
    command = [find_program(program), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def _show(run: Run) -> None:
    sys.stdout.write(f"{run.client.name}\n")
    for result in run.results:
        state = "ok  " if result.passed else "FAIL"
        sys.stdout.write(f"  {state}  {result.feature}: {result.check}: {result.detail}\n")
    for feature in run.surpassed():
        sys.stdout.write(f"  FAIL  {feature}: listed as a limit of the client, but it passed\n")
    sys.stdout.flush()


def main() -> int:
    arguments = _arguments()
    if arguments.list:
        sys.stdout.write("".join(f"{client.name}\n" for client in CLIENTS))
        return 0
    clients = [one for one in CLIENTS if one.name in arguments.names or not arguments.names]
    runs = []
    try:
        for client in clients:
            check_programs(client)
        with tempfile.TemporaryDirectory() as folder:
            speech = record_speech(Path(folder))
            for client in clients:
                runs.append(Run(client, run_client(client, arguments.cache, speech)))
                _show(runs[-1])
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if any(run.unexpected() or run.surpassed() for run in runs):
        return 1
    if arguments.write:
        browser = " ".join(_version("chromium").split()[:2])
        write(runs, browser, _version("node"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
