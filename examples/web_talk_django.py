"""
Talk with the model in a web page, in Django with Channels: push-to-talk and open microphone.

Try it with ``uvicorn web_talk_django:application`` and open http://127.0.0.1:8000. Channels runs
all synchronous consumers of a process on one thread. So each conversation runs on a separate
thread, and the consumer passes the messages of the page to feed().
"""

import json
import os
import socket as sockets
import threading
import time
from pathlib import Path

import django
import uvicorn
from channels.generic.websocket import WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from inworld_sync import AuthError, Inworld, InworldError, Session, web
from inworld_sync.emulator import Emulator
from inworld_sync.realtime import ProviderData, TtsTuning

PAGE = Path(__file__).with_name("web_talk.html")

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="example",
    ALLOWED_HOSTS=["127.0.0.1", "localhost", "testserver"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={},
)
django.setup()

if os.environ.get("INWORLD_SYNC_LOCAL") == "1":
    emulator = Emulator().start()
    url = emulator.url
    iw = Inworld(api_key=emulator.api_key, base_url=url, local=False)
else:
    url = "https://api.inworld.ai"
    iw = Inworld()

conversation = Session(
    instructions="You answer questions about a bakery. Be brief.",
    # With the times of words, the page marks each word when the user hears the word.
    provider_data=ProviderData(tts=TtsTuning(timestamp_type="WORD")),
)
users = web.UserLimit(2, per_period=60)
options = web.RelayOptions(max_duration=900)


def page(_: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.read_bytes())


def script(_: HttpRequest) -> HttpResponse:
    return HttpResponse(web.script(), content_type="text/javascript")


@csrf_exempt  # a page of another site cannot send JSON without a permission of this app
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """Return a token, for pages that talk with the service over WebRTC instead of the relay."""
    if request.content_type != "application/json":
        return HttpResponse("expected JSON", status=415)
    try:
        made = iw.tokens.mint("session", timeout=5)
    except InworldError:
        return HttpResponse("no token at the moment", status=502)
    return JsonResponse({"token": made.token, "url": url}, headers={"Cache-Control": "no-store"})


class Talk(WebsocketConsumer):
    """Passes the messages of one page to the thread of its conversation."""

    # None if the page was refused.
    relay: web.Relay | None = None

    def connect(self) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]
        }
        try:
            web.check_origin(headers)
        except AuthError:
            self.close()
            return
        self.accept()
        self.relay = web.Relay(
            self,
            lambda _: iw.realtime.connect(conversation),
            headers=headers,
            # It is better to pass the name of the user who is logged in. Behind a proxy, all users
            # have the address of the proxy. A Unix socket has no address.
            user=(self.scope["client"] or ["unknown"])[0],
            limit=users,
            options=options,
        )
        threading.Thread(target=self.run, args=(self.relay,), name="talk").start()

    def run(self, relay: web.Relay) -> None:
        """Run the conversation; the method returns when the conversation has ended."""
        summary = relay.run()
        print(summary.end, f"{summary.heard_ms:.0f} ms heard", flush=True)
        print(summary.transcript, flush=True)

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.relay is not None:
            self.relay.feed(text_data or bytes_data or "")  # None would end the conversation

    def disconnect(self, _: int) -> None:
        if self.relay is not None:
            self.relay.feed(None)


urlpatterns = [path("", page), path("inworld.js", script), path("token", token)]
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("talk", Talk.as_asgi())]),
    }
)


def try_it() -> None:
    """Talk with the app as a page with an open microphone does: speak, and hear the answer."""
    from websockets.sync.client import connect

    question = iw.tts.synthesize("When do you open on Monday?")
    listener = sockets.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.05)
    host, heard = f"127.0.0.1:{listener.getsockname()[1]}", 0
    with connect(f"ws://{host}/talk", origin=f"http://{host}", compression=None) as socket:
        socket.send('{"type": "start", "mode": "open"}')
        microphone = bytes(question.pcm) + bytes(96_000)
        for start in range(0, len(microphone), 1920):
            socket.send(microphone[start : start + 1920])
            time.sleep(0.03)
        while True:
            message = socket.recv(timeout=60)
            if isinstance(message, bytes):
                heard += len(message) - 4
            elif (body := json.loads(message))["type"] == "user" and body["final"]:
                print("user:", body["text"])
            elif body["type"] == "item_end":
                socket.send(json.dumps({"type": "finished", "item": body["item"]}))
                break
    print(f"{heard / 48:.0f} ms of speech received")
    for each in threading.enumerate():
        if each.name == "talk":
            each.join(30)
    server.should_exit = True
    thread.join(30)
    listener.close()


if __name__ == "__main__":
    print("page:", Client().get("/").status_code)
    try_it()
    iw.close()
    if url.startswith("http://127.0.0.1"):
        emulator.close()
