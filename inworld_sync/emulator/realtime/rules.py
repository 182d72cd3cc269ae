"""
Makes the built-in replies. They follow rules, so the same conversation gets the same replies.

A tool is called if the user's words match its name or description. The next reply has the output of
the tool. All other replies are small talk or an echo.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from inworld_sync.emulator.realtime.replies import ReplyPart, ReplyRequest, ToolCall, text_of
from inworld_sync.emulator.realtime.tool_arguments import find_arguments

__all__ = ["answer"]

_WORD = re.compile(r"[a-z0-9]+")
# Words that are too common to select a tool.
_COMMON = frozenset(
    _WORD.findall(
        "a about all an and any are as at be by call can current do for from get give given has "
        "have how i in into is it its me my of on or out please return returns set show some tell "
        "that the this to up use user was what when where which will with you your"
    )
)
_VERBS = ("check", "do", "fetch", "find", "get", "lookup", "query", "read", "search")
_COUNT = re.compile(r"\bcount(?: from one)?(?: up)? to (\w+)")
_MAX_COUNT = 200
_SMALL_TALK = (
    (r"\b(hello|hi|hey|good (morning|afternoon|evening))\b", "Hello! How can I help you?"),
    (r"\bhow are you\b", "I am fine, thank you. How are you?"),
    (r"\bthank(s| you)\b", "You are welcome."),
    (r"\b(goodbye|bye|see you)\b", "Goodbye!"),
    (r"\bwho are you|your name\b", "I am the emulator, and I follow simple rules."),
)
_GREET = re.compile(
    r"\b(?:greet|welcome)\b|\bsay (?:hello|hi|good (?:morning|afternoon|evening)),? (?:and|to)\b"
)
_INTRODUCE = re.compile(r"\bintroduce yourself\b|\bwho you are\b")
_RECALL = re.compile(r"\bwhat did i (just )?(say|ask)|\bwhat did i tell you")
_NAME_TOLD = re.compile(r"\bmy name is ([A-Za-z][\w'-]*)", re.IGNORECASE)
_NAME_ASKED = re.compile(r"\bwhat(?:'s| is) my name\b")
_REPEAT = re.compile(
    r"^\s*(?:please )?(?:say|repeat(?: after me)?)[:,]?\s+(.+)", re.IGNORECASE | re.DOTALL
)
_ONES: list[str] = _WORD.findall(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS: list[str] = _WORD.findall("twenty thirty forty fifty sixty seventy eighty ninety")


def answer(request: ReplyRequest) -> Iterator[ReplyPart]:
    """Reply by the rules of this module."""
    last = request.items[-1] if request.items else {}
    if last.get("type") == "function_call_output":
        yield from _pieces(_about_output(request.items))
        return
    said = next(reversed(_user_texts(request.items)), "")
    calls = list(_calls(said, request))
    if calls:
        yield from calls
        return
    yield from _pieces(_talk(said, request))


def _pieces(text: str) -> Iterator[str]:
    """Divide a text into pieces of two words, like the tokens of a language model."""
    yield from re.findall(r"\s*\S+(?:\s+\S+)?", text)


def _user_texts(items: Sequence[Mapping[str, object]]) -> list[str]:
    return [text_of(item) for item in items if item.get("role") == "user"]


def _about_output(items: Sequence[Mapping[str, object]]) -> str:
    """Return a text with the tool outputs since the last message."""
    names = {item.get("call_id"): str(item.get("name")) for item in items if "name" in item}
    outputs = []
    for item in reversed(items):
        if item.get("type") != "function_call_output":
            break
        outputs.append((names.get(item.get("call_id"), "tool"), str(item.get("output"))))
    return " ".join(
        f"The {_spoken_name(name)} says: {_readable(output)}." for name, output in reversed(outputs)
    )


def _spoken_name(name: str) -> str:
    """Return the name of a tool in words: ``weather`` for ``get_weather``."""
    words = _WORD.findall(name.lower())
    return " ".join(words[1:] if len(words) > 1 and words[0] in _VERBS else words)


def _readable(output: str) -> str:
    try:
        value = json.loads(output)
    except ValueError:
        return output.strip().rstrip(".")
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {inner}" for name, inner in value.items())
    return str(value).strip().rstrip(".")


def _calls(said: str, request: ReplyRequest) -> Iterator[ToolCall]:
    """Yield calls of the chosen tool, or of the tools that share the most words with the user."""
    tools = [tool for tool in request.tools if isinstance(tool.get("name"), str)]
    choice = request.tool_choice
    if choice == "none" or not tools:
        return
    if choice not in ("auto", "required"):
        tools = [tool for tool in tools if tool["name"] == choice]
        scored = [(1, tool) for tool in tools]
    else:
        scored = [(_score(said, tool), tool) for tool in tools]
    best = max((score for score, _ in scored), default=0)
    if best == 0 and choice == "required":
        scored, best = [(1, tools[0])], 1
    for score, tool in scored:
        if best and score == best:
            schema = tool.get("parameters")
            arguments = find_arguments(said, schema if isinstance(schema, dict) else {})
            yield ToolCall(str(tool["name"]), json.dumps(arguments, ensure_ascii=False))


def _score(said: str, tool: Mapping[str, object]) -> int:
    """Count the words that the user and the tool share. Words of the tool's name count twice."""
    words = _stems(said)
    name = str(tool["name"]).replace("_", " ").replace("-", " ")
    return 2 * len(words & _stems(name)) + len(words & _stems(str(tool.get("description") or "")))


def _stems(text: str) -> set[str]:
    words = set(_WORD.findall(text.lower())) - _COMMON
    return {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words}


def _talk(said: str, request: ReplyRequest) -> str:
    lower = said.lower().replace("’", "'")
    if not lower.strip():
        return "Hello! How can I help you?"
    if found := _COUNT.search(lower):
        return _counting(found[1])
    earlier = _user_texts(request.items)
    if _NAME_ASKED.search(lower):
        return _name([*reversed(earlier), request.instructions])
    if _RECALL.search(lower):
        return f"You said: {earlier[-2]}" if earlier[1:] else "You have not said anything before."
    if _INTRODUCE.search(lower):
        return "Hello! I am the emulator, and I follow simple rules. How can I help you?"
    if _GREET.search(lower):
        return "Hello! How can I help you?"
    if found := _REPEAT.match(said):
        return str(found[1]).strip()
    if found := _NAME_TOLD.search(said):
        return f"Nice to meet you, {found[1]}."
    for pattern, reply in _SMALL_TALK:
        if re.search(pattern, lower):
            return reply
    return f"You said: {said.strip()}"


def _counting(word: str) -> str:
    names = [_number_name(number) for number in range(_MAX_COUNT + 1)]
    last = int(word) if word.isdigit() else names.index(word) if word in names else 10
    last = min(last, _MAX_COUNT)
    return " ".join(f"{name.capitalize()}." for name in names[1 : last + 1])


def _number_name(number: int) -> str:
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_ONES[hundreds]} hundred" + (f" and {_number_name(rest)}" if rest else "")


def _name(texts: Sequence[str]) -> str:
    """Find the user's name in the first text that has a name."""
    for text in texts:
        if found := _NAME_TOLD.search(text):
            return f"Your name is {found[1]}."
    return "You did not tell me your name."
