"""Helpers for tests; no file here has tests."""
