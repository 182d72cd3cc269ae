"""
The wire without I/O: JSON text to frozen events and back, state tables, limits.

No clock, no lock, no socket: bytes in, events out.
"""
