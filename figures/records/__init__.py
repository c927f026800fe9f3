"""Committed records: taking one in, making one again."""
