"""A Django application with a relay in a Channels consumer, for servers in another process."""

from __future__ import annotations

import threading

import django
from channels.generic.websocket import WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from inworld_sync import Inworld
from inworld_sync.web import Relay

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="test",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={},
)
django.setup()

iw = Inworld(proxy=False)
found_ends: list[str] = []


class Talk(WebsocketConsumer):
    """Passes the messages of one page to the thread of its relay."""

    def connect(self) -> None:
        self.accept()
        headers = {name.decode(): value.decode() for name, value in self.scope["headers"]}
        self.relay = Relay(self, lambda _: iw.realtime.connect(), headers=headers)
        threading.Thread(target=lambda: found_ends.append(self.relay.run().end)).start()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.relay.feed(text_data or bytes_data or "")

    def disconnect(self, _: int) -> None:
        self.relay.feed(None)


def ends(_: HttpRequest) -> JsonResponse:
    return JsonResponse(found_ends, safe=False)


urlpatterns = [path("ends", ends)]
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("talk", Talk.as_asgi())]),
    }
)
