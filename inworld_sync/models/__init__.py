"""Exports the public values: options, settings, events, results and protocols of devices."""
