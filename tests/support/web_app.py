"""
A Flask app and a Django app with the same views. Web servers in other processes run the apps.

The environment variable ``SERVICE_URL`` has the address of the service, and ``SERVICE_KEY`` has the
API key.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from flask import Flask, request

from inworld_sync import Inworld, web

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    # Django shows warnings about synchronous iterators only in this mode.
    DEBUG=True,
    LOGGING={"version": 1, "disable_existing_loggers": False},
)

iw = Inworld(
    api_key=os.environ.get("SERVICE_KEY", "a2V5OnNlY3JldA=="),
    base_url=os.environ["SERVICE_URL"],
    max_retries=0,
    sends_cancel_context=True,
)
utterances = web.Utterances(iw.tts)

flask_app = Flask(__name__)


@flask_app.get("/say")
def say() -> Any:
    return web.stream_response(request, iw.tts, request.args.get("text"))


@flask_app.post("/speak")
def speak() -> Any:
    return utterances.start_response(request, request.args.get("text"))


@flask_app.get("/words/<speech_id>")
def words(speech_id: str) -> Any:
    return utterances.sse_response(request, speech_id)


@flask_app.get("/audio/<speech_id>")
def audio(speech_id: str) -> Any:
    return utterances.stream_response(request, speech_id)


@flask_app.get("/plain")
def plain() -> str:
    return "plain"


@flask_app.get("/threads")
def threads() -> list[str]:
    """List the threads that receive speech."""
    return [each.name for each in threading.enumerate() if each.name.startswith("inworld-web")]


def django_say(request: HttpRequest) -> Any:
    return web.stream_response(request, iw.tts, request.GET.get("text"))


async def django_async(request: HttpRequest) -> Any:
    make_response = sync_to_async(web.stream_response, thread_sensitive=False)
    return await make_response(request, iw.tts, request.GET.get("text"))


def django_speak(request: HttpRequest) -> Any:
    return utterances.start_response(request, request.GET.get("text"))


def django_words(request: HttpRequest, speech_id: str) -> Any:
    return utterances.sse_response(request, speech_id)


def django_audio(request: HttpRequest, speech_id: str) -> Any:
    return utterances.stream_response(request, speech_id)


def django_plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


urlpatterns = [
    path("say", django_say),
    path("async", django_async),
    path("speak", django_speak),
    path("words/<speech_id>", django_words),
    path("audio/<speech_id>", django_audio),
    path("plain", django_plain),
]


def django_wsgi() -> WSGIHandler:
    return WSGIHandler()


def django_asgi() -> ASGIHandler:
    return ASGIHandler()
