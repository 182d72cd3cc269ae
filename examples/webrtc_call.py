"""Have a call over WebRTC: speak, let the model call a function, and interrupt a reply."""

import time

from inworld_sync import (
    Interrupted,
    Inworld,
    Message,
    NullSpeaker,
    Session,
    ToolCalled,
    WavSource,
    tool,
)


@tool
def weather(city: str) -> str:
    """Weather for a city."""
    return f"It rains in {city}."


def show(event: object) -> None:
    if isinstance(event, ToolCalled):
        print(f"  calls {event.call.name} with {event.call.arguments}")
    elif isinstance(event, Interrupted):
        print(f"  interrupted after {sum(event.heard_ms.values()):.0f} ms were heard")


with Inworld() as iw:
    iw.tts.synthesize("What is the weather in Oslo?").save("question.wav")
    session = Session(instructions="Be brief.", voice="Dennis", tools=[weather])
    with iw.connect_webrtc(session) as rt, NullSpeaker(48000) as speaker:
        rt.on(ToolCalled, show)
        rt.on(Interrupted, show)
        # With a sound card: rt.converse(Microphone(48000), Speaker(48000)).
        rt.converse(WavSource("question.wav", realtime=True), speaker, hang_up_after=2.0)
        for entry in rt.conversation:
            if isinstance(entry.item, Message):
                print(f"{entry.item.role}: {entry.item.text}")

        rt.play(speaker)
        reply = rt.send_message("Count to ninety.")
        next(reply.audio.stream())
        time.sleep(1.0)  # the user listens for a while
        rt.interrupt()
        print("status:", reply.wait().status)
