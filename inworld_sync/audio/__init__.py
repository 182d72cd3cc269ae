"""Audio: the Python face of the C core."""
