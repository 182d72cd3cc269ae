"""A Flask app whose page speaks typed text and marks each word: flask --app web_speak_flask run."""

from pathlib import Path

from flask import Flask, Response, abort, request, send_file

from inworld_sync import Inworld, web

PAGE = Path(__file__).with_name("web_speak.html")

app = Flask(__name__)
# With this option, a stop also cancels text that the service has received but not yet spoken.
iw = Inworld(sends_cancel_context=True)
utterances = web.Utterances(iw.tts, max_utterances=50, max_characters=5000)


@app.get("/")
def page() -> Response:
    return send_file(PAGE)


@app.post("/speak")
def speak() -> Response:
    """Start to speak a text. Your app must check the login and the limits of the user here."""
    # Before a page of another site can send JSON, the browser asks this app for permission (CORS).
    # This app does not give the permission.
    if not request.is_json:
        abort(415, "expected JSON")
    body = request.get_json()
    if not isinstance(body, dict):
        abort(400, "expected an object")
    return utterances.start_response(request, body.get("text"), voice=body.get("voice"))


@app.get("/audio/<utterance_id>")
def audio(utterance_id: str) -> Response:
    return utterances.stream_response(request, utterance_id)


@app.get("/words/<utterance_id>")
def words(utterance_id: str) -> Response:
    return utterances.sse_response(request, utterance_id)


@app.get("/say")
def say() -> Response:
    """Send the audio of a text, but no events of words. Example: /say?text=Hello."""
    return web.stream_response(request, iw.tts, request.args.get("text"))


if __name__ == "__main__":
    client = app.test_client()
    print("page:", client.get("/").status)
    answer = client.post("/speak", json={"text": "Hello from Flask.", "voice": "Ashley"})
    utterance_id = answer.get_json()["id"]
    print(client.get(f"/words/{utterance_id}").text)
    print("audio:", len(client.get(f"/audio/{utterance_id}").data), "bytes")
    print("Start it with: flask --app web_speak_flask run")
    utterances.close()
    iw.close()
