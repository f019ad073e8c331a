"""locksmith: a reboot coordinator for fleets of Linux machines."""

__version__ = "0.1.0"
