"""Maintenance windows: pure, time is passed in."""
