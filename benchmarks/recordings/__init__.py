"""Measurements of recordings: how they are decoded, and how long calls are transcribed."""
