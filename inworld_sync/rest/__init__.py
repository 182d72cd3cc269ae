"""Calls of the HTTP services: voices and tokens. Nothing here stays connected."""
