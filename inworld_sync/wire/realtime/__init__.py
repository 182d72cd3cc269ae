"""Converts realtime commands to JSON and messages to events, and keeps the protocol state."""
