"""Programs that use text to speech. Type checkers check this file. It never runs."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import assert_type

from inworld_sync import (
    AudioChunk,
    AudioConfig,
    AudioSink,
    CharacterTime,
    ConnectionLost,
    ContextConfig,
    FlushCompleted,
    Inworld,
    InworldError,
    Options,
    Phoneme,
    Playback,
    ServiceError,
    Speech,
    SpeechStream,
    StreamEnded,
    Token,
    TtsConnection,
    TtsContext,
    TtsUsage,
    Voice,
    WordTime,
)


def clients() -> None:
    Inworld()
    Inworld("key")
    Inworld(api_key="key", close_timeout=1.0, proxy=False)
    Inworld(token=lambda: "token")
    Inworld(auth=Token("token"), options=Options(base_url="ws://localhost:1"))
    with Inworld(local=True) as iw:
        assert_type(iw, Inworld)
        assert_type(iw.options, Options)


def speech(iw: Inworld) -> None:
    whole = iw.tts.synthesize("Hi.", voice="Ashley", audio=AudioConfig("PCM", 24000))
    assert_type(whole, Speech)
    assert_type(whole.data, bytes)
    assert_type(whole.pcm, memoryview)
    assert_type(whole.words, tuple[WordTime, ...])
    assert_type(whole.characters, tuple[CharacterTime, ...])
    assert_type(whole.phonemes, tuple[Phoneme, ...])
    assert_type(whole.usage, TtsUsage)
    assert_type(whole.duration_ms, float | None)
    assert_type(whole.iter_wav(), Iterator[bytes])
    whole.save("hello.wav")


def streams(iw: Inworld, tokens: Iterator[str], speaker: AudioSink) -> None:
    stream = iw.tts.stream(tokens, config=ContextConfig(voice="Dennis"), timestamp_type="WORD")
    assert_type(stream, SpeechStream)
    for chunk in stream:
        assert_type(chunk, AudioChunk)
        assert_type(chunk.start_ms, float | None)
    assert_type(iw.tts.stream_bytes(["a", "b"], format="mp3"), Iterator[bytes])
    playback = iw.tts.speak("Hi.", speaker=speaker, on_word=lambda word: word.text)
    assert_type(playback, Playback)
    assert_type(playback.interrupt(), float)


def contexts(iw: Inworld) -> None:
    with iw.tts.connect(timeout=5) as connection:
        assert_type(connection, TtsConnection)
        with connection.context(voice="Ashley", auto_mode=True) as context:
            assert_type(context, TtsContext)
            context.send("Hi.")
            for event in context:
                if isinstance(event, AudioChunk):
                    assert_type(event.data, bytes)
                elif isinstance(event, FlushCompleted):
                    assert_type(event.context_id, str)
            assert_type(context.say("Hi."), Iterator[AudioChunk])
            assert_type(context.ended, StreamEnded | None)
            assert_type(context.read_audio(bytearray(10)), int)


def handlers(context: TtsContext) -> None:
    def heard(chunk: AudioChunk) -> None:
        assert_type(chunk.duration_ms, float | None)

    context.on(AudioChunk, heard)(AudioChunk("c", b"", AudioConfig().encoding, 24000))
    context.on(AudioChunk, lambda chunk: chunk.words_of)  # type: ignore[attr-defined]
    context.on("flushCompleted", repr)
    with context.subscribe(maxsize=5) as queue:
        event = queue.get(timeout=1)
        if isinstance(event, AudioChunk):
            assert_type(event, AudioChunk)


def voices(iw: Inworld) -> None:
    assert_type(iw.voices.list(language="EN_US"), list[Voice])
    assert_type(iw.voices.get("Ashley"), Voice)


def failures(iw: Inworld) -> None:
    try:
        iw.tts.synthesize("Hi.")
    except ServiceError as error:
        assert_type(error.retryable, bool)
        assert_type(error.code, int | str | None)
    except ConnectionLost as error:
        assert_type(error.code, int)
    except InworldError as error:
        assert_type(error.partial, object | None)


def refused(iw: Inworld) -> None:
    iw.tts.synthesize(b"bytes")  # type: ignore[arg-type]
    iw.tts.synthesize("Hi.", voices="Ashley")  # type: ignore[call-arg]
    iw.tts.synthesize("Hi.", voice=5)  # type: ignore[arg-type]
    iw.tts.stream("Hi.", timestamp_type=5)  # type: ignore[arg-type]
    iw.tts.speak("Hi.", voices="Ashley")  # type: ignore[call-arg]
    iw.tts.connect().context(voice_id="Ashley")  # type: ignore[call-arg]
    Inworld(close_timeout="soon")  # type: ignore[arg-type]
    Inworld(timeout=5)  # type: ignore[call-arg]
