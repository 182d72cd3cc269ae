"""Public values: options, settings, events, results, and the protocols of audio devices."""
