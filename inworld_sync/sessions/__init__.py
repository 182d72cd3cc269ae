"""Blocking sessions: the only folder with connection threads and their locks."""
