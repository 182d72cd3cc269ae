"""The package beside its peers: ``python -m benchmarks``, from a checkout. No test is timed."""
