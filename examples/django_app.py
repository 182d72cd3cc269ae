"""Run a Django app that streams MP3 while the speech is generated: /say?text=Hello."""

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.test import Client
from django.urls import path

from inworld_sync import Inworld, web

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="example", ALLOWED_HOSTS=["*"])
django.setup()
iw = Inworld()


def say(request: HttpRequest) -> HttpResponseBase:
    """Stream speech, which the browser plays at once. Closing the page ends the synthesis."""
    text = request.GET.get("text", "Hello from Django.")
    # Errors before the first byte become responses such as 400 and 503.
    return web.stream_response(request, iw.tts, text, voice=request.GET.get("voice"))


urlpatterns = [path("say", say)]

if __name__ == "__main__":
    print(len(b"".join(Client().get("/say"))), "bytes")
    iw.close()
