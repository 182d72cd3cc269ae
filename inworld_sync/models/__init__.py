"""Values that users see: options, configurations and the protocols of sound devices."""
