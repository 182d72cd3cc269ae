"""Has the limit of connections for several processes and machines."""
