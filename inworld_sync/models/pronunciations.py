"""
Defines pronunciation dictionaries.

Source of the ranges: Inworld's reference of pronunciation dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar, cast

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks

__all__ = ["Pronunciation", "PronunciationDictionary"]

_MAX_WORD_CHARACTERS = 128
_MAX_PHONES = 64
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?-([A-Z]{2}|\d{3})")

_T = TypeVar("_T")


def _word(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    if (
        not isinstance(value, str)
        or len(value.split()) != 1
        or value != value.strip()
        or len(value) > _MAX_WORD_CHARACTERS
    ):
        raise ConfigError(
            f"{field.name} must be one word of at most {_MAX_WORD_CHARACTERS} characters, got "
            f"{value!r:.200}"
        )


def _phones(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    is_list = isinstance(value, tuple) and all(isinstance(each, str) and each for each in value)
    if not is_list or not 1 <= len(cast("tuple[str, ...]", value)) <= _MAX_PHONES:
        raise ConfigError(
            f"{field.name} must be a list of 1 to {_MAX_PHONES} symbols of the IPA, one for each "
            f"phone, such as ['k', 'æ', 't'], got {value!r:.100}"
        )


def _to_tuple(value: Iterable[str]) -> tuple[str, ...]:
    # A str is not split into letters, because letters need not be phones. A later check refuses a
    # str.
    return cast("tuple[str, ...]", value if isinstance(value, str) else checks.to_tuple(value))


def _language(_: object, field: attrs.Attribute[_T], value: _T) -> None:
    if not isinstance(value, str) or not _LANGUAGE.fullmatch(value):
        raise ConfigError(
            f"{field.name} must be a BCP-47 tag with a region, such as en-US, got {value!r:.100}"
        )


@attrs.frozen
class Pronunciation:
    """
    How a word is spoken.

    Attributes:
        word: One word of at most 128 characters.
        phones: 1 to 64 phones in the International Phonetic Alphabet, with one symbol each. A
            diphthong of English is two phones.
        language: BCP-47 tag with its region, such as ``en-US``.
    """

    word: str = attrs.field(validator=_word)
    phones: tuple[str, ...] = attrs.field(converter=_to_tuple, validator=_phones)
    language: str = attrs.field(default="en-US", validator=_language)


@attrs.frozen
class PronunciationDictionary:
    """
    A dictionary as the service has it.

    Attributes:
        id: The id to pass in ``pronunciation_dictionaries`` of a synthesis.
        name: The name that people see.
        pronunciations: The words with their phones.
        etag: The version of the dictionary. A change needs the latest version.
    """

    id: str
    name: str
    pronunciations: tuple[Pronunciation, ...] = ()
    etag: str = ""
