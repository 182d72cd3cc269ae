"""Have a conversation with tools: the model calls functions, speaks, and is interrupted."""

import time
from typing import Literal

from inworld_sync import (
    Interrupted,
    Inworld,
    NullSpeaker,
    Session,
    ToolCalled,
    ToolOutputSent,
    tool,
)

PANTRY = {"eggs": 2, "flour": 500, "sugar": 80}


@tool
def pantry_stock(ingredient: Literal["eggs", "flour", "sugar"]) -> str:
    """Return how much of an ingredient is in the pantry."""
    return f"{PANTRY[ingredient]} of {ingredient}"


@tool(timeout=5)
def kitchen_timer(minutes: int) -> dict[str, int]:
    """
    Start the kitchen timer.

    Args:
        minutes: How long, 1 to 90.
    """
    if not 1 <= minutes <= 90:
        raise ValueError("minutes must be 1 to 90")  # the model reads this and can correct itself
    return {"minutes": minutes}


def show(event: object) -> None:
    if isinstance(event, ToolCalled):
        print(f"  calls {event.call.name} with {event.call.arguments}")
    elif isinstance(event, ToolOutputSent):
        print(f"  output {event.output} after {event.duration_ms:.0f} ms")
    elif isinstance(event, Interrupted):
        print(f"  interrupted after {sum(event.heard_ms.values()):.0f} ms were heard")


session = Session(instructions="Help in the kitchen.", tools=[pantry_stock, kitchen_timer])
with Inworld() as iw, iw.realtime.connect(session) as rt, NullSpeaker(24000) as speaker:
    for kind in (ToolCalled, ToolOutputSent, Interrupted):
        rt.on(kind, show)
    # Use Speaker() to hear the replies. Use rt.converse(Microphone(), Speaker()) to speak as well.
    rt.play(speaker)

    for question in ("How many eggs are in the pantry?", "Set the kitchen timer to 7 minutes."):
        print("you:", question)
        reply = rt.send_message(question)
        print("reply:", "".join(reply.text_stream()))  # includes the answer to the tool outputs
        rt.drain(timeout=60)

    print("you: Count to ninety.")
    reply = rt.send_message("Count to ninety.")
    print("reply:", next(reply.text_stream()), "...")
    time.sleep(1.5)  # the user listens for a while
    rt.interrupt()
    print("status:", reply.wait().status)
