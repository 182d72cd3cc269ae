"""Defines the limits and quirks of the Realtime endpoint."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from inworld_sync.models import checks

__all__ = ["RealtimeSettings"]

_COUNT = checks.whole(0, 1_000_000_000)


@attrs.frozen(kw_only=True)
class RealtimeSettings:
    """
    The behavior of Realtime. The defaults are those of the service where known.

    Attributes:
        ping_interval: Seconds between two ``ping`` events. With 0, no ``ping`` is sent.
        reply_delay_ms: A delay before every reply, as of a slow language model.
        beta_names: Send the event names of the OpenAI beta. A client with the header
            ``OpenAI-Beta: realtime=v1`` always gets these names.
        openai_part_names: Call the content of replies ``output_audio`` and ``output_text``, as
            OpenAI does. The service uses ``audio`` and ``text``.
        named_calls: Send the name of the function in ``response.function_call_arguments.done``.
        identified_calls: Send the call's id in the events of its arguments. With False, only the
            item has the id.
        empty_arguments: Send ``""`` for a call without arguments. With False, send ``{}``.
        calls_have_previous: When a function call is added, send the id of the previous item. The
            service sends null.
        rolling_transcription: Send the whole turn in every transcription delta, as the service
            does. With False, send only the new part.
        stable_transcription: With ``rolling_transcription`` off, send a word only when two partial
            transcripts agree on this word, so that the joined deltas are the transcript.
        transcription_usage: Send ``usage`` with a completed transcription, as OpenAI does. The
            service omits ``usage``.
        camel_case_times: Send the times of audio deltas as ``timestampInfo`` with names in
            camelCase. The service sends ``timestamp_info`` with names in snake_case.
        repeats_completed: Send every completed transcription twice.
        text_beside_transcript: Send the text of a spoken reply as ``output_text`` deltas too.
        usage_beside_response: Put ``usage`` next to the response in ``response.done``.
        lists_attempts: Put the list ``attempts`` into the metadata of a finished response.
        truncates_on_24khz: In a G.711 session, cut the reply at three times ``audio_end_ms``, as
            the service does. With False, cut the reply at ``audio_end_ms``.
        explains_failures: Send the reason of a failed response in ``status_details``. With False,
            ``status_details`` is null.
        explains_errors: Send the code and the id of the client's event with errors. With False,
            code and id are null, as in some errors of the service.
        output_buffer_events: Send ``output_audio_buffer.started`` and ``stopped``. Over WebSocket,
            the service does not always send these events.
        turn_suggestions: Suggest ends of turns. This needs ``semantic_vad``.
        max_responses: The largest number of responses of one session. Further responses fail. 0
            means no limit.
        max_session_responses: After this many responses, the session's resources are exhausted. The
            server sends one message without the field ``type``, then CLOSE. 0 means no limit.
        max_conversation_bytes: The largest total size of the items of a conversation. Beyond this
            size, the oldest items are removed. The service's limit is not known.
        calls_apply_session: Apply the session object of an offer to ``/v1/realtime/calls``. The
            service ignores most of this object.
        ice_servers: The objects that the endpoint of the ICE servers lists.
        ice_timeout: A WebRTC call ends if its data channel is not open after this many seconds.
        max_events_per_second: The largest number of client events per second. Events with audio are
            not counted. Further events are refused. 0 means no limit. The service's limit is not
            known.

    Raises:
        ConfigError: A value is out of its range.
    """

    ping_interval: float = attrs.field(default=60.0, validator=checks.number(0, 86_400, " s"))
    reply_delay_ms: int = attrs.field(default=0, validator=checks.whole(0, 600_000, " ms"))
    beta_names: bool = False
    openai_part_names: bool = False
    named_calls: bool = True
    identified_calls: bool = True
    empty_arguments: bool = False
    calls_have_previous: bool = False
    rolling_transcription: bool = True
    stable_transcription: bool = True
    transcription_usage: bool = False
    camel_case_times: bool = False
    repeats_completed: bool = False
    text_beside_transcript: bool = False
    usage_beside_response: bool = False
    lists_attempts: bool = False
    truncates_on_24khz: bool = True
    explains_failures: bool = True
    explains_errors: bool = True
    output_buffer_events: bool = False
    turn_suggestions: bool = True
    calls_apply_session: bool = False
    ice_servers: tuple[Mapping[str, object], ...] = ()
    ice_timeout: float = attrs.field(default=15.0, validator=checks.number(0.001, 3600, " s"))
    max_responses: int = attrs.field(default=0, validator=_COUNT)
    max_session_responses: int = attrs.field(default=0, validator=_COUNT)
    max_conversation_bytes: int = attrs.field(default=16 << 20, validator=checks.whole(1))
    max_events_per_second: int = attrs.field(default=0, validator=_COUNT)

    def without_quirks(self) -> RealtimeSettings:
        """Return the settings for clients of OpenAI's service, which does not have these quirks."""
        return attrs.evolve(
            self,
            openai_part_names=True,
            calls_have_previous=True,
            rolling_transcription=False,
            transcription_usage=True,
            truncates_on_24khz=False,
            turn_suggestions=False,
        )
