"""A Django app that streams a WAV file while the speech is generated: /say?text=Hello."""

import django
from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from django.test import Client
from django.urls import path

from inworld_sync import Inworld

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="example", ALLOWED_HOSTS=["*"])
django.setup()
iw = Inworld()


def say(request: HttpRequest) -> StreamingHttpResponse:
    """The browser plays the first bytes at once. Closing the page also ends the synthesis."""
    text = request.GET.get("text", "Hello from Django.")
    return StreamingHttpResponse(iw.tts.stream_wav(text, voice="Ashley"), content_type="audio/wav")


urlpatterns = [path("say", say)]

if __name__ == "__main__":
    print(len(b"".join(Client().get("/say"))), "bytes")
    iw.close()
