"""The triggers: why a reboot is needed, and the interface of a trigger's plugin."""
