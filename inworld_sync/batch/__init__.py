"""Speaks many texts to audio files, and transcribes many recordings."""
