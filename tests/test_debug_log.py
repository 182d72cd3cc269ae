"""If the tests run with debug logs, their output has no credential."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
# These tests run all code that uses a credential. test_auth.py is left out, because its wrong
# credentials are words that may also occur in other output.
PARTS = ["sessions", "rest", "transport", "faults", "test_client.py"]

# Matches a key, a token or a password, and the header before it. Other headers and the URLs of
# proxies do not match, because parts of them are not secret.
CREDENTIAL = re.compile(r"(?:[\w-]+: )?(?:(?:Basic|Bearer) )?([^\s:]{12,})")

# This many successive characters of a credential in the output count as a leak.
LEAK_CHARACTERS = 12


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_output_has_a_credential() -> None:
    """The output of the tests, including logs and tracebacks, has no part of a credential."""
    # tmp_path is not used, because other runs of pytest on this machine may remove its folder.
    with tempfile.TemporaryDirectory() as folder:
        _check(Path(folder))


def _check(folder: Path) -> None:
    secrets, log = folder / "secrets.json", folder / "debug.log"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-rP", "--tb=no"),
            *("-p", "support.secret_recorder"),
            *("--log-level=DEBUG", f"--log-file={log}", "--log-file-level=DEBUG"),
            f"--basetemp={folder / 'temp'}",
            *(str(TESTS / part) for part in PARTS),
        ],
        env={**os.environ, "PYTHONPATH": str(TESTS), "SECRETS_FILE": str(secrets)},
        capture_output=True,
        text=True,
        check=False,
    )

    # Tracebacks of failed tests are left out, because they have the variables of the tests. With
    # debug logs, a test that expects an empty log fails. So only most tests must pass.
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout[-2000:] + done.stderr[-2000:]
    assert int(passed[1]) > 1000
    texts = [
        match[1]
        for text in json.loads(secrets.read_text(encoding="utf-8"))
        if (match := CREDENTIAL.fullmatch(text))
    ]
    assert len(texts) > 10
    pieces = {
        text[start : start + LEAK_CHARACTERS]
        for text in texts
        for start in range(len(text) - LEAK_CHARACTERS + 1)
    }
    # The name of a test may contain a credential that the test uses.
    printed = [line for line in done.stdout.splitlines() if not line.startswith("____")]
    printed += done.stderr.splitlines() + log.read_text(encoding="utf-8").splitlines()
    leaks = [line for line in printed if not pieces.isdisjoint(_pieces_of(line))]
    assert [] == leaks[:20]


def _pieces_of(line: str) -> list[str]:
    return [line[at : at + LEAK_CHARACTERS] for at in range(len(line) - LEAK_CHARACTERS + 1)]
