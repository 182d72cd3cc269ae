"""Measures how audio is played and recorded, without a sound card. ``__main__.py`` runs it."""
