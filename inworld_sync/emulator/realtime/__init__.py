"""Implements Realtime over WebSocket, with sessions that transcribe, reply and speak."""
