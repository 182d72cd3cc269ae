"""Measures echo cancellation in simulated rooms. ``__main__.py`` runs it."""
