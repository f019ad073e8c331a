"""The events of which people are told: words of the configuration and of notices."""

from typing import Final

BEGINS, DONE, HALTED = "rollout-begins", "rollout-done", "rollout-halted"
UNHEALTHY, LOST, OVERDUE = "unhealthy", "lost", "overdue"
FROZEN, THAWED, NO_REBOOT = "frozen", "thawed", "no-reboot"

EVENTS: Final = (BEGINS, DONE, HALTED, UNHEALTHY, LOST, OVERDUE, FROZEN, THAWED, NO_REBOOT)
"""Every event, in the order of the documentation."""
