"""
Runs commands to a carrier that are sent outside the audio stream, such as requests over HTTP.

Threads: each command runs on its own thread ``inworld-call-...-control``, because a command may
take seconds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from inworld_sync.errors import ConfigError
from inworld_sync.telephony.calls import CallControl, KeyControl

__all__ = ["ControlRunner"]

# How long a call waits for the command that ends the call.
_HANG_UP_SECONDS = 15.0

# A function that is called when a command has ended, with the error of the command or None.
_Done = Callable[["Exception | None"], object]


class ControlRunner:
    """
    Runs the commands of one call.

    Args:
        control: Sends the commands; None if the program has passed no ``control``.
        name: The name of the call, for the threads.
        logger: Gets the errors.
        put: Queues a function that the bridge's thread runs. Each command that has ended calls
            ``put`` once.
    """

    def __init__(
        self,
        control: CallControl | None,
        name: str,
        logger: logging.Logger,
        put: Callable[[Callable[[], object]], object],
    ) -> None:
        given: object = control
        if given is not None and not isinstance(given, CallControl):
            raise ConfigError(
                f"control must have hang_up() and transfer(), got {type(given).__name__}"
            )
        self._control, self._name, self._logger, self._put = control, name, logger, put

    def require(self) -> None:
        """Raise ConfigError if there is no control."""
        if self._control is None:
            raise ConfigError("transfer() needs a call that was made with control=")

    def hang_up(self, call_id: str) -> None:
        """End the call, and wait at most 15 s for the answer of the carrier."""
        if self._control is not None:
            thread = self._start(partial(self._control.hang_up, call_id), lambda _: None)
            thread.join(_HANG_UP_SECONDS)

    def transfer(self, call_id: str, target: str, done: _Done) -> None:
        """Begin a transfer, and return at once. *done* is called when the command has ended."""
        if self._control is not None:
            self._start(partial(self._control.transfer, call_id, target), done)

    def send_keys(self, call_id: str, digits: str) -> bool:
        """Send the tones of keys; return False if the carrier has no command for this."""
        control: object = self._control
        if not isinstance(control, KeyControl):
            return False
        self._start(partial(control.send_keys, call_id, digits), lambda _: None)
        return True

    def _start(self, command: Callable[[], object], done: _Done) -> threading.Thread:
        def run() -> None:
            error: Exception | None = None
            try:
                command()
            except Exception as failure:  # noqa: BLE001 - the control may be the user's
                error = failure
                self._logger.warning("%s: a command to the carrier failed: %s", self._name, error)
            self._put(partial(done, error))

        thread = threading.Thread(target=run, name=f"inworld-{self._name}-control", daemon=True)
        thread.start()
        return thread
