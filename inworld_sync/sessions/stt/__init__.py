"""Implements speech to text: streams that replace lost connections, and whole recordings."""
