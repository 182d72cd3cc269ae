"""
Reads the settings of one response. They are the settings of the session with the changes of
``response.create``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from inworld_sync.emulator.realtime import checks
from inworld_sync.emulator.realtime.config import SessionConfig
from inworld_sync.emulator.realtime.conversation import Item, read_item
from inworld_sync.emulator.realtime.events import InvalidRequest
from inworld_sync.emulator.realtime.formats import AudioFormat
from inworld_sync.emulator.realtime.mcp_tools import ApprovedCall
from inworld_sync.emulator.realtime.replies import ReplyRequest
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.tts.config import MODELS, ContextConfig, read_config

__all__ = ["ResponseOptions", "read_options", "speaking_voice"]

# The range of the synthesizer's speed. A session may have a slower speed.
_MIN_SPEED, _MAX_SPEED = 0.5, 1.5
_DEFAULT_VOICE, _DEFAULT_MODEL = "Dennis", "inworld-tts-2"


@attrs.frozen(kw_only=True)
class ResponseOptions:
    """
    The settings of one response.

    Attributes:
        modalities: ``audio``, ``text`` or both. With audio, the text is the transcript of the
            audio.
        in_conversation: Whether the response's items become part of the conversation.
        context: The items to reply to; None for the items of the conversation.
        metadata: The metadata, which the events return.
        audio_format: The format of the response's audio.
        voice: The voice, with the settings of its speech.
        request: The request for the reply maker, without items.
        approved: A call of an MCP tool that is made before the reply, or None.
        responsiveness: The settings of fillers.
        timestamp_type: Which times are sent with the audio, ``WORD`` or ``CHARACTER``; None for no
            times.
    """

    modalities: tuple[str, ...]
    in_conversation: bool = True
    context: Sequence[Item] | None = None
    metadata: Mapping[str, object] | None = None
    audio_format: AudioFormat
    voice: ContextConfig
    request: ReplyRequest
    approved: ApprovedCall | None = None
    responsiveness: Mapping[str, object] = attrs.field(factory=dict)
    timestamp_type: str | None = None

    @property
    def speaks(self) -> bool:
        """Whether the reply is spoken."""
        return "audio" in self.modalities


def read_options(
    value: object, config: SessionConfig, settings: Settings, known: Sequence[Item]
) -> ResponseOptions:
    """
    Read the ``response`` of ``response.create``.

    Args:
        value: The value from JSON; None for the settings of the session.
        config: The session's settings.
        settings: The settings of the server.
        known: The items of the conversation.

    Raises:
        InvalidRequest: A value is wrong.
    """
    asked = {} if value is None else checks.an_object(value, "response")
    metadata = asked.get("metadata")
    checks.object_or_null(asked, "metadata", "response")
    listed = asked.get("output_modalities", asked.get("modalities"))
    if listed is None:
        listed = config.fields["output_modalities"]
    return ResponseOptions(
        modalities=checks.modalities(listed, "response.output_modalities"),
        # Any other value, such as the id of a conversation, means the conversation of the session.
        in_conversation=checks.text(asked, "conversation", "response") != "none",
        context=_context(asked.get("input"), known),
        metadata=metadata if isinstance(metadata, dict) else None,
        audio_format=config.output_format,
        voice=_voice(asked, config, settings),
        request=_request(asked, config),
        responsiveness=config.branch("responsiveness"),
        timestamp_type=_timestamp_type(config.branch("tts").get("timestamp_type")),
    )


def _timestamp_type(value: object) -> str | None:
    return value if value in ("WORD", "CHARACTER") and isinstance(value, str) else None


def _request(asked: Mapping[str, object], config: SessionConfig) -> ReplyRequest:
    fields = {
        name: asked[name] if asked.get(name) is not None else config.fields[name]
        for name in ("instructions", "tools", "tool_choice", "max_output_tokens", "temperature")
    }
    tokens = asked.get("max_response_output_tokens", fields["max_output_tokens"])
    checks.tool_choice(fields["tool_choice"], "response.tool_choice")
    instructions = checks.text(fields, "instructions", "response")
    remembered = checks.inner(config.branch("memory"), "state").get("context_text")
    remembered = remembered if isinstance(remembered, str) else ""
    choice = fields["tool_choice"]
    if isinstance(choice, dict):
        choice = choice.get("name") or "required"
    return ReplyRequest(
        items=(),
        instructions=" ".join(filter(None, (instructions, remembered))),
        tools=checks.tools(fields["tools"], "response.tools"),
        tool_choice=str(choice or "auto"),
        model=str(config.fields["model"]),
        temperature=checks.number(fields, "temperature", 0, 2, "response"),
        max_output_tokens=checks.max_tokens(tokens, "response.max_output_tokens"),
    )


def speaking_voice(
    config: SessionConfig, settings: Settings, encoding: str, rate_hz: int, wanted: object = None
) -> ContextConfig:
    """
    Return the configuration of the voice.

    Args:
        config: The session's settings.
        settings: The settings of the server.
        encoding: The encoding of the audio, with its name in the TTS service.
        rate_hz: The sample rate of the audio.
        wanted: A voice; None or an empty string for the voice of the session.

    Raises:
        InvalidRequest: The voice does not exist.
    """
    known = [voice.voice_id for voice in settings.voices]
    voice, model = wanted or config.output["voice"], config.output["model"]
    if config.openai and voice not in known:
        voice = _DEFAULT_VOICE if _DEFAULT_VOICE in known else known[0]
    if config.openai and model not in MODELS:
        model = _DEFAULT_MODEL
    checks.one_of(voice, known, "response.voice")
    speed = config.output["speed"]
    rate = min(max(speed if isinstance(speed, (int, float)) else 1.0, _MIN_SPEED), _MAX_SPEED)
    audio = {"audioEncoding": encoding, "sampleRateHertz": rate_hz, "speakingRate": rate}
    return read_config({"voiceId": voice, "modelId": model, "audioConfig": audio}, settings)


def _voice(asked: Mapping[str, object], config: SessionConfig, settings: Settings) -> ContextConfig:
    wanted: object = checks.text(asked, "voice", "response")
    if config.openai:
        wanted = checks.inner(checks.inner(asked, "audio"), "output").get("voice") or wanted
    audio_format = config.output_format
    encoding, rate_hz = audio_format.speech_encoding, audio_format.sample_rate_hz
    return speaking_voice(config, settings, encoding, rate_hz, wanted)


def _context(value: object, known: Sequence[Item]) -> tuple[Item, ...] | None:
    if value is None:
        return None
    items: list[Item] = []
    for at, one in enumerate(checks.a_list(value, "response.input")):
        param = f"response.input[{at}]"
        if isinstance(one, dict) and one.get("type") == "item_reference":
            found = [item for item in known if item["id"] == one.get("id")]
            if not found:
                message = f"Item with id '{one.get('id')}' does not exist."
                raise InvalidRequest("invalid_value", message, f"{param}.id")
            items += found
        else:
            items.append(read_item(one, [*known, *items], param))
    return tuple(items)
