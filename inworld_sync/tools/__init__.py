"""Implements functions that a model may call: their schema, arguments and calls."""
