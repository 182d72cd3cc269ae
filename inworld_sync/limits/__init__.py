"""Implements the limit of connections, for one process or for several processes and machines."""
