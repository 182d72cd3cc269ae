"""Receive speech in a loop of sixty frames per second that never waits, as a game does."""

import time

from inworld_sync import ContextClosed, Inworld, StreamEnded

FRAME_SECONDS = 1 / 60
SAMPLES_PER_FRAME = 24000 // 60

with Inworld(dispatch="poll") as iw, iw.tts.connect() as connection:
    context = connection.context(voice="Wren" if "127.0.0.1" in iw.options.base_url else "Hana")
    speaking = True

    def ended(_: StreamEnded) -> None:
        """Stop the loop. poll() calls this function on the thread of the loop."""
        global speaking
        speaking = False

    context.on(ContextClosed, lambda _: print("all audio has arrived"))
    context.on(StreamEnded, ended)
    context.send("A frame is a sixtieth of a second.")
    context.close()

    buffer = bytearray(SAMPLES_PER_FRAME * 2)
    played_bytes = frames = size_bytes = 0
    while speaking or size_bytes:
        context.poll(budget_ms=2)
        size_bytes = context.read_audio(buffer)
        played_bytes += size_bytes
        frames += 1
        time.sleep(FRAME_SECONDS)
    print(f"{frames} frames, {played_bytes / 48:.0f} ms of sound")
