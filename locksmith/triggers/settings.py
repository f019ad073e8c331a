"""The configuration of the triggers; separate from them, so that its readers load no trigger."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """The triggers in use, by their names (none: those that the machine has), and the settings of two of them.

    `command` says by its exit status whether a reboot is needed: a status of `needed` or of `not_needed`. It runs every
    `period`, for at most `limit`. Without a command the package manager's own is used. `max_uptime`: a machine that has
    been up for so long needs a reboot (0: never for that reason).
    """

    use: tuple[str, ...] = ()
    max_uptime: timedelta = timedelta(0)
    command: tuple[str, ...] = ()
    needed: tuple[int, ...] = (1,)
    not_needed: tuple[int, ...] = (0,)
    period: timedelta = timedelta(hours=1)
    limit: timedelta = timedelta(minutes=5)
