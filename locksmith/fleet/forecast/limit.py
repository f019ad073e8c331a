"""What keeps a rollout from going on, and for how long each of it did. Pure."""

from enum import StrEnum


class Limit(StrEnum):
    """What the time of a rollout goes to."""

    WINDOW = "window"
    """No window is open."""
    SLOTS = "slots"
    """All slots are held by machines that reboot."""
    FAILURES = "failures"
    """The group is halted, or slots are held by machines that wait for their repair."""
    SPACING = "spacing"
    ARRIVAL = "arrival"
    """No machine needs a reboot yet."""
    REBOOT = "reboot"
    """The last ones reboot: no machine waits any more."""
