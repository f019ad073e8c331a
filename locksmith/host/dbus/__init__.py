"""The system bus: the only place that knows the D-Bus library."""
