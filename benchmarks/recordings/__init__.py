"""Measurements of the decoding of recordings, and of the transcription of long calls."""
