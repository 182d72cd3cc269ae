"""A Flask application with a relay, for servers in another process."""

from __future__ import annotations

from flask import Flask, Response, jsonify, request
from flask_sock import Sock
from simple_websocket import Server

from inworld_sync import Inworld
from inworld_sync.web import Relay

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"max_message_size": 65_536}
sock = Sock(app)
iw = Inworld(proxy=False)
ends: list[str] = []


@sock.route("/talk")
def talk(socket: Server) -> None:
    relay = Relay(socket, lambda _: iw.realtime.connect(), headers=request.headers)
    ends.append(relay.run().end)


@app.get("/ends")
def get_ends() -> Response:
    return jsonify(ends)
