"""The events that the lock, the queue and the presence report; daemon/metrics.py counts them.

Every method does nothing here: a subclass overrides only what it counts.
"""


class Meter:
    """Notes events; it never fails and never waits."""

    def request(self, kind: str, result: str) -> None:
        """Note a call of the store: its kind (a method of `Store`), and `ok`, or the reason in one word."""

    def watch_restarted(self) -> None:
        """Note a watch that broke and was opened again."""

    def lost_race(self) -> None:
        """Note a guarded write that came too late."""

    def queued(self, position: int, waiters: int) -> None:
        """Note this machine's place in the queue (1: the first, 0: not queued), and how many machines are queued."""

    def gave_back(self, waited: float, held: float) -> None:
        """Note a released slot: how long this machine waited for it, and held it, in seconds.

        This is not noted when the slot is taken, because counters do not survive the reboot.
        """

    def present(self, moment: float) -> None:
        """Note when (Unix time) this machine's presence was last written or prolonged."""

    def went_back(self, *, back: bool) -> None:
        """Note whether this machine has seen the store go back in time, and no `resume` since."""

    def other_cluster(self, *, seen: bool) -> None:
        """Note whether an endpoint belongs to another etcd cluster than the cluster that counts."""

    def clones(self, machines: int) -> None:
        """Note how many other machines were seen with this machine's id."""
