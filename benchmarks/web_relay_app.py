"""The web application that ``benchmarks.web_relay`` measures: a relay, a page, and counters."""

from __future__ import annotations

import threading
import time

from flask import Flask, Response, jsonify, request
from flask_sock import Sock
from simple_websocket import Server

from inworld_sync import ConnectionLimiter, Inworld, Session
from inworld_sync.web import Relay, UserLimit

PLACES = 200


class Places(ConnectionLimiter):
    """A limiter that reports how many places are in use."""

    @property
    def used(self) -> int:
        return PLACES - self._free_places


app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25, "max_message_size": 65_536}
sock = Sock(app)
places = Places(PLACES)
iw = Inworld(limiter=places, proxy=False)
users = UserLimit(2)
ends: list[str] = []


@sock.route("/talk")
def talk(socket: Server) -> None:
    relay = Relay(
        socket,
        lambda _: iw.realtime.connect(Session(instructions="Be brief.")),
        headers=request.headers,
        user=request.args["user"],
        limit=users,
    )
    ends.append(relay.run().end)


@app.get("/page")
def page() -> str:
    return "<!doctype html><title>A page</title>" + "<p>A paragraph.</p>" * 200


@app.get("/counters")
def counters() -> Response:
    return jsonify(
        places=places.used,
        threads=threading.active_count(),
        cpu_seconds=time.process_time(),
        ends=ends,
    )
