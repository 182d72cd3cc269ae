"""Run a Flask app whose page talks to the model over WebRTC: flask --app browser_call run."""

import os
from pathlib import Path

from flask import Flask, Response, abort, jsonify, request, send_file

from inworld_sync import Inworld, InworldError
from inworld_sync.emulator import Emulator

PAGE = Path(__file__).with_suffix(".html")

app = Flask(__name__)
if os.environ.get("INWORLD_SYNC_LOCAL") == "1":
    emulator = Emulator().start()
    url = emulator.url
    iw = Inworld(api_key=emulator.api_key, base_url=url, local=False)
else:
    url = "https://api.inworld.ai"
    iw = Inworld()


@app.get("/")
def page() -> Response:
    return send_file(PAGE)


@app.post("/token")
def token() -> Response:
    """
    Return a token for the page. The page never gets the key.

    The token has all rights of the key, so use a key that has only the rights for Realtime, and
    check the login of the user here; token_flask.py shows how.
    """
    # Before a page of another site can send JSON, the browser asks this app for permission (CORS).
    # This app does not give the permission.
    if not request.is_json:
        abort(415, "expected JSON")
    try:
        made = iw.tokens.mint("session", timeout=5)
    except InworldError:
        abort(502, "no token at the moment")
    response = jsonify(token=made.token, url=url)
    response.headers["Cache-Control"] = "no-store"
    return response


if __name__ == "__main__":
    client = app.test_client()
    print("page:", client.get("/").status)
    answer = client.post("/token", json={})
    print("token:", answer.status, sorted(answer.get_json()))
    print("Start it with: flask --app browser_call run")
    iw.close()
    if url.startswith("http://127.0.0.1"):
        emulator.close()
