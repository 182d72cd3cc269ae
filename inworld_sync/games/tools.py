"""Runs tools. If the model calls a function, ``update`` of the conversation runs the function."""

from __future__ import annotations

import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from inworld_sync.errors import ClosedError
from inworld_sync.locks import Event
from inworld_sync.models.realtime import Tool
from inworld_sync.models.realtime.tools import HasDefinition
from inworld_sync.tools.function import ToolFunction

__all__ = ["GameTools"]

_LOOK_SECONDS = 0.5


class _Task:
    """A call of a function that waits until the thread of the game runs the function."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._context = contextvars.copy_context()
        self._result: object = None
        self._error: BaseException | None = None
        self.done = Event()

    def run(self) -> None:
        """Call the function. :meth:`result` raises the exception of the function."""
        try:
            self._result = self._context.run(self._function)
        except BaseException as error:
            self._error = error
            # result() raises this exception on the thread of the tool. Ctrl-C must also end the
            # game, so Ctrl-C is raised here too.
            if not isinstance(error, Exception):
                raise
        finally:
            self.done.set()

    def result(self) -> object:
        """Return the result of the function, or raise its exception."""
        if self._error is not None:
            raise self._error
        return self._result


class _GameTool(ToolFunction[..., object]):
    """A tool whose function runs on the thread of the game."""

    def __init__(
        self, tool: ToolFunction[..., object], run: Callable[[Callable[[], object]], object]
    ) -> None:
        self.__dict__.update(tool.__dict__)
        self._run_elsewhere = run

    def call(self, values: Mapping[str, object]) -> object:
        """Call the function on the thread of the game, and wait for its result."""
        return self._run_elsewhere(partial(super().call, values))


class GameTools:
    """
    The tool calls that wait until the thread of the game runs their functions.

    Thread safety: any thread may call every method.
    """

    def __init__(self) -> None:
        self._tasks: deque[_Task] = deque()
        self._closed = False

    def bind(self, tools: Iterable[Tool]) -> list[Tool | HasDefinition]:
        """Return the same tools for a session, but with functions that :meth:`run_next` runs."""
        return [
            _GameTool(each, self._run) if isinstance(each, ToolFunction) else each for each in tools
        ]

    def run_next(self) -> bool:
        """Run the next function that waits; return False if no function waits, or after close()."""
        if self._closed:
            return False
        try:
            task = self._tasks.popleft()
        except IndexError:
            return False
        task.run()
        return True

    def close(self) -> None:
        """Make the calls that wait raise :class:`ClosedError`."""
        self._closed = True

    def _run(self, function: Callable[[], object]) -> object:
        task = _Task(function)
        self._tasks.append(task)
        while not task.done.wait(_LOOK_SECONDS):
            if self._closed:
                # If the task is no longer in the list, the thread of the game runs it now.
                with contextlib.suppress(ValueError):
                    self._tasks.remove(task)
                    raise ClosedError("the conversation was closed before the function could run")
        return task.result()
