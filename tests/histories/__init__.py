"""Random histories: server messages are lost, repeated, delayed and reordered."""
