"""Every example runs as it is printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_runs(example, tmp_path):
    """An example ends well and says something."""
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env={**os.environ, "INWORLD_SYNC_LOCAL": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "INTERNAL SERVER ERROR" not in done.stdout


def test_page_names_each():
    """The page of the examples has a row for each of them."""
    page = EXAMPLES[0].with_name("README.md").read_text(encoding="utf-8")

    assert {example.name for example in EXAMPLES} == {
        line.split("`")[1] for line in page.splitlines() if line.startswith("| `")
    }
