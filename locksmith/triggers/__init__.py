"""Why a reboot is needed: the triggers, and what a plugin of a trigger must do."""
