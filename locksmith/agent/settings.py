"""What the configuration says about the decision. Pure."""

from dataclasses import dataclass, field
from datetime import timedelta

from locksmith.window.splay import Splay


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, as `decide` needs it."""

    strategy: str = "reboot"
    """The name of the strategy."""
    reboots: bool = True
    """Whether that strategy ever reboots the machine."""
    dry_run: bool = False
    """Whether the daemon only says what it would do."""
    limit: timedelta = timedelta(minutes=10)
    """How long a shutdown may take. After that the machine is shown as stuck."""
    settle: timedelta = timedelta(seconds=15)
    """How long after the order a shutdown may begin. A machine that is still up then did not obey."""
    retry: timedelta = timedelta(minutes=15)
    """The pause after a failed reboot. Each further failure doubles it."""
    max_age: timedelta = timedelta(seconds=10)
    """How old the checks may be at the commit, and how old the commit and the last observation at the reboot."""
    tries: int = 5
    """After how many failed reboots in a row for one version the machine stops trying (0: never)."""
    repeat: timedelta = timedelta(days=1)
    """For how long a second reboot for the same cause is refused."""
    max_per_day: int = 3
    """How many reboots triggers may cause in 24 hours (0: any number)."""
    health: timedelta = timedelta(minutes=10)
    """How long a machine has, after its reboot, to prove itself healthy."""
    halts: bool = True
    """Whether a reboot that went wrong waits for an operator."""
    grace: timedelta = timedelta(minutes=5)
    """How long before the reboot the users are warned."""
    sessions: timedelta = timedelta(0)
    """For how long after the first warning users may keep logging in, before the claim is aborted (0: no limit)."""
    recheck: timedelta = timedelta(minutes=1)
    """How long the answer of an expensive gate counts, before that gate is asked again."""
    rehearse: timedelta = timedelta(hours=1)
    """How long what a dry run has rehearsed counts, before it is rehearsed again."""
    min_remaining: timedelta = timedelta(0)
    """How much of a window must be left when a reboot begins."""
    splay: Splay = field(default_factory=Splay)
    """This machine's own moment in the window."""
