"""
Talk with the model in a web page, in Flask: push-to-talk and open microphone.

Try it with ``flask --app web_talk_flask run`` and open http://127.0.0.1:5000. Each conversation
needs a thread, so for many users run:
gunicorn --worker-class gthread --threads 64 web_talk_flask:app
"""

import json
import os
import threading
from pathlib import Path

from flask import Flask, Response, abort, jsonify, request, send_file
from flask_sock import Sock
from simple_websocket import Server
from werkzeug.serving import make_server

from inworld_sync import Inworld, InworldError, RealtimeSession, Session, tool, web
from inworld_sync.emulator import Emulator
from inworld_sync.realtime import ProviderData, TtsTuning

PAGE = Path(__file__).with_name("web_talk.html")

app = Flask(__name__)
# The pings detect a browser that has lost its network, since such a browser sends no close.
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25, "max_message_size": 65_536}
sock = Sock(app)
if os.environ.get("INWORLD_SYNC_LOCAL") == "1":
    emulator = Emulator().start()
    url = emulator.url
    iw = Inworld(api_key=emulator.api_key, base_url=url, local=False)
else:
    url = "https://api.inworld.ai"
    iw = Inworld()


@tool
def opening_hours(day: str) -> str:
    """Return the opening hours of the bakery on a day of the week."""
    return "closed" if day.lower() == "sunday" else "7:00 to 18:00"


conversation = Session(
    instructions="You answer questions about a bakery. Be brief.",
    tools=[opening_hours],
    # With the times of words, the page marks each word when the user hears the word.
    provider_data=ProviderData(tts=TtsTuning(timestamp_type="WORD")),
)
users = web.UserLimit(2, per_period=60)
options = web.RelayOptions(max_duration=900)


def open_session(_: web.RelayStart) -> RealtimeSession:
    """Open the session of one page."""
    return iw.realtime.connect(conversation)


@app.get("/")
def page() -> Response:
    return send_file(PAGE)


@app.get("/inworld.js")
def script() -> Response:
    return Response(web.script(), mimetype="text/javascript")


@sock.route("/talk")
def talk(socket: Server) -> None:
    """Run one conversation; the function returns when the conversation has ended."""
    relay = web.Relay(
        socket,
        open_session,
        headers=request.headers,
        # It is better to pass the name of the user who is logged in. Behind a proxy, all users have
        # the address of the proxy.
        user=request.remote_addr or "unknown",
        limit=users,
        options=options,
    )
    summary = relay.run()
    print(summary.end, f"{summary.heard_ms:.0f} ms heard", flush=True)
    print(summary.transcript, flush=True)


@app.post("/token")
def token() -> Response:
    """Return a token, for pages that talk with the service over WebRTC instead of the relay."""
    if not request.is_json:
        abort(415, "expected JSON")
    try:
        made = iw.tokens.mint("session", timeout=5)
    except InworldError:
        abort(502, "no token at the moment")
    response = jsonify(token=made.token, url=url)
    response.headers["Cache-Control"] = "no-store"
    return response


def try_it() -> None:
    """Talk with the app as a page does: press the button, ask, release it, and hear the answer."""
    from websockets.sync.client import connect

    question = iw.tts.synthesize("When do you open on Monday?")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, heard = f"127.0.0.1:{server.port}", 0
    with connect(f"ws://{host}/talk", origin=f"http://{host}", compression=None) as socket:
        socket.send('{"type": "start", "mode": "push"}')
        socket.send('{"type": "push", "down": true}')
        for start in range(0, len(question.pcm), 960):
            socket.send(bytes(question.pcm[start : start + 960]))
        socket.send('{"type": "push", "down": false}')
        while True:
            message = socket.recv(timeout=60)
            if isinstance(message, bytes):
                heard += len(message) - 4
            elif (body := json.loads(message))["type"] == "user":
                print("user:", body["text"])
            elif body["type"] == "item_end":
                socket.send(json.dumps({"type": "finished", "item": body["item"]}))
                break
    print(f"{heard / 48:.0f} ms of speech received")
    server.shutdown()
    web.drain_relays(10)


if __name__ == "__main__":
    print("page:", app.test_client().get("/").status)
    try_it()
    iw.close()
    if url.startswith("http://127.0.0.1"):
        emulator.close()
