"""
Implements the protocols of the services without I/O: JSON codecs, state tables and limits.

Nothing here uses a clock, a lock, a thread or a socket.
"""
