"""
Fetches a voice of ElevenLabs, so that it can be cloned.

Source: the ElevenLabs API reference, ``GET /v1/voices/{voice_id}`` and the audio of its samples.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

import attrs

from inworld_sync.audio import wav
from inworld_sync.audio.source import open_source
from inworld_sync.errors import RemoteProtocolError
from inworld_sync.models.options import Options
from inworld_sync.rest.addresses import split_address
from inworld_sync.rest.samples import MAX_SAMPLE_BYTES
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.urls import quote_part
from inworld_sync.wire.codec import object_in
from inworld_sync.wire.faults import text_in
from inworld_sync.wire.voices import objects_in

__all__ = ["ElevenLabsVoice", "fetch_voice"]

# The service uses at most the first 30 s of a recording.
_USED_SECONDS: Final = 30
# The languages that a clone may have. ElevenLabs uses their first two letters as codes.
_CODES: Final = (
    "AR_SA DE_DE EN_US ES_ES FR_FR HE_IL HI_IN IT_IT JA_JP KO_KR NL_NL PL_PL PT_BR RU_RU ZH_CN"
)
_LANGUAGES: Final = {code[:2].lower(): code for code in _CODES.split()}


@attrs.frozen
class ElevenLabsVoice:
    """
    A voice of ElevenLabs.

    Attributes:
        name: The name that people see.
        language: The language of a clone, such as ``EN_US``.
        audio: An audio file of up to 4 MB: the first sample of the voice, or the preview of a voice
            without samples.
    """

    name: str
    language: str
    audio: bytes = attrs.field(repr=False)


def fetch_voice(
    voice: str, api_key: str, *, base_url: str, options: Options, deadline: Deadline
) -> ElevenLabsVoice:
    """
    Fetch a voice with its first sample, or with its preview if the voice has no samples.

    Raises:
        ServiceError: ElevenLabs refused a request.
        TransportError: Could not connect, or the connection was lost.
        RemoteProtocolError: The voice has neither a sample nor a preview.
    """
    # The client's own headers, such as those for a gateway, are not sent to another company.
    options = attrs.evolve(options, base_url=base_url, headers={})
    headers = {"xi-api-key": api_key}
    path = f"/v1/voices/{quote_part('voice', voice)}"
    http = HttpClient(options)
    try:
        answer = http.request("GET", path, headers=headers, deadline=deadline)
        facts = object_in(answer.json(), "the voice of ElevenLabs")
        samples = objects_in(facts, "samples")
        if samples:
            sample = quote(text_in(samples[0], "sample_id"), safe="")
            path = f"{path}/samples/{sample}/audio"
            audio = http.request("GET", path, headers=headers, deadline=deadline).body
        else:
            audio = _preview(text_in(facts, "preview_url"), options, deadline)
    finally:
        http.close()
    labels = facts.get("labels")
    label = text_in(labels, "language") if isinstance(labels, dict) else ""
    short = label.lower().replace("_", "-").partition("-")[0]
    return ElevenLabsVoice(
        text_in(facts, "name") or voice, _LANGUAGES.get(short, "AUTO"), _cut(audio)
    )


def _preview(url: str, options: Options, deadline: Deadline) -> bytes:
    if not url:
        raise RemoteProtocolError("the voice of ElevenLabs has neither samples nor a preview")
    parts = split_address(url, "preview_url of the voice")
    if parts.scheme != urlsplit(options.endpoint("/", websocket=False)).scheme:
        raise RemoteProtocolError("expected an https:// address as preview_url of the voice")
    http = HttpClient(attrs.evolve(options, base_url=f"{parts.scheme}://{parts.netloc}"))
    try:
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        path = parts.path or "/"
        return http.request("GET", path, headers={}, query=query, deadline=deadline).body
    finally:
        http.close()


def _cut(audio: bytes) -> bytes:
    """Return the file, or its first 30 s if the file is larger than a clone accepts."""
    if len(audio) <= MAX_SAMPLE_BYTES:
        return audio
    source = open_source(audio)
    try:
        size_bytes = min(
            2 * source.sample_rate_hz * _USED_SECONDS, MAX_SAMPLE_BYTES - wav.HEADER_BYTES
        )
        pcm = bytearray()
        for block in source:
            pcm += block
            if len(pcm) >= size_bytes:
                break
    finally:
        source.close()
    del pcm[size_bytes - size_bytes % 2 :]
    return wav.header(source.sample_rate_hz, 1, len(pcm)) + bytes(pcm)
