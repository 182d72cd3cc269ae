"""
Answer calls of Telnyx in Django with Channels: /webhook answers, and /media receives the audio.

Channels runs all synchronous consumers of a process on one thread. So each call runs on a separate
thread. The consumer passes the messages of the call to feed().
"""

import json
import os
import secrets
import threading

import django
import uvicorn
from channels.generic.websocket import WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from inworld_sync import AlawFormat, AudioConfig, AuthError, Inworld, RealtimeSession, Session
from inworld_sync.telephony import CallOptions, PreparedSessions, hang_up
from inworld_sync.telephony.telnyx import (
    MediaStream,
    TelnyxControl,
    TelnyxSignature,
    stream_parameters,
)

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="example",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={},
)
django.setup()

PUBLIC_HOST = os.environ.get("PUBLIC_HOST", "voice.example.com")

iw = Inworld()
prepared = PreparedSessions()
control = TelnyxControl(os.environ.get("TELNYX_API_KEY", "example"))
# Telnyx sends this token with the WebSocket. Several processes need the same token.
stream_token = os.environ.get("STREAM_TOKEN") or secrets.token_urlsafe()
greeting = iw.tts.synthesize("Hello, the bakery.", audio=AudioConfig("ALAW", 8000))
options = CallOptions(greeting=greeting)
conversation = Session(
    instructions="You answer the phone of a bakery. Be brief.",
    input_format=AlawFormat(),
    output_format=AlawFormat(),
    tools=(hang_up,),
)


def connect() -> RealtimeSession:
    """Open the session of one call."""
    return iw.realtime.connect(conversation)


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Answer a call, and open its session while Telnyx connects the audio."""
    try:
        # The public key is in TELNYX_PUBLIC_KEY.
        TelnyxSignature().check_webhook(request.headers, request.body)
    except AuthError:
        return HttpResponse(status=403)
    event = json.loads(request.body)["data"]
    call_id = event["payload"].get("call_control_id", "")
    if event["event_type"] == "call.initiated" and event["payload"]["direction"] == "incoming":
        prepared.open(call_id, connect)
        control.answer(call_id)
    elif event["event_type"] == "call.answered":
        url = f"wss://{PUBLIC_HOST}/media"
        parameters = stream_parameters(url, auth_token=stream_token, codec="PCMA")
        control.start_stream(call_id, parameters)
    return HttpResponse(status=200)


class Media(WebsocketConsumer):
    """Passes the messages of one call to the thread of this call."""

    # None if the call was refused.
    stream: MediaStream | None = None

    def connect(self) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]
        }
        try:
            self.stream = MediaStream(
                self,
                lambda start: prepared.pop(start.call_id, connect),
                headers=headers,
                auth_token=stream_token,
                sent="PCMA",
                options=options,
                control=control,
            )
        except AuthError:
            self.close()
            return
        self.accept()
        threading.Thread(target=self.run, args=(self.stream,), name="call").start()

    def run(self, stream: MediaStream) -> None:
        """Run the call; the method returns when the call has ended."""
        summary = stream.run()
        print(summary.end, f"{summary.heard_ms:.0f} ms heard", flush=True)
        print(summary.transcript, flush=True)

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.stream is not None:
            self.stream.feed(text_data or bytes_data or "")  # None would end the call

    def disconnect(self, _: int) -> None:
        if self.stream is not None:
            self.stream.feed(None)


urlpatterns = [path("webhook", webhook)]
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("media", Media.as_asgi())]),
    }
)


def try_it() -> None:
    """Call the app with a simulated caller, which replaces the phone and Telnyx."""
    import base64
    import socket
    import time

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from django.test import Client

    from inworld_sync.emulator import SimulatedCall

    key = Ed25519PrivateKey.generate()
    os.environ["TELNYX_PUBLIC_KEY"] = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    control.answer = lambda _: print("answered")
    control.start_stream = lambda _, parameters: print(parameters["stream_url"])

    def post(event_type: str, call_id: str) -> None:
        payload = {"call_control_id": call_id, "direction": "incoming"}
        body = json.dumps({"data": {"event_type": event_type, "payload": payload}}).encode()
        stamp = str(int(time.time()))
        signature = base64.b64encode(key.sign(stamp.encode() + b"|" + body)).decode()
        signed = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": stamp}
        client = Client(headers=signed)
        print(client.post("/webhook", body, content_type="application/json").status_code)

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.05)
    with SimulatedCall("telnyx", encoding="alaw") as call:
        post("call.initiated", call.call_id)
        post("call.answered", call.call_id)
        token = {"authorization": f"Bearer {stream_token}"}
        call.connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/media", token)
        call.wait(lambda each: each.heard_ms >= greeting.duration_ms)
        question = iw.tts.synthesize("Any bread?")
        call.say(question.pcm, question.sample_rate_hz)
        call.wait(lambda each: each.heard_ms >= greeting.duration_ms + 800, timeout=60)
    for each in threading.enumerate():
        if each.name == "call":
            each.join(30)
    server.should_exit = True
    thread.join(30)
    listener.close()
    prepared.close()
    control.close()
    iw.close()


if __name__ == "__main__":
    try_it()
