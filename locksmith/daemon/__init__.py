"""`locksmithd`, put together: its parts, reporters, metrics and D-Bus service."""
