"""The code, the commands and the links of the README and of the other pages work."""

import re
import shlex
from pathlib import Path

import pytest

from support.programs import run_all

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]


def failures(ended):
    """Return the output of the programs that failed."""
    return {name: done.stderr for name, done in ended.items() if done.returncode != 0}


def blocks(page, language):
    """Return the fenced code blocks of a page that have a given language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_blocks_run(page, tmp_path):
    """Every Python block of a page runs as a program."""
    programs = {
        f"block {number}": ["-W", "error::ResourceWarning", "-c", code]
        for number, code in enumerate(blocks(page, "python"), 1)
    }

    assert {} == failures(run_all(programs, tmp_path))


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in blocks("README.md", "sh")
    for line in block.splitlines()
    if line.startswith("inworld-sync ") and "|" not in line
]


@pytest.mark.timeout(900)
def test_commands_run(tmp_path):
    """Every command of the README runs, except commands that need other programs."""
    programs = {" ".join(words): ["-m", "inworld_sync", *words] for words in COMMANDS}

    assert programs
    assert {} == failures(run_all(programs, tmp_path))


def test_ci_runs_the_test_command():
    """CI runs the test command of the README."""
    [command] = [b.strip() for b in blocks("README.md", "sh") if ".[test]" in b]

    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_targets_of_links_exist():
    """The target of every link to a file of the repository exists."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
