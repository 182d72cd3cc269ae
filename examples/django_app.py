"""Run a Django app that streams MP3 while the speech is generated: /say?text=Hello."""

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client
from django.urls import path

from inworld_sync import Inworld, InworldError, NotFoundError

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="example", ALLOWED_HOSTS=["*"])
django.setup()
iw = Inworld()


def say(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Stream speech. The browser plays it as it arrives. Closing the page ends the synthesis."""
    text = request.GET.get("text", "Hello from Django.")
    voice = str(request.GET.get("voice", "Ashley"))
    try:
        # Errors are raised before the first byte, so the status can still be set.
        blocks = iw.tts.stream_bytes(text, format="mp3", voice=voice)
    except NotFoundError:
        return HttpResponse(b"no such voice", status=404)
    except InworldError:
        return HttpResponse(b"the speech service failed", status=502)
    return StreamingHttpResponse(blocks, content_type="audio/mpeg")


urlpatterns = [path("say", say)]

if __name__ == "__main__":
    print(len(b"".join(Client().get("/say"))), "bytes")
    iw.close()
