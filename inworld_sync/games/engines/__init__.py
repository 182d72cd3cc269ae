"""Serves game engines over WebSockets; ``docs/engines.md`` describes the protocol."""
