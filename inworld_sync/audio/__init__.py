"""Provides audio functions and classes on top of the C core."""
