"""
Run an assistant that hears its own speech: ``python -m benchmarks.echo.loopback [--minutes 10]``.

The microphone records the output of the loudspeaker, through a sound server without a sound card.
For the given minutes, nothing may interrupt the assistant. Afterwards a user speaks, and this
speech must interrupt the assistant.

The program needs the extras ``audio``, ``echo`` and ``local``, and the system packages that
``benchmarks/sound/pulse.py`` lists. The program fails if an extra or a package is missing, and
exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time

from benchmarks.echo.speech import USER, say
from benchmarks.sound.pulse import RATE_HZ, pactl, play_file, pulse_server
from inworld_sync import (
    Interrupted,
    Inworld,
    Microphone,
    PcmFormat,
    RealtimeSession,
    Session,
    Speaker,
)
from inworld_sync.audio.echo.processor import has_processor
from inworld_sync.errors import InworldError
from inworld_sync.realtime import InputSpeechStarted

__all__: list[str] = []

# The user's speech must interrupt the assistant within this time, which includes the latency of
# the sound server.
PATIENCE_S = 5.0
RESPONSE_S = 120.0


def main() -> int:
    """Run the conversation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--no-cancellation", action="store_true", help="do not remove the echo")
    arguments = parser.parse_args()
    if not has_processor():
        sys.exit("livekit is not installed: pip install 'inworld-sync[echo]'")
    session = Session(input_format=PcmFormat(RATE_HZ), output_format=PcmFormat(RATE_HZ))
    with pulse_server():
        # The monitor of a sink is a source with the audio that the sink plays.
        pactl("set-default-source", "one.monitor")
        with (
            Inworld(local=True) as iw,
            iw.realtime.connect(session) as rt,
            Speaker(RATE_HZ) as speaker,
            Microphone(RATE_HZ, echo=False if arguments.no_cancellation else None) as microphone,
        ):
            talk = threading.Thread(target=rt.converse, args=(microphone, speaker), daemon=True)
            talk.start()
            missed = _measure(rt, speaker, microphone, arguments.minutes * 60.0)
            rt.close()
            talk.join(10.0)
    print("NOT MET: " + "; ".join(missed) if missed else "all goals are met")
    return 1 if missed else 0


def _measure(
    rt: RealtimeSession, speaker: Speaker, microphone: Microphone, seconds: float
) -> list[str]:
    started: list[float] = []
    interrupted: list[float] = []
    rt.on(InputSpeechStarted, lambda _: started.append(time.monotonic()))
    rt.on(Interrupted, lambda _: interrupted.append(time.monotonic()))
    begin = time.monotonic()
    replies = 0
    while time.monotonic() - begin < seconds:
        # A reply that is interrupted may fail. Its error is ignored, since interruptions are
        # counted.
        with contextlib.suppress(InworldError):
            rt.send_message("Count from one to sixty.").wait(RESPONSE_S)
            rt.drain(RESPONSE_S)
        replies += 1
    minutes = (time.monotonic() - begin) / 60.0
    heard_s = speaker.heard_samples / RATE_HZ
    print(
        f"{minutes:.1f} minutes, {replies} replies, {heard_s:.0f} s of speech heard: "
        f"speech detected {len(started)} times, {len(interrupted)} interruptions"
    )
    print(f"{microphone.echo_stats}, {speaker.stats}")
    missed = []
    if started or interrupted:
        missed.append("the assistant interrupted itself")
    if heard_s < 0.5 * seconds:
        missed.append(f"only {heard_s:.0f} s of speech were heard")
    started.clear()
    interrupted.clear()
    reply = rt.send_message("Count from one to sixty.")
    next(reply.text_stream())
    time.sleep(4.0)
    spoken = time.monotonic()
    with play_file("one", say(USER[0], 3, RATE_HZ).tobytes()) as player:
        player.wait(30.0)
    while not interrupted and time.monotonic() - spoken < PATIENCE_S:
        time.sleep(0.02)
    if not interrupted:
        missed.append("the user did not interrupt the assistant")
    else:
        took_ms = 1000.0 * (interrupted[0] - spoken)
        print(f"interrupted {took_ms:.0f} ms after the player of the user's speech was started")
    return missed


if __name__ == "__main__":
    sys.exit(main())
