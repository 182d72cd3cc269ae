"""
Checks ``inworld.js`` without a browser. The command is ``python -m tests.web.javascript``.

- ``tests`` runs the unit tests of ``inworld.js`` with the test runner of Node, without packages.
- ``types`` checks the types in the JSDoc comments with TypeScript.
- ``lint`` runs ESLint, also for the tests and for the script in ``examples/web_talk.html``.

The command exits with 1 if a check fails, and with 2 if Node, npm or a package from npm is missing.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conformance.environments import (
    SetupFailed,
    default_cache,
    find_program,
    node_environment,
)

FOLDER = Path(__file__).parent
ROOT = Path(__file__).parents[3]
PAGE = ROOT / "examples" / "web_talk.html"
PACKAGES = ("typescript==7.0.2", "eslint==10.15.0", "@eslint/js==10.0.1", "globals==17.14.0")
# Older versions of Node do not recognize a module by its syntax.
NODE_VERSION = (20, 19)
CHECK_SECONDS = 300


def run(*command: str, text: str | None = None, **variables: str) -> bool:
    """Run a program in the folder of the project. Return whether the program succeeded."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            input=text,
            text=True,
            timeout=CHECK_SECONDS,
        )
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"{command[0]} did not end within {CHECK_SECONDS} s\n")
        return False
    return done.returncode == 0


def node() -> str:
    """Return the path of Node. Raise SetupFailed if the version is too old."""
    program = find_program("node")
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    version = tuple(int(number) for number in re.findall(r"\d+", answer.stdout)[:2])
    if version < NODE_VERSION:
        wanted = ".".join(map(str, NODE_VERSION))
        raise SetupFailed(f"node {wanted} or newer is needed, got {answer.stdout.strip()}")
    return program


def packages() -> Path:
    """Return a folder with the npm packages."""
    return node_environment(
        default_cache(), "javascript checks", tuple(each.replace("==", "@") for each in PACKAGES)
    )


def check_tests() -> bool:
    files = sorted(str(path) for path in FOLDER.glob("*.test.mjs"))
    return run(node(), "--no-warnings", "--test", "--test-reporter=spec", *files)


def check_types() -> bool:
    program = packages() / "node_modules" / "typescript" / "bin" / "tsc"
    return run(node(), str(program), "--project", str(FOLDER / "tsconfig.json"))


def check_lint() -> bool:
    folder = packages()
    program = folder / "node_modules" / "eslint" / "bin" / "eslint.js"
    options = ("--config", str(FOLDER / "eslint.config.mjs"), "--max-warnings=0")
    files = ("inworld_sync/web/static/inworld.js", "tests/web/javascript/*.mjs")
    [script] = re.findall(
        r'<script type="module">\n(.*?)</script>', PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    as_file = ("--stdin", "--stdin-filename", "examples/web_talk.js")

    def lint(*arguments: str, text: str | None = None) -> bool:
        command = (node(), str(program), *options, *arguments)
        return run(*command, text=text, INWORLD_NODE_FOLDER=str(folder))

    return all([lint(*files), lint(*as_file, text=script)])


CHECKS: dict[str, Callable[[], bool]] = {
    "tests": check_tests,
    "types": check_types,
    "lint": check_lint,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.web.javascript", description=__doc__)
    names = f"{', '.join(CHECKS)}; without a name, all checks run"
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=names)
    names = parser.parse_args().checks or list(CHECKS)
    if unknown := set(names) - set(CHECKS):
        parser.error(f"unknown check {', '.join(sorted(unknown))}")
    try:
        passed = {name: CHECKS[name]() for name in names}
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for name, is_passed in passed.items():
        sys.stdout.write(f"{'ok  ' if is_passed else 'FAIL'}  {name}\n")
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
