"""
Defines the models of the service, and the routers that choose between models.

Source: Inworld Router API reference, "List models" and "Create router"; the pages "TTS" and "STT"
of 2026-11-30 for the models that no endpoint lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from inworld_sync.models import checks
from inworld_sync.models.checks import optional

__all__ = [
    "STT_MODELS",
    "TTS_MODELS",
    "ModelInfo",
    "Router",
    "RouterRoute",
    "RouterVariant",
]

# No endpoint lists these models, so these lists are from the documentation of 2026-11-30.
TTS_MODELS: Final = (
    "inworld-tts-2",
    "inworld-tts-2-flash",
    "inworld-tts-1.5-max",
    "inworld-tts-1.5-mini",
)
STT_MODELS: Final = (
    "inworld/inworld-stt-1",
    "assemblyai/universal-streaming-multilingual",
    "assemblyai/universal-streaming-english",
    "assemblyai/u3-rt-pro",
    "assemblyai/whisper-rt",
    "soniox/stt-rt-v4",
    "soniox/stt-rt-v5",
    "deepgram/flux-general-en",
    "deepgram/flux-general-multi",
    "groq/whisper-large-v3",
)


@attrs.frozen(kw_only=True)
class ModelInfo:
    """
    A language model.

    Attributes:
        id: The value for ``model=``, in the form ``provider/model``.
        provider: The company that serves the model.
        creator: The company that made the model.
        input_modalities: The kinds of input that the model reads, such as ``text`` and ``image``.
        output_modalities: The kinds of output that the model writes.
        context_length: The largest number of tokens of a conversation; None if the service sends no
            number.
        max_completion_tokens: The largest number of tokens of an answer; None if the service sends
            no number.
        parameters: The settings that the model supports, by their names on the wire.
        capabilities: The abilities of the model, such as ``functionCalling`` and ``vision``.
        pricing: Prices as the service sends them. The unit of the prices is not documented.
        is_supported: Whether the service serves the model now.
        extra: Fields that this version does not know.
    """

    id: str
    provider: str = ""
    creator: str = ""
    input_modalities: tuple[str, ...] = ()
    output_modalities: tuple[str, ...] = ()
    context_length: int | None = None
    max_completion_tokens: int | None = None
    parameters: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    pricing: Mapping[str, object] = attrs.field(factory=dict)
    is_supported: bool = True
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class RouterVariant:
    """
    A model of a route, with its share of the requests.

    Attributes:
        model: The model: ``provider/model``, the name of a model, or ``auto``.
        weight: How many of 100 requests this variant gets.
        id: The id of the variant. No two variants of a route have the same id.
        extra: Further fields of the variant, by their names on the wire, such as
            ``text_generation_config``, ``message_templates`` and ``web_search``.
    """

    model: str = attrs.field(validator=checks.string)
    weight: float = attrs.field(default=100, validator=checks.number(0))
    id: str = attrs.field(default="default", validator=checks.string, kw_only=True)
    extra: Mapping[str, object] = attrs.field(
        factory=dict, validator=checks.mapping, repr=False, kw_only=True
    )


def _variants(value: Iterable[RouterVariant] | RouterVariant) -> tuple[RouterVariant, ...]:
    if isinstance(value, RouterVariant):
        return (value,)
    return checks.all_of(RouterVariant, value, "variants")


@attrs.frozen
class RouterRoute:
    """
    The models that a router uses if a condition is true, or by default.

    Attributes:
        id: The id of the route. No two routes of a router have the same id.
        variants: The models; their weights sum to 100.
        condition: A CEL expression over the ``metadata`` of a request, such as
            ``tier == "premium"``; None for a default route.
    """

    id: str = attrs.field(validator=checks.string)
    variants: tuple[RouterVariant, ...] = attrs.field(converter=_variants)
    condition: str | None = optional(checks.string)


def _routes(value: Iterable[RouterRoute]) -> tuple[RouterRoute, ...]:
    return checks.all_of(RouterRoute, value, "routes")


@attrs.frozen
class Router:
    """
    A choice of models for chat completions. ``model="inworld/ID"`` uses the router.

    Attributes:
        id: Lowercase letters, digits and dashes.
        default_route: The route of a request that no condition matches. With None, the service
            refuses such a request.
        routes: Routes with conditions. The first route whose condition is true is used.
        display_name: The name that people see.
        defaults: Settings of all variants, by their names on the wire, such as
            ``message_templates``.
        extra: Fields that this version does not know.
    """

    id: str = attrs.field(validator=checks.string)
    default_route: RouterRoute | None = optional(checks.instance(RouterRoute))
    routes: tuple[RouterRoute, ...] = attrs.field(default=(), converter=_routes)
    display_name: str | None = optional(checks.string, kw_only=True)
    defaults: Mapping[str, object] | None = optional(checks.mapping, kw_only=True)
    extra: Mapping[str, object] = attrs.field(
        factory=dict, validator=checks.mapping, repr=False, kw_only=True
    )

    @property
    def model(self) -> str:
        """The value for ``model=`` of ``iw.llm.chat``, in the form ``inworld/ID``."""
        return f"inworld/{self.id}"
