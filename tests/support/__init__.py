"""Help for tests; nothing here is a test."""
