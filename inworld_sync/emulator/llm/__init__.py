"""Implements chat completions, the list of models, and routers."""
