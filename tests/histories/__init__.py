"""Random histories, in which messages are lost, repeated, delayed and reordered."""
