"""
The clients by other authors that are tested with the emulator.

The version of each client is pinned. The programs of the clients are in the folder ``programs``.
Every check belongs to a feature in ``FEATURES``. To update a client, change its version, then run
``python -m tests.conformance NAME`` and ``python -m tests.conformance --write``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

# The columns of the table. docs/conformance.md explains these columns.
FEATURES = (
    "voices",
    "own voices",
    "speech",
    "stream",
    "websocket",
    "word times",
    "encodings",
    "transcription",
    "written turn",
    "spoken turn",
    "tool call",
    "chat",
    "interruption",
    "at once",
    "refusals",
)


# The packages that this project needs without its extras, and the packages that an emulator without
# speech needs.
_PROJECT_NEEDS = (
    "attrs",
    "cattrs",
    "cffi",
    "numpy",
    "soxr",
    "urllib3",
    "websocket-client",
    "websockets",
)


@attrs.frozen(kw_only=True)
class Client:
    """
    One client, or several packages that are used together.

    Attributes:
        name: The name in the table and on the command line.
        registry: The registry from which the packages come.
        packages: Pinned requirements of the registry.
        programs: The files in the folder ``programs`` that use the client.
        needs: Programs that the client needs on this machine.
        needs_tls: Whether the client refuses a server without TLS.
        limits: Features whose checks fail because of the client, and the reason of each failure.
    """

    name: str
    registry: Literal["PyPI", "npm"]
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    needs: tuple[str, ...] = ()
    needs_tls: bool = False
    limits: Mapping[str, str] = attrs.field(factory=dict)


CLIENTS = (
    Client(
        name="pipecat",
        registry="PyPI",
        packages=("pipecat-ai==1.14.0",),
        programs=("pipecat_tts.py", "pipecat_realtime.py"),
    ),
    Client(
        name="livekit",
        registry="PyPI",
        packages=(
            "livekit-agents==1.8.9",
            "livekit-plugins-inworld==1.8.9",
            "livekit-plugins-openai==1.8.9",
        ),
        programs=("livekit_tts.py", "livekit_stt.py", "livekit_realtime.py"),
    ),
    Client(
        name="openai",
        registry="PyPI",
        packages=("openai[realtime]==3.57.0", *_PROJECT_NEEDS),
        programs=("openai_client.py", "openai_chat.py"),
    ),
    Client(
        name="openai-agents",
        registry="PyPI",
        packages=("openai-agents==0.24.0",),
        programs=("openai_agents.py",),
    ),
    Client(
        name="inworld-tts",
        registry="PyPI",
        packages=("inworld-tts==1.2.1",),
        programs=("inworld_tts_client.py",),
    ),
    Client(
        name="vision-agents",
        registry="PyPI",
        packages=("vision-agents==0.6.9", "vision-agents-plugins-inworld==0.6.9"),
        programs=("vision_agents_plugin.py", "vision_agents_realtime.py"),
    ),
    Client(
        name="videosdk",
        registry="PyPI",
        packages=("videosdk-agents==1.0.30", "videosdk-plugins-inworldai==1.0.30"),
        programs=("videosdk_plugin.py",),
        limits={
            "interruption": "it neither closes the context of an interrupted text nor drops its "
            "audio, which is mixed into the next text"
        },
    ),
    Client(
        name="@inworld/tts",
        registry="npm",
        packages=("@inworld/tts@1.1.1",),
        programs=("inworld_tts.mjs",),
    ),
    Client(
        name="openai (npm)",
        registry="npm",
        packages=("openai@7.59.0", "ws@8.23.0"),
        needs_tls=True,
        programs=("openai.mjs",),
    ),
    Client(
        name="@openai/agents-realtime",
        registry="npm",
        packages=("@openai/agents-realtime@0.20.0", "zod@4.6.7"),
        programs=("openai_agents.mjs",),
    ),
    Client(
        name="livekit (npm)",
        registry="npm",
        packages=("@livekit/agents@1.2.8", "@livekit/agents-plugin-inworld@1.2.8"),
        programs=("livekit.mjs",),
    ),
    Client(
        name="Chromium",
        registry="PyPI",
        packages=("selenium==4.48.0",),
        programs=("chromium_pages.py",),
        needs=("chromium", "chromedriver"),
    ),
    *(
        Client(
            name=f"engine {package.partition('==')[0]}",
            registry="PyPI",
            packages=(package, *_PROJECT_NEEDS),
            programs=("engine.py",),
        )
        for package in ("py-nanotts==0.1.1", "espeakng-loader==0.2.4")
    ),
)
