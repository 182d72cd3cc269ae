"""Serves game engines over WebSockets; ``docs/games.md`` describes the protocol."""
