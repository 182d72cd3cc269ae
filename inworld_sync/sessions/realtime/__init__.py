"""Realtime conversations: the session, its responses, its speech and its tools."""
