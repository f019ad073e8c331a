"""What the configuration says about the triggers; apart from them, so that whoever only reads it loads none."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """Which triggers are used, by their names (none: what the machine has), and what two of them need.

    `command` is asked whether a reboot is needed, every `period`, for `limit` at most; it says so with an exit status
    of `needed`, and that none is with one of `not_needed`. Without a command it is the package manager's own.
    `max_uptime`: a machine reboots when it has been up for so long (0: never for that).
    """

    use: tuple[str, ...] = ()
    max_uptime: timedelta = timedelta(0)
    command: tuple[str, ...] = ()
    needed: tuple[int, ...] = (1,)
    not_needed: tuple[int, ...] = (0,)
    period: timedelta = timedelta(hours=1)
    limit: timedelta = timedelta(minutes=5)
