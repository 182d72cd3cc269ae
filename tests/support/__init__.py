"""Helpers of the tests. No file in this folder has tests."""
