"""
Shows a conversation: transcripts, tool calls and the levels of user and assistant.

One line is printed for each turn, tool call, interruption and reconnection, as text or as JSON. On
a terminal, the last lines of the screen can show the current turn and two level meters.

Lock rule: ``_lock`` guards the transcripts of the current turn, and is held for a short time only.
rich has its own lock for printing.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from inworld_sync.audio.meter import Level
from inworld_sync.audio.pcm import SAMPLE_BYTES
from inworld_sync.cli.common import ERRORS, json_text
from inworld_sync.cli.talk_sound import RATE_HZ, MeteredSink, MeteredSource
from inworld_sync.errors import printable
from inworld_sync.locks import make_lock
from inworld_sync.models.realtime import (
    AudioDelta,
    ErrorReported,
    InputText,
    ItemAdded,
    Message,
    OutputItemDone,
    ResponseDone,
    TextDelta,
    TranscriptDelta,
    UserTranscriptCompleted,
    UserTranscriptUpdated,
)
from inworld_sync.sessions.realtime.events import (
    Interrupted,
    SessionReconnected,
    ToolCalled,
    ToolOutputSent,
)
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.wire.realtime.faults import HARMLESS_CODES
from inworld_sync.wire.realtime.replay import heard_text

__all__ = ["Screen"]

_BAR_CELLS = 30
# The level at which a meter is empty.
_FLOOR_DBFS = -60.0
_REFRESHES_PER_SECOND = 12


class Screen:
    """
    Shows one conversation.

    Args:
        assistant: The name to print for the assistant.
        as_json: Whether to print each line as a JSON object.

    Thread safety: any thread may use this object.
    """

    def __init__(self, assistant: str, *, as_json: bool) -> None:
        self._assistant = assistant
        self._as_json = as_json
        self._console = Console()
        self._lock = make_lock()
        self._user = ""
        self._reply_id, self._reply = "", ""
        self._printed_items: set[str] = set()
        # The text and the milliseconds of audio of each item of the assistant.
        self._spoken_texts: dict[str, str] = {}
        self._audio_ms: dict[str, float] = {}

    def follow(self, rt: RealtimeSession, *, waits: bool) -> None:
        """
        Show the events of a session from now on.

        Args:
            rt: The session.
            waits: Whether the caller waits for each reply. Then the caller raises the error of a
                failed reply, and the text that is sent for the user is printed. Otherwise, this
                object prints a failed reply, and the user already sees what the user types.
        """
        if waits:
            rt.on(ItemAdded, self._written)
        else:
            rt.on(ResponseDone, self._done)
        rt.on(UserTranscriptUpdated, self._hear)
        rt.on(UserTranscriptCompleted, self._heard)
        rt.on(TranscriptDelta, self._speak)
        rt.on(TextDelta, self._speak)
        rt.on(AudioDelta, self._count)
        rt.on(OutputItemDone, self._spoken)
        rt.on(ToolCalled, self._called)
        rt.on(ToolOutputSent, self._answered)
        rt.on(Interrupted, self._interrupted)
        rt.on(SessionReconnected, self._reconnected)
        rt.on(ErrorReported, self._failed)

    @contextlib.contextmanager
    def live(self, user: MeteredSource, assistant: MeteredSink) -> Iterator[None]:
        """On a terminal, show meters and the current turn while the block runs."""
        if self._as_json or not self._console.is_terminal:
            yield
            return
        with Live(
            console=self._console,
            get_renderable=lambda: self._foot(user, assistant),
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
        ):
            yield

    def warn(self, text: str) -> None:
        """Print a message on standard error."""
        message = f"inworld-sync: {printable(text)}"
        ERRORS.print(message, markup=False, highlight=False, soft_wrap=True)

    def end(self, output: str | None, spoken_ms: float) -> None:
        """Print how much speech was heard. Without JSON, print this only if *output* is a file."""
        if self._as_json:
            self._write({"event": "ended", "output": output, "heard_ms": spoken_ms})
        elif output is not None:
            click.echo(printable(f"{spoken_ms / 1000.0:.2f} s of speech in {output}"), err=True)

    # These handlers run on the session's dispatch thread.

    def _hear(self, event: UserTranscriptUpdated) -> None:
        with self._lock:
            self._user = event.transcript

    def _heard(self, event: UserTranscriptCompleted) -> None:
        with self._lock:
            self._user = ""
            is_new = event.item_id not in self._printed_items
            self._printed_items.add(event.item_id)
        if is_new and event.transcript.strip():
            self._user_line(event.transcript)

    def _written(self, event: ItemAdded) -> None:
        item = event.item
        if isinstance(item, Message) and item.role == "user":
            text = " ".join(part.text for part in item.content if isinstance(part, InputText))
            if text:
                self._user_line(text)

    def _speak(self, event: TranscriptDelta | TextDelta) -> None:
        with self._lock:
            if event.item_id != self._reply_id:
                self._reply_id, self._reply = event.item_id, ""
            self._reply += event.delta
            self._spoken_texts[event.item_id] = self._reply

    def _count(self, event: AudioDelta) -> None:
        with self._lock:
            duration_ms = len(event.audio) / SAMPLE_BYTES * 1000.0 / RATE_HZ
            self._audio_ms[event.item_id] = self._audio_ms.get(event.item_id, 0.0) + duration_ms

    def _spoken(self, event: OutputItemDone) -> None:
        item = event.item
        if not isinstance(item, Message):
            return
        with self._lock:
            self._reply_id, self._reply = "", ""
        text = "".join(
            getattr(part, "transcript", None) or getattr(part, "text", None) or ""
            for part in item.content
        ).strip()
        if text:
            row = {"event": "assistant", "text": text, "item_id": item.id, "status": item.status}
            self._line(self._assistant, text, "bold cyan", row)

    def _called(self, event: ToolCalled) -> None:
        call = event.call
        row = {"event": "tool_called", "name": call.name, "arguments": call.arguments}
        self._line("tool", f"{call.name} {call.arguments}", "bold magenta", row)

    def _answered(self, event: ToolOutputSent) -> None:
        error = None if event.error is None else str(event.error)
        text = event.output if error is None else f"failed: {error}"
        row = {
            "event": "tool_answered",
            "name": event.call.name,
            "output": event.output,
            "error": error,
            "duration_ms": event.duration_ms,
        }
        self._line("tool", f"{event.call.name} -> {text}", "bold magenta", row)

    def _interrupted(self, event: Interrupted) -> None:
        heard_ms = sum(event.heard_ms.values())
        with self._lock:
            texts = [
                heard_text(self._spoken_texts.get(item_id, ""), ms / self._audio_ms[item_id])
                for item_id, ms in event.heard_ms.items()
                if self._audio_ms.get(item_id)
            ]
        text = " ".join(filter(None, texts))
        row = {"event": "interrupted", "heard_ms": dict(event.heard_ms), "heard_text": text}
        heard = f": {text}" if text else ""
        self._line("-", f"interrupted after {heard_ms / 1000.0:.2f} s of speech{heard}", "dim", row)

    def _reconnected(self, event: SessionReconnected) -> None:
        row = {"event": "reconnected", "outage_ms": event.outage_ms}
        self._line("-", f"reconnected after {event.outage_ms / 1000.0:.1f} s", "dim", row)

    def _done(self, event: ResponseDone) -> None:
        if event.response.status not in ("completed", "cancelled"):
            details = event.response.status_details
            reason = details.reason if details is not None else ""
            self.warn(
                f"the response ended with the status {event.response.status}: "
                f"{reason or 'no reason given'}"
            )

    def _failed(self, event: ErrorReported) -> None:
        if event.error.code not in HARMLESS_CODES:
            self.warn(f"the service reported an error: {event.error.message}")

    # Printing.

    def _user_line(self, text: str) -> None:
        self._line("you", text, "bold green", {"event": "user", "text": text})

    def _line(self, who: str, text: str, style: str, row: Mapping[str, object]) -> None:
        if self._as_json:
            self._write(row)
        elif self._console.is_terminal:
            self._console.print(Text.assemble((f"{printable(who)}: ", style), printable(text)))
        else:
            click.echo(printable(f"{who}: {text}"))
            sys.stdout.flush()

    def _write(self, row: Mapping[str, object]) -> None:
        click.echo(json_text(row))
        sys.stdout.flush()

    def _foot(self, user: MeteredSource, assistant: MeteredSink) -> Table:
        with self._lock:
            said, reply = self._user, self._reply
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        # The cells are Text, since rich would read markup in a str.
        table.add_row("you", _bar(user.level), Text(printable(said)))
        table.add_row(
            Text(printable(self._assistant)), _bar(assistant.level), Text(printable(reply))
        )
        return table


def _bar(level: Level) -> Text:
    """Return a bar from -60 dBFS to full scale. The bar is red if the audio clips."""
    decibels = level.rms_dbfs
    share = 0.0 if math.isinf(decibels) else max(0.0, 1.0 - decibels / _FLOOR_DBFS)
    cells = round(share * _BAR_CELLS)
    style = "red" if level.is_clipped else "green"
    return Text.assemble(("█" * cells, style), ("·" * (_BAR_CELLS - cells), "dim"))
