"""`locksmithd`, put together: the assembly of its parts, reporters, metrics, and the D-Bus service."""
