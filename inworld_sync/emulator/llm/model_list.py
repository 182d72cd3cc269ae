"""Lists the models of the emulator. All models answer by the same rules."""

from __future__ import annotations

from typing import Final

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.routes import HttpRoute
from inworld_sync.emulator.shared_state import SharedState

__all__ = ["ROUTES", "model_id"]

# Provider, model, creator, tokens of the context. The names are those of public documents.
_MODELS: Final = (
    ("openai", "gpt-4o", "openai", 128_000),
    ("openai", "gpt-4o-mini", "openai", 128_000),
    ("anthropic", "claude-opus-4-6", "anthropic", 200_000),
    ("google-ai-studio", "gemini-2.5-flash", "google", 1_048_576),
    ("inworld", "models/gemma-4-26b-a4b-it", "google", 131_072),
)
_PARAMETERS: Final = ("temperature", "top_p", "max_tokens", "stop", "seed", "tools", "tool_choice")


def _list(_: Request, shared: SharedState) -> Response:
    del shared
    return Response.of_json({"models": [_described(*model) for model in _MODELS]})


ROUTES = (HttpRoute(method="GET", path="/llm/v1alpha/models", handler=_list),)


def model_id(name: str) -> str | None:
    """Return the id ``provider/model`` of the model with this id or name; None if it is unknown."""
    for provider, model, _, _ in _MODELS:
        if name in (f"{provider}/{model}", model):
            return f"{provider}/{model}"
    return None


def _described(provider: str, model: str, creator: str, context: int) -> dict[str, object]:
    return {
        "model": model,
        "provider": provider,
        "modelCreator": creator,
        "pricing": {"prompt": 0, "completion": 0},
        "spec": {
            "inputModalities": ["text"],
            "outputModalities": ["text"],
            "contextLength": context,
            "maxCompletionTokens": 4096,
            "supportedParameters": list(_PARAMETERS),
            "capabilities": {
                "functionCalling": True,
                "webSearch": False,
                "reasoning": False,
                "promptCaching": False,
                "responseSchema": False,
                "vision": False,
            },
        },
        "isSupported": True,
    }
