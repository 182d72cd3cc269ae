"""Defines the limits and quirks of one emulator."""

from __future__ import annotations

import attrs

from inworld_sync.emulator.realtime.settings import RealtimeSettings
from inworld_sync.emulator.voices import VOICES, EmulatedVoice
from inworld_sync.models import checks

__all__ = ["Settings"]


@attrs.frozen(kw_only=True)
class Settings:
    """
    Limits and quirks of the emulator. The defaults are those of the service where known.

    Times are in seconds unless the name says milliseconds.

    Attributes:
        cors: Answer the preflights of browsers, and allow pages of accepted origins to read
            responses, as the service does.
        check_credentials: With False, requests with any credential or without a credential are
            accepted.
        token_lifetime: How long a JSON Web Token and a session token are valid.
        workspaces: The workspaces of the account. A token for another workspace is refused.
        max_contexts: The largest number of TTS contexts on one connection. Another context is
            refused with code 8.
        max_connections: The largest number of WebSocket connections of one service at a time, and
            the largest number of WebRTC calls. Another connection or call gets HTTP 429.
        max_text_characters: The largest number of characters of one generation. Longer text is
            refused with code 3.
        idle_timeout: A WebSocket is closed after this time without messages in either direction. A
            WebRTC call is closed if the client sends neither events nor audio for this time.
        idle_close_code: The close code after ``idle_timeout``. The service's code is not known.
        close_timeout: How long a closing WebSocket waits for the client's CLOSE.
        request_timeout: The longest time to receive one HTTP request, and to complete a TLS
            handshake.
        credential_timeout: A connection without a request, and a WebSocket without a valid
            credential, is closed after this time. The service leaves such connections open.
        allowed_hosts: Host names that are accepted in the headers ``Host`` and ``Origin``, besides
            this machine and the address of the server; ``*`` means all names. The service accepts
            all names.
        max_message_bytes: The largest WebSocket message. A larger message gets CLOSE 1009.
        max_body_bytes: The largest body of an HTTP request. A larger body gets status 413.
        max_queued_bytes: Synthesis pauses while more bytes than this wait for a slow client.
        latency_ms: Each message and HTTP response is delayed by this time, as if the server were
            distant. The delay does not reduce the rate of messages.
        pace: The seconds of audio that are sent per second. 0 sends audio as fast as it is
            generated.
        chunk_ms: The length of the audio in one message.
        prepared_speech: Repeat one recording instead of synthesizing each text, so that hundreds of
            sessions can be tested on two cores. With ``pace=1``, audio is sent in real time.
        buffer_char_threshold: Buffered text is spoken when it has this many characters, unless the
            context sets its own threshold.
        max_buffer_delay_ms: Buffered text is spoken when it is this old, unless the context sets
            its own delay.
        status_in_audio_chunk: Put ``status`` inside ``audioChunk`` too, as one sample of the
            documentation does. Normally ``status`` is next to ``audioChunk``.
        spaces_in_words: Without ``word_tokens``, list the spaces between words among the words of
            a word alignment.
        word_tokens: List words, punctuation and white space as separate entries of a word
            alignment, as the documentation of 2026 says; False keeps the punctuation in its word
            and omits white space, as in captures of April 2026.
        any_sample_rate: Accept every sample rate from 8000 to 48000; the service accepts seven
            sample rates.
        http_null_timestamps: Send ``"timestampInfo": null`` in HTTP responses without times. The
            service omits ``timestampInfo`` in these responses.
        http_usage_without_model: Omit ``modelId`` in the ``usage`` of each line of a streamed HTTP
            response after the first line, as the service may do.
        check_language: Refuse a language that the synthesizer does not speak, and text without any
            character that the synthesizer can read. With False, such text is spoken as a short
            pause.
        empty_flush_completes: Respond to ``flush_context`` with ``flushCompleted`` even if the
            buffer is empty.
        stt_status: Send ``status`` with every STT result. Captures of April 2026 have no
            ``status``.
        stt_speech_started: Send ``speechStarted``. Captures of April 2026 do not have this message.
        stt_words_of_default_model: Send word times for ``inworld/inworld-stt-1``. The service
            accepts the request for word times, but does not send them yet.
        stt_compressed_streams: Accept MP3, OGG_OPUS and FLAC in a stream; the service refuses them
            according to its documentation.
        stt_profile_at_top: Put ``voiceProfile`` of a recording next to ``transcription``, as one
            sample of the documentation does.
        stt_repeats_partials: Send every partial transcript twice, as the service may do.
        stt_closes_after_usage: Close the WebSocket after ``usage``. The service leaves it open.
        stt_chunks_per_second: The largest number of audio messages that one stream may send per
            second, and in one burst. Another message is refused with code 8. 0 means no limit. The
            service's limit and its response are not known.
        stt_max_jobs: The largest number of transcription jobs that run at a time. Another job is
            refused with HTTP 429.
        voices: The voices that exist.
        max_custom_voices: The largest number of cloned and published voices at a time. Another
            voice is refused with HTTP 429.
        max_dictionaries: The largest number of pronunciation dictionaries at a time. Another
            dictionary is refused with HTTP 429.
        realtime: The limits and quirks of Realtime.
    """

    cors: bool = True
    check_credentials: bool = True
    token_lifetime: float = attrs.field(default=3600.0, validator=checks.positive)
    workspaces: tuple[str, ...] = ("default-workspace", "local")
    max_contexts: int = attrs.field(default=5, validator=checks.whole(1))
    max_connections: int = attrs.field(default=20, validator=checks.whole(1))
    max_text_characters: int = attrs.field(default=2000, validator=checks.whole(1))
    idle_timeout: float = attrs.field(default=600.0, validator=checks.positive)
    idle_close_code: int = 1000
    close_timeout: float = attrs.field(default=2.0, validator=checks.positive)
    request_timeout: float = attrs.field(default=30.0, validator=checks.positive)
    credential_timeout: float = attrs.field(default=5.0, validator=checks.positive)
    allowed_hosts: tuple[str, ...] = ()
    max_message_bytes: int = attrs.field(default=16 << 20, validator=checks.whole(1))
    max_body_bytes: int = attrs.field(default=32 << 20, validator=checks.whole(1))
    max_queued_bytes: int = attrs.field(default=1 << 20, validator=checks.whole(1))
    latency_ms: float = attrs.field(default=0.0, validator=checks.number(0))
    pace: float = attrs.field(default=0.0, validator=checks.number(0))
    chunk_ms: int = attrs.field(default=250, validator=checks.whole(1))
    prepared_speech: bool = False
    buffer_char_threshold: int = attrs.field(default=1000, validator=checks.whole(1))
    max_buffer_delay_ms: int = attrs.field(default=3000, validator=checks.whole(0))
    status_in_audio_chunk: bool = False
    spaces_in_words: bool = False
    word_tokens: bool = True
    any_sample_rate: bool = False
    http_null_timestamps: bool = False
    http_usage_without_model: bool = False
    check_language: bool = True
    empty_flush_completes: bool = True
    stt_status: bool = True
    stt_speech_started: bool = True
    stt_words_of_default_model: bool = False
    stt_compressed_streams: bool = False
    stt_profile_at_top: bool = False
    stt_repeats_partials: bool = False
    stt_closes_after_usage: bool = False
    stt_chunks_per_second: float = attrs.field(default=0.0, validator=checks.number(0))
    stt_max_jobs: int = attrs.field(default=5, validator=checks.whole(0))
    voices: tuple[EmulatedVoice, ...] = VOICES
    max_custom_voices: int = attrs.field(default=100, validator=checks.whole(0))
    max_dictionaries: int = attrs.field(default=100, validator=checks.whole(0))
    realtime: RealtimeSettings = attrs.field(factory=RealtimeSettings)
