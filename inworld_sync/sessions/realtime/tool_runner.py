"""
Runs the functions that a model calls, several at once, each with a timeout.

Threads: each call runs on its own thread ``inworld-tool-...``. A function cannot be stopped. If a
function exceeds its timeout, an error is sent as its output. The thread ends when the function
returns, and counts as running until then.

Lock rule: the session's monitor guards all fields. Functions run without the monitor.
"""

from __future__ import annotations

import contextvars
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial

import attrs

from inworld_sync.errors import (
    ConfigError,
    DeadlineExceeded,
    LocalProtocolError,
    RemoteProtocolError,
)
from inworld_sync.models.realtime import (
    FunctionCall,
    FunctionTool,
    HasDefinition,
    McpApprovalRequest,
    Tool,
)
from inworld_sync.sessions.monitor import Monitor
from inworld_sync.sessions.realtime.events import ToolOutputSent
from inworld_sync.sessions.realtime.executor import Executor
from inworld_sync.tools.function import ToolFunction, error_text

__all__ = ["CURRENT_SESSION", "UNSENDABLE", "Approver", "ToolOptions", "ToolRunner"]

# In this variable, a tool function finds the session that runs the function.
CURRENT_SESSION: contextvars.ContextVar[object] = contextvars.ContextVar("inworld_sync_session")

# The model gets this text instead of an exception's text, which may have secrets or instructions.
_FAILED = '{"error": "the function failed"}'

# The model gets this text if the function ran and the result cannot be sent. The text says that the
# function ran, so that the model does not repeat the call.
UNSENDABLE = '{"error": "the function ran, but its result cannot be shown"}'

Approver = Callable[[McpApprovalRequest], bool]

# The arguments are the result of the work, the exception of the work, and the duration in
# milliseconds.
_Done = Callable[[object, "Exception | None", float], object]


@attrs.frozen
class ToolOptions:
    """
    How the tools of a session are called.

    Attributes:
        timeout: Seconds for a function that has no timeout of its own; None for no timeout.
        max_at_once: How many functions may run at the same time, 1 or more. Further calls wait.
        on_approval: Decides about calls of MCP servers; with None, the application decides.
        sends_errors: Whether the model gets the text of an exception that a function raises.
    """

    timeout: float | None
    max_at_once: int
    on_approval: Approver | None
    sends_errors: bool


@attrs.frozen
class _Raised:
    """The exception that a function raised."""

    error: Exception


@attrs.frozen
class _Unsendable:
    """Why the result of a function cannot be sent."""

    error: ConfigError


@attrs.define(eq=False)
class _Run:
    """Work for a thread. *is_over* is set once: when the work ends, or when its timeout passes."""

    name: str
    work: Callable[[], object]
    done: _Done
    began: float = attrs.field(factory=time.monotonic)
    is_over: bool = False


