"""Measures how sound is played, on a sound server without a sound card: see __main__."""
