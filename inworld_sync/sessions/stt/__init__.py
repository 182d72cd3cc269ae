"""Implements speech to text: streams that reconnect, and calls that transcribe whole recordings."""
