r"""
Answer calls of Asterisk over AudioSocket, which every Asterisk since version 18 has.

The dialplan (extensions.conf) passes a UUID for each call:

    [incoming]
    exten => _X.,1,Answer()
     same => n,Set(CALL_ID=${SHELL(uuidgen | tr -d '\n')})
     same => n,AudioSocket(${CALL_ID},127.0.0.1:9092)
     same => n,Hangup()
"""

import sys

from inworld_sync import AudioConfig, Inworld, PcmFormat, RealtimeSession, Session
from inworld_sync.telephony import CallOptions, CallStart, CallSummary, hang_up
from inworld_sync.telephony.asterisk import AudioSocketServer

iw = Inworld()
greeting = iw.tts.synthesize("Hello, the bakery.", audio=AudioConfig("PCM", 8000))
options = CallOptions(greeting=greeting)
conversation = Session(
    instructions="You answer the phone of a bakery. Be brief.",
    input_format=PcmFormat(8000),
    output_format=PcmFormat(8000),
    tools=(hang_up,),
)


def connect(_: CallStart) -> RealtimeSession:
    """Open the session of one call."""
    return iw.realtime.connect(conversation)


def ended(summary: CallSummary) -> None:
    """Report how a call has ended."""
    print(summary.end, f"{summary.heard_ms:.0f} ms heard", flush=True)
    print(summary.transcript, flush=True)


def try_it() -> None:
    """Call the server with a simulated Asterisk, instead of a phone."""
    from inworld_sync.emulator import SimulatedCall

    server = AudioSocketServer(connect, port=0, options=options, on_end=ended)
    with server, SimulatedCall("audiosocket") as call:
        call.connect(f"tcp://127.0.0.1:{server.port}")
        call.wait(lambda each: each.heard_ms >= greeting.duration_ms)
        question = iw.tts.synthesize("Any bread?")
        call.say(question.pcm, question.sample_rate_hz)
        call.wait(lambda each: each.heard_ms >= greeting.duration_ms + 800, timeout=60)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        with AudioSocketServer(connect, port=9092, options=options, on_end=ended) as forever:
            forever.serve_forever()
    else:
        try_it()
    iw.close()
