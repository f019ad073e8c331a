"""This machine: its identity, its bus, its journal, its reboot."""
