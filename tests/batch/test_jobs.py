"""Jobs are read from CSV, JSONL and mappings, and checked before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inworld_sync import AudioEncoding, ConfigError, ContextConfig, TranscribeConfig
from inworld_sync.batch.jobs import BatchItem, output_of, read_items, read_rows


def read(jobs: Any, template: str | None = None, **settings: Any) -> list[BatchItem]:
    return read_items(
        read_rows(jobs),
        template=template,
        speech=ContextConfig(**settings),
        transcript=TranscribeConfig(),
        service="service",
    )


def test_csv(tmp_path: Path) -> None:
    """A CSV file may have quoted texts with newlines, and a byte order mark."""
    path = tmp_path / "jobs.csv"
    path.write_text(
        '\ufeffid,text,voice,sample_rate_hz\na,"One,\ntwo.",Dennis,16000\nb,Three.,,\n', "utf-8"
    )
    a, b = read(path, "{voice}-{id}.mp3")

    assert ("a", "One,\ntwo.", "Dennis-a.mp3") == (a.id, a.text, a.output)
    assert ("Dennis", 16000, AudioEncoding.MP3) == (
        a.speech.voice,
        a.speech.audio.sample_rate_hz,
        a.speech.audio.encoding,
    )
    assert ("b", "Ashley-b.mp3", 24000) == (b.id, b.output, b.speech.audio.sample_rate_hz)


def test_empty_rows(tmp_path: Path) -> None:
    """An empty row of a table, with or without separators, is not an item."""
    path = tmp_path / "jobs.csv"
    path.write_text("id,text,,\n\na,One.,,\n,,,\n\n,,,\n", "utf-8")

    assert ["a.wav"] == [item.output for item in read(path)]


def test_jsonl(tmp_path: Path) -> None:
    """A JSONL file may have numbers, empty lines and recordings."""
    path = tmp_path / "jobs.jsonl"
    rows = [{"text": "One.", "speaking_rate": 0.9}, {"audio": "call.wav", "language": "de-DE"}]
    path.write_text("\n\n".join(map(json.dumps, rows)), "utf-8")
    one, call = read(path)

    assert ("000001.wav", 0.9) == (one.output, one.speech.audio.speaking_rate)
    assert ("000002.txt", "call.wav", "de-DE") == (
        call.output,
        call.audio,
        call.transcript.language,
    )


def test_keys() -> None:
    """The key of an item changes with its text, its settings, its output and the service."""
    rows = [{"id": "a", "text": "One."}]
    [item] = read(rows)
    assert item.key == read(rows)[0].key
    others = [
        read([{"id": "a", "text": "Two."}]),
        read([{"id": "b", "text": "One."}]),
        read(rows, voice="Dennis"),
        read(rows, "{id}.mp3"),
    ]

    assert 5 == len({item.key, *(other.key for [other] in others)})
    assert [True, False, True, False] == [
        output_of(item.key) == output_of(other.key) for [other] in others
    ]


WRONG = [
    ([], None, "at least one item"),
    ([{"text": "One.", "audio": "a.wav"}], None, "item 1 must have either text or audio, got both"),
    ([{"id": "a"}], None, "got only id"),
    ([{"text": "  "}], None, "item 1: text must have something to speak"),
    ([{"text": "One.", "rate": 8000}], None, "item 1 has 'rate': use 'sample_rate_hz'"),
    ([{"text": "One.", "sample_rate_hz": "fast"}], None, "sample_rate_hz must be a number"),
    ([{"text": "One.", "sample_rate_hz": 1234}], None, "item 1: sample_rate_hz must be one of"),
    ([{"text": "One.", "temperature": 9}], None, "item 1: temperature must be"),
    ([{"text": ["One."]}], None, "text must be a text or a number, got list"),
    ([{"text": "One."}], "{id}.txt", "the output of a text must end in"),
    ([{"audio": "a.wav"}], "{id}.wav", "the output of a recording must end in"),
    ([{"text": "One.", "id": "a"}, {"text": "Two.", "id": "a"}], None, "have the same output"),
    (["One."], None, "item 1 must be a mapping"),
    ({"text": "One."}, None, "jobs must be a path or an iterable of mappings"),
    ("jobs.txt", None, r"jobs must be a \.csv or \.jsonl file"),
]


@pytest.mark.parametrize(("jobs", "template", "message"), WRONG)
def test_wrong_jobs(jobs: Any, template: str | None, message: str) -> None:
    """A wrong job raises an error that says what is wrong or what is accepted."""
    with pytest.raises(ConfigError, match=message):
        read(jobs, template)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,text\na,One.,more\n", "line 2 has more values than the header"),
        ("a.csv", b'id,text\na,"One.\n', "must be CSV in UTF-8"),
        ("a.csv", b"id,text\na,\xff\n", "must be CSV in UTF-8"),
        ("a.csv", b"id,text,text\na,One.,Two.\n", "has the name 'text' twice in its header"),
        ("a.csv", b"id,text\n,,\n", "line 2 has more values than the header"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "line 1 must be a JSON object"),
        ("a.jsonl", b'{"text": "One."}\n{"text"\n', "line 2 must be a JSON object"),
        ("a.jsonl", b"[1]\n", "line 1 must be a mapping, got list"),
        ("a.jsonl", b'{"text": "\xff"}\n', "line 1 must be a JSON object"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """A damaged file raises an error that says what is wrong."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read(path)
