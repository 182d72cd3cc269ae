"""Makes the names of output files from a template, and checks them before anything is sent."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from inworld_sync.errors import ConfigError

__all__ = ["RESERVED_NAMES", "check_collisions", "output_name"]

# The journal is in the folder of the outputs, so no output may have its name.
RESERVED_NAMES = frozenset({"journal.jsonl"})

_FIELD = re.compile(r"\{(\w+)(?::0(\d{1,2}))?\}")
# Characters that separate folders, or that at least one system does not allow in the name of a
# file. Half of a surrogate pair cannot be written in UTF-8.
_REFUSED = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*\ud800-\udfff]')
# For each of these names, with or without a suffix, Windows opens a device instead of a file.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_MAX_NAME_BYTES = 255


def output_name(template: str, fields: Mapping[str, str], row: str) -> str:
    """
    Fill in a template and return the name of a file, relative to the folder of the outputs.

    Args:
        template: A name with fields such as ``{voice}/{id}.wav``. ``{index:05}`` fills a number
            with zeros. A slash separates folders.
        fields: The values of the fields.
        row: The row of the jobs, for errors.

    Raises:
        ConfigError: The template or the name is wrong, or the name would be outside the folder.
    """

    def value_of(match: re.Match[str]) -> str:
        name, width = match[1], match[2]
        if name not in fields:
            raise ConfigError(
                f"template has the field {{{name}}}, which {row} does not have: it has "
                f"{', '.join(fields)}"
            )
        value = fields[name]
        if found := _REFUSED.search(value):
            raise ConfigError(
                f"{row}: the value {value!r:.100} of {{{name}}} has {found[0]!r}, which is not "
                "allowed in the name of a file"
            )
        return value.zfill(int(width)) if width else value

    if rest := re.search(r"[{}]", _FIELD.sub("", template)):
        raise ConfigError(
            f"template must have fields such as {{id}} or {{index:05}}, got {rest[0]!r} in "
            f"{template!r:.100}"
        )
    name = unicodedata.normalize("NFC", _FIELD.sub(value_of, template))
    for part in name.split("/"):
        reason = _fault(part)
        if reason:
            raise ConfigError(f"{row}: the output {name!r:.300} has a part that {reason}")
    return name


def _fault(part: str) -> str:
    if not part:
        return "is empty: use a relative name without // or a slash at an end"
    if part in (".", ".."):
        return f"is {part!r}, which may lead outside the folder"
    if found := _REFUSED.search(part):
        return f"has {found[0]!r}, which is not allowed in the name of a file"
    if part[-1] in ". " or part[0] == " ":
        return "begins or ends with a space, or ends with a dot"
    if _DEVICE.match(part):
        return "is the name of a device on Windows"
    if len(part.encode(errors="replace")) > _MAX_NAME_BYTES:
        return f"is longer than {_MAX_NAME_BYTES} bytes"
    return ""


def check_collisions(names: Iterable[tuple[str, str]]) -> None:
    """
    Check that no two items have the same output.

    Names that differ only in case count as equal, since some file systems do not distinguish them.

    Args:
        names: The output and the row of each item.

    Raises:
        ConfigError: Two outputs are equal, an output is the folder of another output, or an output
            has a name of the batch itself.
    """
    seen: dict[str, str] = {}
    for name, row in names:
        same = name.casefold()
        # A folder with a reserved name would prevent the creation of the batch's own file.
        if same.partition("/")[0] in RESERVED_NAMES:
            raise ConfigError(
                f"{row}: the output {name!r:.300} has the name of the batch's own file"
            )
        if same in seen:
            raise ConfigError(
                f"{seen[same]} and {row} have the same output {name!r:.300}: put a field that "
                "differs into the template, such as {id} or {index}"
            )
        seen[same] = row
    for name, row in seen.items():
        folder = name
        while "/" in folder:
            folder = folder.rpartition("/")[0]
            if folder in seen:
                raise ConfigError(
                    f"{folder!r} is the output of {seen[folder]}, but also a folder of the output "
                    f"of {row}: change the template"
                )
