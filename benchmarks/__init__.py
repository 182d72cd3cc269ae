"""Compares the package with other libraries: ``python -m benchmarks``, from a checkout."""
