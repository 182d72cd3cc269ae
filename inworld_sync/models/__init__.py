"""Exports the public values: options, settings, events, results, protocols of audio devices."""
