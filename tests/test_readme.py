"""The README does what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    """The fenced blocks of a page in a language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


PYTHON_BLOCKS = [
    pytest.param(code, id=f"{page}-{number}")
    for page in PAGES
    for number, code in enumerate(blocks(page, "python"), 1)
]


@pytest.mark.parametrize("code", PYTHON_BLOCKS)
def test_python_blocks_run(code, tmp_path):
    """Every Python block runs by itself, as a reader would paste it."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in blocks("README.md", "sh")
    for line in block.splitlines()
    if line.startswith("inworld-sync ") and "|" not in line
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_run(arguments, tmp_path):
    """Every command of the README that needs no other program runs."""
    done = subprocess.run(
        [sys.executable, "-m", "inworld_sync", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr


def test_test_command_is_what_ci_runs():
    """The README's test command is the one that is proven on every change."""
    [command] = [b.strip() for b in blocks("README.md", "sh") if ".[test]" in b]

    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_links_lead_somewhere():
    """Every link to a file of the repository leads to one."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
