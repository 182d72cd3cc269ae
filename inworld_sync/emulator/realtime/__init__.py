"""Realtime over WebSocket: a session that listens, answers and speaks."""
