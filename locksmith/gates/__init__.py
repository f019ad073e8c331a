"""The gates, which may block a reboot for now: a module for each kind of blocker."""
