"""How well sound is played, measured on a sound server without a sound card: see __main__."""
