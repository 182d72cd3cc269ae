"""Realtime over WebSocket: a session that transcribes, replies and speaks."""
