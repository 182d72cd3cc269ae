"""Measures the CPU time of ``import inworld_sync`` in a new interpreter."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.environment import ROOT
from benchmarks.harness import Call, Case, Settings

# The import must not load these modules. The first connection may load them.
LATE = ("numpy", "ssl", "websocket", "asyncio", "urllib3")
LIMIT_SECONDS = 0.035

_TEMPLATE = (
    "import sys, time; begin = time.process_time(); {statement}; end = time.process_time();"
    "print(end - begin, *sorted(set({late!r}) & set(sys.modules)))"
)


def cases(_: Settings) -> Iterator[Case]:
    """Yield the cases of importing the package and of importing the client."""
    for name, statement in (
        ("import of the package, CPU", "import inworld_sync"),
        ("import of the client, CPU", "from inworld_sync import Inworld"),
    ):
        yield import_case(name, statement)


def import_case(name: str, statement: str) -> Case:
    """Compare one import statement with the limit and with the import of openai's client."""
    return Case(
        name,
        1,
        "import",
        importing(statement, late=LATE),
        {
            "the limit of 35 ms": lambda: LIMIT_SECONDS,
            "openai": importing("import openai; openai.OpenAI"),
        },
        {"the limit of 35 ms": {"any": 1.0}},
        returns_seconds=True,
        rounds=5,
    )


def standard_modules(statement: str) -> list[str]:
    """Return the modules of attrs and of the standard library that a statement imports."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    names = {*sys.stdlib_module_names, "attr", "attrs"}
    return [name for name in sorted(result.stdout.split()) if name.partition(".")[0] in names]


def importing(statement: str, late: tuple[str, ...] = ()) -> Call:
    """
    Return a function that measures the CPU seconds of a statement in a new interpreter.

    The function raises an error if the statement imports a module of *late*.
    """
    command = [sys.executable, "-c", _TEMPLATE.format(statement=statement, late=late)]
    # A first run writes the bytecode. Without the bytecode, the measured runs would also compile
    # the package.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(ROOT / "build" / "pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, check=True, capture_output=True, env=environment)

    def run() -> float:
        found = []
        for _ in range(2):
            result = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            took, *early = result.stdout.split()
            if early:
                raise RuntimeError(f"{statement!r} imports {', '.join(early)}")
            found.append(float(took))
        return statistics.median(found)

    return run
