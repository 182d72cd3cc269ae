"""Has the public values: options, settings, events, results, and the protocols of audio devices."""
