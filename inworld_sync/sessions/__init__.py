"""Implements blocking sessions. Only this folder has the threads of connections and their locks."""
