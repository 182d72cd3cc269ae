"""Lists, clones, designs, publishes, changes and deletes the voices of an account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, cast

from inworld_sync.audio import base64
from inworld_sync.audio.source import AudioLike
from inworld_sync.errors import (
    AudioError,
    ConfigError,
    RemoteProtocolError,
)
from inworld_sync.models.checks import require_whole
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.voices import ClonedVoice, Voice
from inworld_sync.rest.advice import explained
from inworld_sync.rest.elevenlabs import fetch_voice
from inworld_sync.rest.previews import VoicePreview
from inworld_sync.rest.samples import audio_file
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.http import HttpClient
from inworld_sync.transport.urls import quote_part
from inworld_sync.wire.codec import JsonObject, object_in
from inworld_sync.wire.faults import text_in
from inworld_sync.wire.voices import has_voice_id, items_in, objects_in, read_report, read_voice

__all__ = ["Voices"]

_PATH: Final = "/voices/v1/voices"
_PAGE_SIZE: Final = 200
_MAX_PAGES: Final = 500
# Source: the service's reference of voices:design.
_PROMPT_CHARACTERS: Final = (30, 250)
_MAX_PREVIEWS: Final = 3
_SOURCES: Final = ("SYSTEM", "IVC", "PVC")


class Voices:
    """
    The voices of the account. Programs use this object as ``iw.voices``.

    Each *timeout* is the largest number of seconds for the whole call, retries and all pages
    included. A call that changes something is sent once; only an attempt that could not connect is
    repeated.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    @with_keyword_hints
    def list(
        self,
        *,
        language: str | Sequence[str] | None = None,
        source: Literal["SYSTEM", "IVC", "PVC"] | None = None,
        gender: str | None = None,
        tags: Sequence[str] = (),
        timeout: float | None = 10.0,
    ) -> list[Voice]:
        """
        Return all voices, or those that match every filter.

        An entry that cannot be read, such as an entry without an id, is left out, and a warning is
        logged.

        Args:
            language: One or several languages, such as ``EN_US``; the service applies this filter.
            source: ``SYSTEM`` for voices of the service, ``IVC`` for cloned and designed voices,
                ``PVC`` for professional clones. The client applies this filter and the next two.
            gender: ``female``, ``male`` or ``neutral``.
            tags: Words. The voice must have all these words as tags.
            timeout: The largest number of seconds for the whole list.

        Raises:
            ConfigError: A filter has a wrong type or an unknown value.
            ServiceError: The service refused the request.
            TransportError: Could not connect, or the connection was lost.
            RemoteProtocolError: The list, or every entry of the list, cannot be read.
        """
        languages = [_language(each) for each in _texts_of("language", language or ())]
        if source is not None and source not in _SOURCES:
            raise ConfigError(f"source must be one of {', '.join(_SOURCES)}, got {source!r}")
        if gender is not None:
            _string("gender", gender)
        wanted = {tag.casefold() for tag in _texts_of("tags", tags)}
        deadline = Deadline(timeout, "listing the voices")
        entries = list(self._pages(languages, deadline))
        voices = [read_voice(entry) for entry in entries if has_voice_id(entry)]
        if unread := len(entries) - len(voices):
            if not voices:
                raise RemoteProtocolError(
                    f"expected voices with a voiceId, got {unread} without one"
                )
            self._http.options.logger.warning(
                "%d of %d voices have no voiceId and were left out", unread, len(entries)
            )
        return [
            voice
            for voice in voices
            if (source is None or voice.source == source)
            and (gender is None or voice.gender.casefold() == gender.casefold())
            and wanted <= {tag.casefold() for tag in voice.tags}
        ]

    def get(self, voice: str, *, timeout: float | None = 10.0) -> Voice:
        """
        Return the voice whose id is *voice*.

        Args:
            voice: The id.
            timeout: The largest number of seconds for the call.

        Raises:
            ConfigError: *voice* is blank or not a str.
            NotFoundError: No voice has this id.
        """
        return read_voice(self._call("GET", _path(voice), Deadline(timeout, "getting the voice")))

    @with_keyword_hints
    def clone(
        self,
        samples: AudioLike | Sequence[AudioLike],
        *,
        name: str,
        language: str = "AUTO",
        transcriptions: Sequence[str | None] | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        remove_background_noise: bool = False,
        sample_rate_hz: int | None = None,
        channels: int = 1,
        timeout: float | None = 300.0,
    ) -> ClonedVoice:
        """
        Make a voice from recordings of a speaker.

        Clone only the voice of a person who has agreed. The request is sent once, because the
        service would make a second voice from a second request.

        Args:
            samples: One recording or a list of recordings, 3 to 30 s of speech each: paths, open
                binary files, bytes of a file, or another form that ``iw.stt.transcribe`` accepts.
                WAV and MP3 files of up to 4 MB are sent unchanged. All other audio is sent as
                16-bit mono WAV.
            name: The name of the voice that people see. Programs use the id.
            language: The language of the speaker, such as ``EN_US``; ``AUTO`` detects the language.
            transcriptions: The text of each recording. If a text is None, or the whole list is
                None, the service recognizes the text.
            description: A description of the sound of the voice.
            tags: Words for filters.
            remove_background_noise: Whether the service removes noise from the recordings.
            sample_rate_hz: Sample rate in Hz of raw samples and arrays, 1 to 768000.
            channels: Channels of raw samples, 1 to 64.
            timeout: The largest number of seconds for the call.

        Returns:
            The voice, and a report for each recording.

        Raises:
            AudioError: A recording is not audio, empty or too large; nothing was sent.
            ConfigError: An argument is wrong; nothing was sent.
            OSError: A file cannot be read.
            QuotaError: The plan has no room for another voice, or a rate limit is reached.
            TransportError: The request failed; the error says if the request may have arrived.
        """
        is_several = isinstance(samples, (tuple, list))
        given = cast("Sequence[AudioLike]", samples if is_several else (samples,))
        if not given:
            raise ConfigError("samples must have at least one recording, got an empty list")
        body = {**_names(name, language), **_optional(description=description, tags=tags)}
        if remove_background_noise:
            body["audioProcessingConfig"] = {"removeBackgroundNoise": True}
        texts = _transcriptions(transcriptions, len(given))
        if len(texts) != len(given):
            raise ConfigError(
                f"transcriptions must have one text for each of the {len(given)} samples, got "
                f"{transcriptions!r:.100}"
            )
        deadline = Deadline(timeout, "cloning the voice")
        files = [
            audio_file(each, f"samples[{index}]", sample_rate_hz, channels)
            for index, each in enumerate(given)
        ]
        return self._clone(files, texts, body, deadline)

    @with_keyword_hints
    def clone_from_elevenlabs(
        self,
        voice: str,
        *,
        api_key: str,
        base_url: str = "https://api.elevenlabs.io",
        timeout: float | None = 300.0,
    ) -> ClonedVoice:
        """
        Clone a voice of an ElevenLabs account from the first sample or the preview of this voice.

        The new voice has the name and the language of the ElevenLabs voice. Clone only the voice of
        a person who has agreed.

        Args:
            voice: The id of the voice at ElevenLabs.
            api_key: A key of the ElevenLabs account; it is sent to *base_url* only.
            base_url: The address of the ElevenLabs service.
            timeout: The largest number of seconds for the whole call.

        Raises:
            AudioError: The sample is not audio.
            ServiceError: One of the two services refused a request. The message names the service.
            TransportError: A request failed; if the voice may exist, the message says so.
        """
        deadline = Deadline(timeout, "cloning the voice")
        found = fetch_voice(
            _text("voice", voice),
            _secret("api_key", api_key),
            base_url=base_url,
            options=self._http.options,
            deadline=deadline,
        )
        file = audio_file(found.audio, "the sample of ElevenLabs", None, 1)
        return self._clone([file], [None], _names(found.name, found.language), deadline)

    @with_keyword_hints
    def design(
        self,
        prompt: str,
        *,
        preview_text: str,
        language: str = "EN_US",
        preview_count: int = 1,
        timeout: float | None = 120.0,
    ) -> tuple[VoicePreview, ...]:
        """
        Make voices from a description; :meth:`publish` adds one of them to the account.

        Args:
            prompt: A description of the sound of the voice, 30 to 250 characters.
            preview_text: The text that the previews speak.
            language: The language of the voice, such as ``EN_US``.
            preview_count: How many voices to choose from, 1 to 3.
            timeout: The largest number of seconds for the call.

        Raises:
            ConfigError: An argument is wrong; nothing was sent.
            ServiceError: The service refused the request.
            TransportError: Could not connect, or the connection was lost.
        """
        low, high = _PROMPT_CHARACTERS
        if not isinstance(prompt, str) or not low <= len(prompt) <= high:
            size = f"{len(prompt)} characters" if isinstance(prompt, str) else repr(prompt)
            raise ConfigError(f"prompt must have {low} to {high} characters, got {size}")
        require_whole("preview_count", preview_count, 1, _MAX_PREVIEWS)
        body = {
            "designPrompt": prompt,
            "previewText": _text("preview_text", preview_text),
            "langCode": _language(language),
            "voiceDesignConfig": {"numberOfSamples": preview_count},
        }
        deadline = Deadline(timeout, "designing the voice")
        answer = self._call("POST", f"{_PATH}:design", deadline, body)
        language = text_in(answer, "langCode")
        previews = objects_in(answer, "previewVoices")
        if not previews:
            raise RemoteProtocolError("expected at least one voice in previewVoices, got none")
        return tuple(_preview(each, language) for each in previews)

    @with_keyword_hints
    def publish(
        self,
        voice: str,
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] = (),
        timeout: float | None = 30.0,
    ) -> Voice:
        """
        Add a designed voice to the account.

        Args:
            voice: The id of a preview.
            name: The name of the voice that people see. Programs use the id.
            description: A description of the sound of the voice.
            tags: Words for filters.
            timeout: The largest number of seconds for the call.

        Raises:
            ConfigError: An argument is wrong; nothing was sent.
            NotFoundError: No preview has this id, or the preview has expired.
            TransportError: The request failed; the error says if the request may have arrived.
        """
        path = _path(voice)
        body = {
            "voiceId": voice,
            **_optional(displayName=name, description=description, tags=tags),
        }
        deadline = Deadline(timeout, "publishing the voice")
        advice = f"the voice may or may not be published: see iw.voices.get({voice!r})"
        return read_voice(self._call("POST", f"{path}:publish", deadline, body, advice))

    @with_keyword_hints
    def update(
        self,
        voice: str,
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        timeout: float | None = 30.0,
    ) -> Voice:
        """
        Change the data of a voice. An argument that is None changes nothing.

        Args:
            voice: The id.
            name: The new name that people see.
            description: The new description; an empty text removes the description.
            tags: All new tags; an empty list removes all tags.
            timeout: The largest number of seconds for the call.

        Returns:
            The voice with its changes.

        Raises:
            ConfigError: There is no change, or an argument is wrong; nothing was sent.
            NotFoundError: No voice has this id.
            TransportError: The request failed; the error says if the request may have arrived.
        """
        path = _path(voice)
        body: dict[str, object] = {}
        if name is not None:
            body["displayName"] = _text("name", name)
        if description is not None:
            body["description"] = _string("description", description)
        if tags is not None:
            body["tags"] = [*_texts_of("tags", tags)]
        if not body:
            raise ConfigError("update needs at least one of name, description and tags")
        deadline = Deadline(timeout, "updating the voice")
        advice = "the change may or may not be made; it is safe to make the same change again"
        return read_voice(self._call("PATCH", path, deadline, body, advice))

    def delete(self, voice: str, *, timeout: float | None = 30.0) -> None:
        """
        Delete a cloned or designed voice.

        Args:
            voice: The id.
            timeout: The largest number of seconds for the call.

        Raises:
            ConfigError: *voice* is blank or not a str.
            NotFoundError: No voice has this id.
            ServiceError: The voice belongs to the service.
            TransportError: The request failed; the error says if the request may have arrived.
        """
        advice = f"the voice may or may not be deleted: see iw.voices.get({voice!r})"
        self._call("DELETE", _path(voice), Deadline(timeout, "deleting the voice"), None, advice)

    def _clone(
        self,
        files: Sequence[bytes],
        texts: Sequence[str | None],
        fields: Mapping[str, object],
        deadline: Deadline,
    ) -> ClonedVoice:
        samples = [
            {"audioData": base64.encode(file).decode("ascii"), **_optional(transcription=text)}
            for file, text in zip(files, texts, strict=True)
        ]
        advice = (
            f"the service may or may not have made the voice: look for {fields['displayName']!r} "
            "in iw.voices.list(source='IVC') before you clone it again"
        )
        with explained(advice):
            answer = self._call(
                "POST", f"{_PATH}:clone", deadline, {**fields, "voiceSamples": samples}
            )
            reports = objects_in(answer, "audioSamplesValidated")
            return ClonedVoice(read_voice(answer.get("voice")), tuple(map(read_report, reports)))

    def _pages(self, languages: Sequence[str], deadline: Deadline) -> Iterator[object]:
        query: dict[str, str | Sequence[str]] = {"pageSize": str(_PAGE_SIZE)}
        if languages:
            query["languages"] = languages
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            page = self._call("GET", _PATH, deadline, query=query)
            yield from items_in(page, "voices")
            token = str(page.get("nextPageToken") or "")
            if not token:
                return
            if token in seen:
                raise RemoteProtocolError("the service sent the same page of voices twice")
            seen.add(token)
            query["pageToken"] = token
        raise RemoteProtocolError(
            f"expected at most {_MAX_PAGES} pages of voices, the service announced more"
        )

    def _call(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        body: Mapping[str, object] | None = None,
        advice: str = "",
        query: Mapping[str, str | Sequence[str]] | None = None,
    ) -> JsonObject:
        """
        Send a request. If it fails, but the service may have made the change, add *advice* to the
        error.
        """
        with explained(advice):
            answer = self._http.request(method, path, json=body, query=query, deadline=deadline)
            if method == "DELETE":
                return {}
            return object_in(answer.json(), f"the answer to {path}")


