"""
What a talk shows: who said what, which tools were called, and how loud both sides are.

On a terminal the present turn and the meters move at the foot of the screen; elsewhere there is a
line for each turn, as text or as JSON.

Lock rule: ``_lock`` guards what is being said; it is held for moments. Printing takes rich's own.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
from collections.abc import Iterator, Mapping

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from inworld_sync.audio.meter import Level
from inworld_sync.cli.common import ERRORS
from inworld_sync.cli.talk_sound import MeteredSink, MeteredSource
from inworld_sync.models.realtime import (
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

__all__ = ["Screen"]

_BAR_CELLS = 30
# The quietest sound that moves a meter.
_FLOOR_DBFS = -60.0
_REFRESHES_PER_SECOND = 12


class Screen:
    """
    Shows one talk.

    Args:
        assistant: What the other side is called.
        as_json: Print a JSON object for each line.

    Thread safety: any thread.
    """

    def __init__(self, assistant: str, *, as_json: bool) -> None:
        self._assistant = assistant
        self._as_json = as_json
        self._console = Console()
        self._lock = threading.Lock()
        self._user = ""
        self._reply_id, self._reply = "", ""
        self._printed_items: set[str] = set()

    def follow(self, rt: RealtimeSession, *, waits: bool) -> None:
        """
        Show what is said in a session from now on.

        Args:
            rt: The session.
            waits: Who writes waits for each reply: its failure is raised to him. Else he types
                what he says, which is on the screen already.
        """
        if waits:
            rt.on(ItemAdded, self._written)
        else:
            rt.on(ResponseDone, self._done)
        rt.on(UserTranscriptUpdated, self._hear)
        rt.on(UserTranscriptCompleted, self._heard)
        rt.on(TranscriptDelta, self._speak)
        rt.on(TextDelta, self._speak)
        rt.on(OutputItemDone, self._spoken)
        rt.on(ToolCalled, self._called)
        rt.on(ToolOutputSent, self._answered)
        rt.on(Interrupted, self._interrupted)
        rt.on(SessionReconnected, self._reconnected)
        rt.on(ErrorReported, self._failed)

    @contextlib.contextmanager
    def live(self, user: MeteredSource, assistant: MeteredSink) -> Iterator[None]:
        """Show meters, and what is being said, while the block runs and if this is a terminal."""
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
        """Say something about the talk itself, beside its output."""
        ERRORS.print(f"inworld-sync: {text}", markup=False, highlight=False, soft_wrap=True)

    def end(self, output: str | None, spoken_ms: float) -> None:
        """Say that it is over."""
        if self._as_json:
            self._write({"event": "ended", "output": output, "heard_ms": spoken_ms})
        elif output is not None:
            click.echo(f"{spoken_ms / 1000.0:.2f} s of speech in {output}", err=True)

    # Handlers, on the session's dispatch thread.

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
        row = {"event": "interrupted", "heard_ms": dict(event.heard_ms)}
        self._line("-", f"interrupted, {heard_ms / 1000.0:.2f} s were heard", "dim", row)

    def _reconnected(self, event: SessionReconnected) -> None:
        row = {"event": "reconnected", "outage_ms": event.outage_ms}
        self._line("-", f"reconnected after {event.outage_ms / 1000.0:.1f} s", "dim", row)

    def _done(self, event: ResponseDone) -> None:
        if event.response.status not in ("completed", "cancelled"):
            details = event.response.status_details
            reason = details.reason if details is not None else ""
            self.warn(f"the reply is {event.response.status}: {reason or 'no reason is given'}")

    def _failed(self, event: ErrorReported) -> None:
        if event.error.code not in HARMLESS_CODES:
            self.warn(f"the service reports: {event.error.message}")

    # Printing.

    def _user_line(self, text: str) -> None:
        self._line("you", text, "bold green", {"event": "user", "text": text})

    def _line(self, who: str, text: str, style: str, row: Mapping[str, object]) -> None:
        if self._as_json:
            self._write(row)
        elif self._console.is_terminal:
            self._console.print(Text.assemble((f"{who}: ", style), text))
        else:
            click.echo(f"{who}: {text}")
            sys.stdout.flush()

    def _write(self, row: Mapping[str, object]) -> None:
        click.echo(json.dumps(row, ensure_ascii=False))
        sys.stdout.flush()

    def _foot(self, user: MeteredSource, assistant: MeteredSink) -> Table:
        with self._lock:
            said, reply = self._user, self._reply
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_row("you", _bar(user.level), said)
        table.add_row(self._assistant, _bar(assistant.level), reply)
        return table


def _bar(level: Level) -> Text:
    """A bar from -60 dBFS to full scale; red where it clips."""
    decibels = level.rms_dbfs
    share = 0.0 if math.isinf(decibels) else max(0.0, 1.0 - decibels / _FLOOR_DBFS)
    cells = round(share * _BAR_CELLS)
    style = "red" if level.peak >= 1.0 - 1.0 / 32768 else "green"
    return Text.assemble(("█" * cells, style), ("·" * (_BAR_CELLS - cells), "dim"))
