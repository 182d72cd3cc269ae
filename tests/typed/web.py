"""Programs that make responses of Flask and Django. Type checkers check this file."""

from __future__ import annotations

import flask
from typing_extensions import assert_type

from inworld_sync import Inworld, InworldError, RealtimeSession, SttStream, TtsContext, web


def say(iw: Inworld) -> flask.Response:
    return web.stream_response(
        flask.request, iw.tts, flask.request.args.get("text"), format="wav", voice=None
    )


def events(session: RealtimeSession, stream: SttStream, context: TtsContext) -> None:
    assert_type(web.sse_response(flask.request, session), flask.Response)
    assert_type(web.sse_response(flask.request, stream), flask.Response)
    assert_type(web.sse_response(flask.request, context), flask.Response)


def utterances(iw: Inworld, error: InworldError) -> None:
    with web.Utterances(iw.tts, max_utterances=3) as made:
        assert_type(made.start_response(flask.request, "Hi."), flask.Response)
        assert_type(made.stream_response(flask.request, "id"), flask.Response)
        assert_type(made.sse_response(flask.request, "id"), flask.Response)
    assert_type(web.error_response(flask.request, error), flask.Response)
