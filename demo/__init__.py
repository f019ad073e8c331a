"""The demo: five nodes, one slot, all of them asked to reboot at once."""
