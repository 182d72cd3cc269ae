"""Defines functions that the model of a phone call may call: hang up, transfer, and keys."""

from __future__ import annotations

import re
from collections.abc import Mapping

from inworld_sync.errors import ConfigError
from inworld_sync.telephony.active import current_call
from inworld_sync.tools.function import ToolFunction, tool

__all__ = ["hang_up", "press_keys", "transfer_tool"]

_NAME = re.compile(r"[\w .-]{1,64}")


@tool
def hang_up() -> str:
    """End the phone call. Say goodbye after calling this function."""
    current_call().hang_up()
    return (
        "Say goodbye now. The call ends when the caller has heard it. If the caller interrupts, "
        "the call continues, and this function must be called again to end it."
    )


@tool
def press_keys(digits: str) -> str:
    """
    Press keys on the phone, for example in the menu of another phone system.

    Args:
        digits: The keys 0-9, * and #; w waits half a second.
    """
    current_call().send_keys(digits)
    return "The keys are sent."


def transfer_tool(targets: Mapping[str, str]) -> ToolFunction[[str], str]:
    """
    Make a function with which the model transfers a call to one of several targets.

    The model sees only the names. It cannot choose any other number.

    Args:
        targets: The names that the model uses, with the number or SIP address of each.

    Raises:
        ConfigError: There is no target, or a name has characters other than letters, digits,
            spaces, ``.``, ``-`` and ``_``.
    """
    allowed = dict(targets)
    if not allowed or not all(_NAME.fullmatch(name) for name in allowed):
        raise ConfigError(
            f"transfer_tool() needs names of targets such as 'sales', got {sorted(allowed)}"
        )

    def transfer(target: str) -> str:
        number = allowed.get(target)
        if number is None:
            return f"There is no target {target!r}. The targets are: {', '.join(allowed)}."
        current_call().transfer(number)
        return (
            "Tell the caller now that you transfer the call. The call is transferred when the "
            "caller has heard it. If the caller interrupts, it is not transferred."
        )

    transfer.__doc__ = (
        "Transfer the phone call to a person. Tell the caller so after calling this function.\n\n"
        f"Args:\n    target: One of: {', '.join(allowed)}.\n"
    )
    return tool(transfer)
