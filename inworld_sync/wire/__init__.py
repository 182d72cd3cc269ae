"""
The formats of the services without I/O: JSON text to frozen events and back, state tables, limits.

Nothing here uses a clock, a lock, a thread or a socket.
"""
