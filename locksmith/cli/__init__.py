"""The two command lines: the only place that prints."""
