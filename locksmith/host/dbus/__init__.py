"""The system bus: connections, calls and signals; only this package knows the D-Bus library."""
