"""The subcommands of ``inworld-sync voices`` print a table or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inworld_sync.emulator import Emulator

from support.commands import Run
from support.rest_client import wav_file

PROMPT = "A calm, low voice of a man who tells stories"


def test_clone_update_and_delete(run: Run, server: Emulator, tmp_path: Path) -> None:
    """A voice is cloned, listed, changed and deleted. Warnings are printed on standard error."""
    file = tmp_path / "me.wav"
    file.write_bytes(wav_file())
    where = ("--base-url", server.url)
    cloned = run("voices", "clone", str(file), "--name", "Cli Voice", "--tag", "x", *where)
    assert 0 == cloned.status
    assert "local__cli-voice" in cloned.out.decode()
    assert f"{file}: the emulator does not imitate" in cloned.err

    listed = json.loads(run("voices", "list", "--source", "IVC", "--json", *where).out)
    assert ["local__cli-voice"] == [voice["id"] for voice in listed]
    updated = run("voices", "update", "local__cli-voice", "--name", "New", "--json", *where)
    assert ("New", ["x"]) == (json.loads(updated.out)["name"], json.loads(updated.out)["tags"])
    found = run("voices", "get", "local__cli-voice", "--json", *where)
    assert json.loads(updated.out) == json.loads(found.out)

    deleted = run("voices", "delete", "local__cli-voice", *where)
    assert (0, b"", "inworld-sync: deleted local__cli-voice\n") == (
        deleted.status,
        deleted.out,
        deleted.err,
    )
    again = run("voices", "delete", "local__cli-voice", "--json", *where)
    assert (1, True) == (again.status, "not found" in again.err)


def test_clone_as_json(run: Run, server: Emulator, tmp_path: Path) -> None:
    """The JSON of ``clone`` has the voice, and a report for each file."""
    file = tmp_path / "me.wav"
    file.write_bytes(wav_file())
    done = run(
        *("voices", "clone", str(file), str(file), "--name", "A", "--json"),
        *("--transcription", "one", "--transcription", "two", "--base-url", server.url),
    )
    answer = json.loads(done.out)
    run("voices", "delete", answer["voice"]["id"], "--base-url", server.url)

    assert ["one", "two"] == [sample["transcription"] for sample in answer["samples"]]


def test_design_and_publish(run: Run, server: Emulator, tmp_path: Path) -> None:
    """``design`` writes a file for each preview. ``publish`` makes a voice of one preview."""
    output = str(tmp_path / "p")
    done = run(
        *("voices", "design", PROMPT, "--text", "Hello.", "--count", "2", "-o", output),
        *("--json", "--base-url", server.url),
    )
    rows = json.loads(done.out)
    assert [f"{output}-1.wav", f"{output}-2.wav"] == [row["file"] for row in rows]
    assert all(Path(row["file"]).read_bytes().startswith(b"RIFF") for row in rows)
    voice = run(
        *("voices", "publish", rows[1]["id"], "--name", "Teller", "--json"),
        *("--base-url", server.url),
    )
    assert "Teller" == json.loads(voice.out)["name"]
    run("voices", "delete", rows[1]["id"], "--base-url", server.url)


def test_list_is_the_default(run: Run, server: Emulator) -> None:
    """Without a subcommand, the voices are listed, with the same filters as for ``list``."""
    where = ("--gender", "male", "--tag", "calm", "--json", "--base-url", server.url)

    assert run("voices", *where).out == run("voices", "list", *where).out


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("clone", "none.wav", "--name", "A"), 1, "No such file"),
    (("clone", "--name", "A"), 2, "Missing argument"),
    (("clone", "{empty}", "--name", "A"), 1, "samples[0] (empty.wav) is empty (0 bytes)"),
    (("clone", "{empty}", "--name", " "), 2, "--name must be"),
    (
        ("clone", "{empty}", "--name", "A", "--transcription", "a", "--transcription", "b"),
        2,
        "--transcription must have one text for each of the 1 samples",
    ),
    (("design", "short", "--text", "Hi"), 2, "PROMPT must have 30 to 250 characters, got 5"),
    (("design", PROMPT, "--text", " "), 2, "--text must be"),
    (("design", PROMPT, "--text", "Hi", "--count", "4"), 2, "--count must be 1 to 3"),
    (("update", "Ashley"), 2, "update needs --name, --description or --tag"),
    (("update", "Ashley", "--name", "Mine"), 3, "belongs to the service"),
    (("get", "none"), 1, "none not found"),
    (("--json", "get", "Ashley"), 2, "options must follow the command"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), WRONG)
def test_failures(
    run: Run,
    server: Emulator,
    tmp_path: Path,
    arguments: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    """Wrong usage, or an error of the service, has the right exit status and message."""
    (tmp_path / "empty.wav").touch()
    given = [each.format(empty=tmp_path / "empty.wav") for each in arguments]
    done = run("voices", *given, "--base-url", server.url)

    assert (done.status, words in done.err) == (status, True), done.err
