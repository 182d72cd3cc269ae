"""Defines the classes for the service's data about the voices of the account."""

from __future__ import annotations

import attrs

__all__ = ["ClonedVoice", "SampleReport", "Voice"]


@attrs.frozen
class Voice:
    """
    A voice of the account.

    Attributes:
        id: The id that names the voice in a request.
        name: The name that people see.
        description: A description of the sound of the voice.
        languages: The languages of the voice, as the service spells them, such as ``EN_US``.
        gender: ``female``, ``male`` or ``neutral``; empty if the service does not say.
        tags: Words by which a list of voices can be filtered.
        source: ``SYSTEM`` for voices of the service, ``IVC`` for cloned and designed voices,
            ``PVC`` for professional clones.
    """

    id: str
    name: str = ""
    description: str = ""
    languages: tuple[str, ...] = ()
    gender: str = ""
    tags: tuple[str, ...] = ()
    source: str = ""


@attrs.frozen
class SampleReport:
    """
    The service's report about one recording of a clone.

    Attributes:
        transcription: The text of the recording, given by the caller or recognized by the service.
        language: The language of the recording, as the service spells it, such as ``EN_US``.
        warnings: Reasons why the clone may be worse.
        errors: Reasons why the recording was not used.
    """

    transcription: str = ""
    language: str = ""
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


@attrs.frozen
class ClonedVoice:
    """
    The result of a clone.

    Attributes:
        voice: The new voice.
        samples: One report for each recording, in the order of the recordings.
    """

    voice: Voice
    samples: tuple[SampleReport, ...] = ()
