"""Run a Flask app that streams MP3 while the speech is generated: /say?text=Hello."""

from flask import Flask, Response, request

from inworld_sync import Inworld, web

app = Flask(__name__)
iw = Inworld()


@app.get("/say")
def say() -> Response:
    """Stream speech, which the browser plays at once. Closing the page ends the synthesis."""
    text = request.args.get("text", "Hello from Flask.")
    # Errors before the first byte become responses such as 400 and 503.
    return web.stream_response(request, iw.tts, text, voice=request.args.get("voice"))


if __name__ == "__main__":
    answer = app.test_client().get("/say")
    print(answer.status, len(answer.data), "bytes")
    iw.close()