@attrs.define(eq=False)
class ToolRunner:
    """
    The functions of one session.

    Args:
        monitor: The monitor of the session.
        executor: Watches the timeouts and sends the outputs.
        name: The name of the session, for threads.
        options: The timeout, and how many functions may run at the same time.
        answer: Called by the executor with each result.
    """

    _monitor: Monitor
    _executor: Executor
    _name: str
    _options: ToolOptions
    _answer: Callable[[ToolOutputSent], object]
    _context: contextvars.Context = attrs.field(init=False, factory=contextvars.copy_context)
    _functions: dict[str, ToolFunction[..., object]] = attrs.field(init=False, factory=dict)
    _declared: set[str] = attrs.field(init=False, factory=set)
    _waiting: deque[_Run] = attrs.field(init=False, factory=deque)
    _threads: list[threading.Thread] = attrs.field(init=False, factory=list)
    _stopped: bool = attrs.field(init=False, default=False)
    _session: Callable[[], object] = attrs.field(init=False, default=lambda: None)

    # The callers of these methods hold the monitor.

    def declare(self, tools: tuple[Tool, ...] | None) -> None:
        """Add tools. If several tools have the same name, the newest is used."""
        for tool in tools or ():
            if isinstance(tool, ToolFunction):
                self._functions[tool.definition.name] = tool
            elif isinstance(tool, (FunctionTool, HasDefinition)):
                name = tool.name if isinstance(tool, FunctionTool) else tool.definition.name
                self._functions.pop(name, None)
                self._declared.add(name)

    def bind(self, session: object) -> None:
        """Set :data:`CURRENT_SESSION` for all functions that start from now on."""
        # With this weak reference, a session that was dropped is garbage-collected, unless one of
        # its functions runs.
        self._session = weakref.ref(session)

    def is_ours(self, name: str) -> bool:
        """Return whether this side answers a call of this name; otherwise the application does."""
        return name in self._functions or name not in self._declared

    def start(self, call: FunctionCall) -> None:
        """Run the called function. If there is no such function, the output is an error."""
        function = self._functions.get(call.name)
        done = partial(self._answered, call)
        if function is None:
            self.begin(call.name, partial(_refuse, call.name), done)
        else:
            self.begin(call.name, partial(_call, function, call.arguments), done, function.timeout)

    def begin(
        self, name: str, work: Callable[[], object], done: _Done, timeout: float | None = None
    ) -> None:
        """Run *work* on a tool thread; the executor calls *done*."""
        run = _Run(name, work, done)
        timeout = self._options.timeout if timeout is None else timeout
        if timeout is not None:
            self._executor.put_later(timeout, partial(self._expire, run, timeout))
        self._waiting.append(run)
        self._fill()

    def stop(self) -> None:
        """Start no further function, and send no further output."""
        self._stopped = True
        self._waiting.clear()

    # The callers of these methods do not hold the monitor.

    def join(self, timeout: float) -> None:
        """Wait for the functions that run, at most *timeout* seconds."""
        until = time.monotonic() + timeout
        with self._monitor:
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def _fill(self) -> None:
        while (
            self._waiting and len(self._threads) < self._options.max_at_once and not self._stopped
        ):
            run = self._waiting.popleft()
            if run.is_over:
                continue
            thread = threading.Thread(
                target=self._context.copy().run,
                args=(self._run, run),
                name=f"inworld-tool-{self._name}-{run.name or 'unnamed'}",
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()

    def _run(self, run: _Run) -> None:
        output: object = None
        error: Exception | None = None
        CURRENT_SESSION.set(self._session())
        try:
            output = run.work()
        except Exception as raised:  # noqa: BLE001 - the user's function may raise anything
            error = raised
        except BaseException as raised:  # noqa: BLE001 - it must not end more than the function
            error = RuntimeError(f"the function raised {type(raised).__name__}")
            error.__cause__ = raised
        with self._monitor:
            self._threads.remove(threading.current_thread())
            self._finish(run, output, error)
            self._fill()

    def _expire(self, run: _Run, timeout: float) -> None:
        error = DeadlineExceeded(f"{run.name} took longer than {timeout:g} s")
        with self._monitor:
            self._finish(run, None, error)

    def _finish(self, run: _Run, output: object, error: Exception | None) -> None:
        if run.is_over or self._stopped:
            return
        run.is_over = True
        duration_ms = (time.monotonic() - run.began) * 1000.0
        self._executor.put(partial(run.done, output, error, duration_ms))

    def _answered(
        self, call: FunctionCall, output: object, error: Exception | None, duration_ms: float
    ) -> None:
        text = str(output) if error is None else error_text(error)
        if isinstance(output, _Raised):
            error = output.error
            text = error_text(error) if self._options.sends_errors else _FAILED
        elif isinstance(output, _Unsendable):
            error, text = output.error, UNSENDABLE
        self._answer(ToolOutputSent(call, text, error, duration_ms))


def _call(function: ToolFunction[..., object], arguments: str) -> object:
    values = function.parse(arguments)
    try:
        result = function.call(values)
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything
        return _Raised(error)
    except BaseException as raised:  # noqa: BLE001 - it must not end more than the function
        failure = RuntimeError(f"the function raised {type(raised).__name__}")
        failure.__cause__ = raised
        return _Raised(failure)
    try:
        return function.render(result)
    except ConfigError as error:
        return _Unsendable(error)


def _refuse(name: str) -> object:
    if not name:
        raise RemoteProtocolError("the call names no function")
    raise LocalProtocolError(f"there is no function {name!r}")
