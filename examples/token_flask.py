"""Run a Flask app that gives each logged-in user tokens for the browser: POST /token."""

import time

from flask import Flask, Response, abort, jsonify, session

from inworld_sync import Inworld, InworldError, QuotaError

app = Flask(__name__)
# With SameSite=Lax, the browser does not send the cookie with a POST request of another site. In
# production, take the secret key from the environment and add SESSION_COOKIE_SECURE=True.
app.config.update(SECRET_KEY="example", SESSION_COOKIE_SAMESITE="Lax")
iw = Inworld()

# This dict serves one process only. Several processes need a shared store such as Redis.
last_token_at: dict[str, float] = {}
SECONDS_BETWEEN_TOKENS = 2.0


@app.post("/login")
def login() -> str:
    """Replace this with your own login."""
    session["user"] = "ada"
    return "hello"


@app.post("/token")
def token() -> Response:
    """Return a token that opens one TTS or STT connection within a minute. The key stays here."""
    user = session.get("user")
    if user is None:
        abort(401, "log in first")
    now = time.monotonic()
    if now - last_token_at.get(user, -SECONDS_BETWEEN_TOKENS) < SECONDS_BETWEEN_TOKENS:
        abort(429, "too many tokens")
    last_token_at[user] = now
    try:
        made = iw.tokens.mint("single_use", lifetime=60, reference_id=user, timeout=5)
    except QuotaError:
        abort(503, "too many tokens at the moment")
    except InworldError:
        abort(502, "no token at the moment")
    response = jsonify(token=made.token, expires_at=made.expires_at)
    response.headers["Cache-Control"] = "no-store"
    return response


if __name__ == "__main__":
    client = app.test_client()
    print("not logged in:", client.post("/token").status)
    client.post("/login")
    answer = client.post("/token")
    print("logged in:", answer.status, sorted(answer.get_json()))
    print("again:", client.post("/token").status)
    iw.close()
