"""Reads the jobs of a batch and checks them before anything is sent."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import attrs

from inworld_sync.batch.names import check_collisions, output_name
from inworld_sync.errors import ConfigError
from inworld_sync.models.settings import combine_settings
from inworld_sync.models.stt import TranscribeConfig
from inworld_sync.models.tts import FILE_ENCODINGS, FILE_FORMATS, AudioConfig, ContextConfig
from inworld_sync.wire.text import require_text

__all__ = [
    "TRANSCRIPT_SUFFIXES",
    "BatchItem",
    "Jobs",
    "Row",
    "output_of",
    "read_items",
    "read_rows",
]

# The items of a batch as mappings, or the path of a file with one item per row.
Jobs = str | os.PathLike[str] | Iterable[Mapping[str, object]]

# The number of an item, its place in the jobs (for errors), and its values.
Row = tuple[int, str, dict[str, str]]

TRANSCRIPT_SUFFIXES = (".txt", ".json", ".srt", ".vtt")

# The columns that are settings of an item. The columns text, audio and id are not settings.
_SPEECH_SETTINGS = (
    "voice", "model", "language", "delivery_mode", "text_normalization",
)  # fmt: skip
_SPEECH_NUMBERS = ("temperature",)
_AUDIO_NUMBERS = ("sample_rate_hz", "speaking_rate", "bit_rate_bps")
_TRANSCRIPT_SETTINGS = ("model", "language")
# The right name for each name that users write by mistake. A wrong name raises an error, because
# otherwise its values would have no effect.
_WRONG_COLUMNS = {
    "voice_id": "voice", "model_id": "model", "lang": "language", "rate": "sample_rate_hz",
    "speed": "speaking_rate", "file": "audio", "path": "audio", "output": "template",
}  # fmt: skip


# The numbers of digits in the two parts of a key: the hash of the output's name, and the hash of
# the text or recording with all of its settings.
_OUTPUT_DIGITS = 12
_FACTS_DIGITS = 20


@attrs.frozen
class BatchItem:
    """
    One text to speak, or one recording to transcribe.

    Attributes:
        id: The id of the item, for results and error messages.
        row: Where the item is in the jobs, for error messages.
        output: The name of the file to write, relative to the folder of the outputs.
        text: The text; None for a recording.
        audio: The path of the recording; None for a text.
        speech: The settings of a text.
        transcript: The settings of a recording.
        key: Identifies the item and all of its settings in the journal. It begins with the hash
            of the output's name; see :func:`output_of`.
    """

    id: str
    row: str
    output: str
    text: str | None = attrs.field(repr=False)
    audio: str | None
    speech: ContextConfig
    transcript: TranscribeConfig
    key: str


def output_of(key: str) -> str:
    """Return the part of a key that identifies the output."""
    return key[:_OUTPUT_DIGITS]


def read_rows(jobs: Jobs) -> list[Row]:
    """
    Read the jobs of a batch, without checking them.

    Args:
        jobs: The path of a CSV file with a header or of a JSONL file, or mappings.

    Raises:
        ConfigError: The jobs cannot be read as rows, or there are no rows.
        OSError: The file cannot be read.
    """
    rows = [(number, row, fields) for number, (row, fields) in enumerate(_rows(jobs), 1)]
    if not rows:
        raise ConfigError("jobs must have at least one item, got none")
    return rows


def read_items(
    rows: Iterable[Row],
    *,
    template: str | None,
    speech: ContextConfig,
    transcript: TranscribeConfig,
    service: str,
) -> list[BatchItem]:
    """
    Check all items of a batch.

    Args:
        rows: The rows of the jobs.
        template: The template for the names of the outputs; None means ``{id}.wav`` for texts and
            ``{id}.txt`` for recordings.
        speech: The settings of a text, unless its row has other values.
        transcript: The settings of a recording, unless its row has other values.
        service: The name of the service. The key of each item depends on this name.

    Raises:
        ConfigError: An item or an output is wrong.
    """
    items = [
        _item(number, row, fields, template, speech, transcript, service)
        for number, row, fields in rows
    ]
    check_collisions((item.output, item.row) for item in items)
    return items


def _rows(jobs: Jobs) -> Iterator[tuple[str, dict[str, str]]]:
    """
    Yield the place and the values of each row. Error messages name the place. Empty values are left
    out.
    """
    if isinstance(jobs, (str, os.PathLike)):
        path = Path(jobs)
        suffix = path.suffix.lower()
        if suffix == ".csv":
            rows = _csv_rows(path)
        elif suffix in (".jsonl", ".ndjson"):
            rows = _json_rows(path)
        else:
            raise ConfigError(f"jobs must be a .csv or .jsonl file, got {str(path)!r:.200}")
    elif isinstance(jobs, Mapping) or not isinstance(jobs, Iterable):
        raise ConfigError(
            f"jobs must be a path or an iterable of mappings, got {type(jobs).__name__}"
        )
    else:
        rows = ((f"item {number}", each) for number, each in enumerate(jobs, 1))
    for row, fields in rows:
        if not isinstance(fields, Mapping):
            raise ConfigError(f"{row} must be a mapping, got {type(fields).__name__}")
        yield row, {name: text for name, text in _texts(row, fields) if text}


def _texts(row: str, fields: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if not isinstance(name, str):
            raise ConfigError(f"{row} must have texts as names, got {name!r:.100}")
        if value is None:
            continue
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number and not isinstance(value, (str, os.PathLike)):
            raise ConfigError(
                f"{row}: {name} must be a text or a number, got {type(value).__name__}"
            )
        yield name, str(value)


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            header = [name for name in reader.fieldnames or () if name]
            for name in header:
                if header.count(name) > 1:
                    raise ConfigError(f"{path} has the name {name!r:.100} twice in its header")
            for fields in reader:
                row = f"line {reader.line_num}"
                if None in fields:
                    raise ConfigError(f"{path} {row} has more values than the header has names")
                # A spreadsheet program writes an empty row as separators only.
                if any(fields.values()):
                    yield row, fields
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path} line {reader.line_num} must be CSV in UTF-8: {error}; a .jsonl file may "
                "have texts of any length"
            ) from None


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                raise ConfigError(f"{path} line {number} must be a JSON object: {error}") from None


def _item(
    number: int,
    row: str,
    fields: dict[str, str],
    template: str | None,
    speech: ContextConfig,
    transcript: TranscribeConfig,
    service: str,
) -> BatchItem:
    text, audio = fields.get("text"), fields.get("audio")
    if (text is None) == (audio is None):
        got = "both" if text is not None else f"only {', '.join(fields) or 'nothing'}"
        raise ConfigError(f"{row} must have either text or audio, got {got}")
    for wrong in _WRONG_COLUMNS.keys() & fields.keys():
        if f"{{{wrong}}}" not in (template or ""):
            raise ConfigError(f"{row} has {wrong!r}: use {_WRONG_COLUMNS[wrong]!r} instead")
    identity = fields.get("id", f"{number:06d}")
    names = {**fields, "id": identity, "index": str(number)}
    names.setdefault("voice", speech.voice)
    if audio is not None:
        names.setdefault("stem", Path(audio).stem)
    default = "{id}.wav" if audio is None else "{id}.txt"
    output = output_name(template or default, names, row)
    suffix = PurePosixPath(output).suffix.lower()
    try:
        if text is not None:
            require_text(text)
            speech = _speech(speech, fields, suffix)
        else:
            transcript = _transcript(transcript, fields, suffix)
    except ConfigError as error:
        raise ConfigError(f"{row}: {error}") from None
    settings = attrs.asdict(speech) if text is not None else attrs.asdict(transcript)
    facts = {"text": text, "audio": audio, "output": output, "service": service, **settings}
    key = _digits(output, _OUTPUT_DIGITS) + _digits(
        json.dumps(facts, sort_keys=True, default=str), _FACTS_DIGITS
    )
    return BatchItem(identity, row, output, text, audio, speech, transcript, key)


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]


def _speech(config: ContextConfig, fields: dict[str, str], suffix: str) -> ContextConfig:
    if suffix not in FILE_FORMATS:
        raise ConfigError(
            f"the output of a text must end in {', '.join(FILE_FORMATS)}, got {suffix!r}"
        )
    encoding = {"encoding": FILE_ENCODINGS[FILE_FORMATS[suffix]]}
    numbers = _numbers(fields, _AUDIO_NUMBERS)
    changes: dict[str, object] = {name: fields[name] for name in _SPEECH_SETTINGS if name in fields}
    changes |= _numbers(fields, _SPEECH_NUMBERS)
    changes["audio"] = combine_settings(config.audio, AudioConfig(), {**encoding, **numbers})
    return combine_settings(config, ContextConfig(), changes)


def _transcript(config: TranscribeConfig, fields: dict[str, str], suffix: str) -> TranscribeConfig:
    if suffix not in TRANSCRIPT_SUFFIXES:
        raise ConfigError(
            f"the output of a recording must end in {', '.join(TRANSCRIPT_SUFFIXES)}, got "
            f"{suffix!r}"
        )
    changes = {name: fields[name] for name in _TRANSCRIPT_SETTINGS if name in fields}
    return combine_settings(config, TranscribeConfig(), changes)


def _numbers(fields: dict[str, str], names: Iterable[str]) -> dict[str, object]:
    numbers: dict[str, object] = {}
    for name in names:
        if name not in fields:
            continue
        try:
            value = float(fields[name])
        except ValueError:
            raise ConfigError(f"{name} must be a number, got {fields[name]!r:.100}") from None
        numbers[name] = int(value) if value.is_integer() else value
    return numbers
