"""
Combines the settings of a call, from one object and from keyword arguments.

Thread safety: nothing in this module changes after import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from inworld_sync.errors import ConfigError

__all__ = ["combine_settings"]

T = TypeVar("T", bound=attrs.AttrsInstance)


def combine_settings(
    config: T | None, default: T, given: Mapping[str, Any], *, name: str = "config"
) -> T:
    """
    Combine the settings of one call.

    Args:
        config: All settings; None means *default*.
        default: The settings if *config* is None.
        given: The arguments of the call, as ``locals()`` returns them at the beginning of the call.
            An argument with the name of a setting replaces this setting, unless the argument is
            None. Other arguments are ignored.
        name: The name of the parameter with *config*, for the error.

    Raises:
        ConfigError: *config* is of another class than *default*, or a setting is out of its range.
    """
    fields = attrs.fields(type(default))
    if config is not None and not isinstance(config, type(default)):
        kind, example = type(default).__name__, fields[0].name
        raise ConfigError(
            f"{name} must be {'an' if kind[0] in 'AEIOU' else 'a'} {kind}, got {config!r}; pass a "
            f"single setting by its name, such as {example}={getattr(default, example)!r}"
        )
    changes = {
        field.name: given[field.name] for field in fields if given.get(field.name) is not None
    }
    base = config or default
    # Settings without changes need no second validation, which makes about forty calls. The plugin
    # of mypy accepts no type variable here.
    return attrs.evolve(base, **changes) if changes else base  # type: ignore[misc]
