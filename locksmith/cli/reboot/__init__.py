"""`locksmithctl reboot`: the tool's own way to a slot and a reboot."""
