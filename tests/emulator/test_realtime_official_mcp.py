"""The client calls a tool through the emulator and a server of the official MCP library."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inworld_sync import ApprovalRequested, Inworld, McpTool, RealtimeSession, Session
from inworld_sync.emulator import Emulator
from inworld_sync.models.realtime import (
    McpApprovalRequest,
    McpCall,
    McpListCompleted,
    McpListFailed,
    McpToolList,
    ResponseDone,
)

from support.mcp_server import official_mcp_server

PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with official_mcp_server() as url:
        yield url


@pytest.fixture
def iw(tone_server: Emulator) -> Iterator[Inworld]:
    with Inworld(api_key=tone_server.api_key, base_url=tone_server.url) as client:
        yield client


def session(url: str, require_approval: str) -> Session:
    shop = McpTool(server_label="shop", server_url=url, require_approval=require_approval)  # type: ignore[arg-type]
    return Session(tools=[shop], output_modalities=["text"])


def await_tools(rt: RealtimeSession) -> None:
    """Wait until the emulator has listed the tools."""
    kinds = (McpListCompleted, McpListFailed)
    assert isinstance(
        next(e for e in rt.events(PATIENCE_SECONDS) if isinstance(e, kinds)), kinds[0]
    )


def test_call(iw: Inworld, shop: str) -> None:
    """The tools are listed, one tool is called, and the reply has the output."""
    with iw.realtime.connect(session(shop, "never")) as rt:
        await_tools(rt)
        reply = rt.send_message("Where is my order 42?").wait(PATIENCE_SECONDS)
        items = [entry.item for entry in rt.conversation]

    assert "The look up order says: order 42 is on its way." == reply.text
    [listed] = [item for item in items if isinstance(item, McpToolList)]
    assert ["look_up_order", "break_things"] == [each["name"] for each in listed.tools]
    [call] = [item for item in items if isinstance(item, McpCall)]
    assert ("look_up_order", "order 42 is on its way", None) == (call.name, call.output, call.error)


def test_failing_tool(iw: Inworld, shop: str) -> None:
    """If a tool raises an error, the call fails with this error, and the session continues."""
    with iw.realtime.connect(session(shop, "never")) as rt:
        await_tools(rt)
        rt.send_message("Break things, please.").wait(PATIENCE_SECONDS)
        [call] = [e.item for e in rt.conversation if isinstance(e.item, McpCall)]
        assert "it broke" in str(call.error)

        assert "enough." == rt.send_message("Say enough.").wait(PATIENCE_SECONDS).text


@pytest.mark.parametrize("approve", [True, False])
def test_approval(iw: Inworld, shop: str, approve: bool) -> None:
    """A call that needs approval is made only if it is approved."""
    asked: list[McpApprovalRequest] = []

    def decide(request: McpApprovalRequest) -> bool:
        asked.append(request)
        return approve

    with iw.realtime.connect(session(shop, "always"), on_approval=decide) as rt:
        await_tools(rt)
        events = rt.subscribe()
        rt.send_message("Where is my order 42?").wait(PATIENCE_SECONDS)
        while not isinstance(events.get(PATIENCE_SECONDS), ApprovalRequested):
            pass
        if approve:
            # The service makes a second response after the approval.
            for _ in range(2):
                while not isinstance(events.get(PATIENCE_SECONDS), ResponseDone):
                    pass
        else:
            assert "enough." == rt.send_message("Say enough.").wait(PATIENCE_SECONDS).text
        calls = [e.item for e in rt.conversation if isinstance(e.item, McpCall)]

    assert [("shop", "look_up_order")] == [(each.server_label, each.name) for each in asked]
    outputs = ["order 42 is on its way"] if approve else []
    assert outputs == [call.output for call in calls]
