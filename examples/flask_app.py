"""Run a Flask app that streams MP3 while the speech is generated: /say?text=Hello."""

from flask import Flask, Response, abort, request

from inworld_sync import Inworld, InworldError, NotFoundError

app = Flask(__name__)
iw = Inworld()


@app.get("/say")
def say() -> Response:
    """Stream speech. The browser plays it as it arrives. Closing the page ends the synthesis."""
    text = request.args.get("text", "Hello from Flask.")
    voice = request.args.get("voice", "Ashley")
    try:
        # Errors are raised before the first byte, so the status can still be set.
        blocks = iw.tts.stream_bytes(text, format="mp3", voice=voice)
    except NotFoundError:
        abort(404, f"no voice {voice!r}")
    except InworldError:
        abort(502, "the speech service failed")
    return Response(blocks, mimetype="audio/mpeg")


if __name__ == "__main__":
    answer = app.test_client().get("/say")
    print(answer.status, len(answer.data), "bytes")
    iw.close()
