"""
Answer calls of Twilio in Flask: the webhook /voice opens the session, /media carries the audio.

Run it with a server that has a thread for each call, such as gunicorn --threads 100.
"""

import os
import threading

from flask import Flask, Response, abort, request
from flask_sock import Sock
from simple_websocket import Server
from werkzeug.serving import make_server

from inworld_sync import AudioConfig, AuthError, Inworld, MulawFormat, RealtimeSession, Session
from inworld_sync.telephony import CallOptions, PreparedSessions, hang_up, transfer_tool
from inworld_sync.telephony.twilio import (
    MediaStream,
    TwilioControl,
    TwilioSignature,
    stream_twiml,
)

PUBLIC_HOST = os.environ.get("PUBLIC_HOST", "voice.example.com")
ACCOUNT_SID = os.environ.get("TWILIO_ACCOUNT_SID", "AC-example")
AUTH_TOKEN = os.environ.get("TWILIO_AUTH_TOKEN", "example")

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25}
sock = Sock(app)
iw = Inworld()
prepared = PreparedSessions()
signature = TwilioSignature(f"https://{PUBLIC_HOST}", auth_token=AUTH_TOKEN)
control = TwilioControl(ACCOUNT_SID, AUTH_TOKEN)
telephone = AudioConfig("MULAW", 8000)
greeting = iw.tts.synthesize("Hello, the bakery.", audio=telephone)
options = CallOptions(
    greeting=greeting,
    goodbye=iw.tts.synthesize("Goodbye.", audio=telephone),
    apology=iw.tts.synthesize("Sorry, one moment please.", audio=telephone),
    refusal=iw.tts.synthesize("All lines are busy. Please call later.", audio=telephone),
)
conversation = Session(
    instructions="You answer the phone of a bakery. Be brief.",
    input_format=MulawFormat(),
    output_format=MulawFormat(),
    tools=(hang_up, transfer_tool({"the baker": "+15550123"})),
)


def connect() -> RealtimeSession:
    """Open the session of one call."""
    return iw.realtime.connect(conversation)


@app.post("/voice")
def voice() -> Response:
    """Answer the webhook. The session is opened while Twilio connects the audio."""
    try:
        signature.check_webhook(request.full_path.rstrip("?"), request.headers, request.form)
    except AuthError:
        abort(403)
    prepared.open(request.form["CallSid"], connect)
    twiml = stream_twiml(f"wss://{PUBLIC_HOST}/media", {"from": request.form["From"]})
    return Response(twiml, mimetype="text/xml")


@sock.route("/media")
def media(socket: Server) -> None:
    """Run one call; the function returns when the call has ended."""
    summary = MediaStream(
        socket,
        lambda start: prepared.pop(start.call_id, connect),
        headers=request.headers,
        path=request.path,
        signature=signature,
        options=options,
        control=control,
    ).run()
    print(summary.end, f"{summary.heard_ms:.0f} ms heard", flush=True)
    print(summary.transcript, flush=True)


def try_it() -> None:
    """Call the app with a simulated caller, instead of a phone."""
    import base64
    import hashlib
    import hmac

    from inworld_sync.emulator import SimulatedCall

    def sign(text: str) -> dict[str, str]:
        digest = hmac.new(AUTH_TOKEN.encode(), text.encode(), hashlib.sha1).digest()
        return {"X-Twilio-Signature": base64.b64encode(digest).decode()}

    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with SimulatedCall("twilio") as call:
        form = {"CallSid": call.call_id, "From": "+15550100"}
        signed = f"https://{PUBLIC_HOST}/voice" + "".join(k + form[k] for k in sorted(form))
        answer = app.test_client().post("/voice", data=form, headers=sign(signed))
        print(answer.status)
        call.connect(f"ws://127.0.0.1:{server.port}/media", sign(f"wss://{PUBLIC_HOST}/media"))
        call.wait(lambda each: each.heard_ms >= greeting.duration_ms)
        question = iw.tts.synthesize("Any bread?")
        call.say(question.pcm, question.sample_rate_hz)
        call.wait(lambda each: each.heard_ms >= greeting.duration_ms + 800, timeout=60)
    prepared.close()
    control.close()
    server.shutdown()
    iw.close()


if __name__ == "__main__":
    try_it()
