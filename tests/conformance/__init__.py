"""Suites for servers of others: each runs against a server by its URL, and imports nothing of locksmith."""
