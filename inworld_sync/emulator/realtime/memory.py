"""
Implements memory cycles. After some turns, facts and a summary are written into the session.

Source: Inworld Realtime reference, ``providerData.memory``. The facts that the service's model
would choose are not known; here a fact is a sentence in which users talk about themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from inworld_sync.emulator.realtime import checks
from inworld_sync.emulator.realtime.config import Json, SessionConfig
from inworld_sync.emulator.realtime.conversation import Conversation
from inworld_sync.emulator.realtime.replies import text_of

__all__ = ["Memory"]

_FACT = re.compile(
    r"\b(?:my [\w' -]+ (?:is|are)|i(?:'m| am| like| love| hate| live| work| have| need| prefer)) "
    r"[^.!?]+[.!?]?",
    re.IGNORECASE,
)
_DEFAULTS = {
    "turn_interval": 5,
    "max_memory_length": 2000,
    "max_transcript_items": 20,
    "max_facts": 20,
}


class Memory:
    """
    The memory of one session.

    Thread safety: only the thread of a response that ends uses the memory, one thread at a time.
    """

    def __init__(self) -> None:
        self._turns_since = 0
        self._total_turns = 0
        self._version = 0
        self._items_trimmed = 0

    def turn_done(self, config: SessionConfig, conversation: Conversation) -> Json | None:
        """Count a turn. If the turn ends a cycle, return the new state; otherwise return None."""
        options = config.branch("memory")
        self._turns_since += 1
        self._total_turns += 1
        due = self._turns_since >= _option(options, "turn_interval")
        if options.get("enabled") is not True or not due:
            return None
        facts = self._facts(options, conversation.items)
        said = [text_of(item) for item in conversation.items if item.get("role") == "user"]
        summary = "The user said: " + " ".join(said[-_option(options, "turn_interval") :])
        if options.get("trim_after_summarize") is True:
            keep = _option(options, "max_transcript_items")
            self._items_trimmed += conversation.forget_oldest(keep)
        self._version += 1
        self._turns_since = 0
        length = _option(options, "max_memory_length")
        return {
            "version": self._version,
            "facts": facts,
            "summary": summary[:length],
            "context_text": " ".join([*facts, summary])[:length],
            "turns_since_gen": 0,
            "total_turns": self._total_turns,
            "items_trimmed": self._items_trimmed,
        }

    @staticmethod
    def _facts(options: Json, items: Sequence[Mapping[str, object]]) -> list[str]:
        """Add the facts in the conversation to the known facts. The client may set known facts."""
        known = checks.inner(options, "state").get("facts")
        facts = [fact for fact in known if isinstance(fact, str)] if isinstance(known, list) else []
        for item in items:
            if item.get("role") == "user":
                found = [match[0].strip() for match in _FACT.finditer(text_of(item))]
                facts += [fact for fact in found if fact not in facts]
        return facts[-_option(options, "max_facts") :]


def _option(options: Json, name: str) -> int:
    value = options.get(name)
    return value if isinstance(value, int) and value > 0 else _DEFAULTS[name]