def _path(voice: object) -> str:
    if not isinstance(voice, str) or not voice.strip():
        raise ConfigError(f"voice must be the id of a voice, got {voice!r}")
    return f"{_PATH}/{quote_part('voice', voice)}"


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{name} must be a string that is not blank, got {value!r:.100}")
    return value


def _secret(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{name} must be a string that is not blank")
    return value


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a string, got {type(value).__name__}")
    return value


def _texts_of(name: str, value: object) -> tuple[str, ...]:
    if name == "language" and isinstance(value, str):
        value = (value,)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{name} must be a list of strings, got {value!r:.100}: put it in a list")
    return tuple(_text(name, each) for each in value)


def _transcriptions(value: object, count: int) -> Sequence[str | None]:
    if value is None:
        return [None] * count
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(
            f"transcriptions must be a list of strings, got {value!r:.100}: put it in a list"
        )
    return [*value]


def _language(value: object) -> str:
    # The service spells BCP-47 tags with capitals and an underscore here.
    return _text("language", value).replace("-", "_").upper()


def _names(name: object, language: object) -> dict[str, object]:
    return {"displayName": _text("name", name), "langCode": _language(language)}


def _optional(**fields: str | Sequence[str] | None) -> dict[str, object]:
    """Check the fields that have a value, and return them."""
    found: dict[str, object] = {}
    for field, value in fields.items():
        name = "name" if field == "displayName" else field
        if field == "tags":
            found[field] = [*_texts_of(name, value)]
        elif value is not None:
            found[field] = _text(name, value) if name == "name" else _string(name, value)
    return {field: value for field, value in found.items() if value}


def _preview(value: JsonObject, language: str) -> VoicePreview:
    try:
        audio = base64.decode(text_in(value, "previewAudio"))
    except AudioError as error:
        raise RemoteProtocolError(f"expected base64 as previewAudio: {error}") from error
    if not audio:
        raise RemoteProtocolError("expected a previewAudio in previewVoices")
    voice = text_in(value, "voiceId")
    if not voice:
        raise RemoteProtocolError("expected a voiceId in previewVoices")
    return VoicePreview(voice, text_in(value, "previewText"), audio, language)
