"""Helpers that know nothing of reboots: JSON, text, time, certificates, limits and threads."""
