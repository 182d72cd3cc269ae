"""Implements realtime sessions with their responses, speech and tools."""
