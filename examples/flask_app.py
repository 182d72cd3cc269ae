"""A Flask app that streams a WAV file while the speech is generated: /say?text=Hello."""

from flask import Flask, Response, request

from inworld_sync import Inworld

app = Flask(__name__)
iw = Inworld()


@app.get("/say")
def say() -> Response:
    """The browser plays the first bytes at once. Closing the page also ends the synthesis."""
    text = request.args.get("text", "Hello from Flask.")
    return Response(iw.tts.stream_wav(text, voice="Ashley"), mimetype="audio/wav")


if __name__ == "__main__":
    answer = app.test_client().get("/say")
    print(answer.status, len(answer.data), "bytes")
    iw.close()
