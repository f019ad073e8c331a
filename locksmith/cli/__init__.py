"""The command line: locksmithd and locksmithctl, the only place that prints."""
