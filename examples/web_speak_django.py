"""A Django app whose page speaks typed text and marks each word: python web_speak_django.py run."""

import json
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.test import Client
from django.urls import path
from django.views.decorators.http import require_POST

from inworld_sync import Inworld, web

PAGE = Path(__file__).with_name("web_speak.html")

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="example", ALLOWED_HOSTS=["*"])
django.setup()
# With this option, a stop also cancels text that the service has received but not yet spoken.
iw = Inworld(sends_cancel_context=True)
utterances = web.Utterances(iw.tts, max_utterances=50, max_characters=5000)


def page(_: HttpRequest) -> HttpResponseBase:
    return FileResponse(PAGE.open("rb"))


@require_POST
def speak(request: HttpRequest) -> HttpResponseBase:
    """Start to speak a text. Your app must check the login and the limits of the user here."""
    # Before a page of another site can send JSON, the browser asks this app for permission (CORS).
    # This app does not give the permission.
    if request.content_type != "application/json":
        return HttpResponse("expected JSON", status=415)
    try:
        body = json.loads(request.body)
    except ValueError:
        return HttpResponse("expected JSON", status=400)
    if not isinstance(body, dict):
        return HttpResponse("expected an object", status=400)
    return utterances.start_response(request, body.get("text"), voice=body.get("voice"))


def audio(request: HttpRequest, utterance_id: str) -> HttpResponseBase:
    return utterances.stream_response(request, utterance_id)


def words(request: HttpRequest, utterance_id: str) -> HttpResponseBase:
    return utterances.sse_response(request, utterance_id)


def say(request: HttpRequest) -> HttpResponseBase:
    """Send the audio of a text, but no events of words. Example: /say?text=Hello."""
    return web.stream_response(request, iw.tts, request.GET.get("text"))


urlpatterns = [
    path("", page),
    path("speak", speak),
    path("audio/<utterance_id>", audio),
    path("words/<utterance_id>", words),
    path("say", say),
]

if __name__ == "__main__" and sys.argv[1:] == ["run"]:
    execute_from_command_line([sys.argv[0], "runserver", "--noreload"])
elif __name__ == "__main__":
    client = Client()
    print("page:", client.get("/").status_code)
    body = {"text": "Hello from Django.", "voice": "Ashley"}
    answer = client.post("/speak", body, content_type="application/json")
    utterance_id = answer.json()["id"]
    print(b"".join(client.get(f"/words/{utterance_id}")).decode())
    print("audio:", len(b"".join(client.get(f"/audio/{utterance_id}"))), "bytes")
    print("Start it with: python web_speak_django.py run")
    utterances.close()
    iw.close()
