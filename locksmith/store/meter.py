"""What the lock, the line and the presence count: told here, kept by whoever wants to know (metrics.py).

Every method does nothing here, so that who keeps only some of it says only that.
"""


class Meter:
    """Takes note of what happens; never fails, never waits."""

    def request(self, kind: str, result: str) -> None:
        """Note a call of the store: its kind (a method of `Store`), and `ok`, or in one word why not."""

    def watch_restarted(self) -> None:
        """Note a watch that broke and was opened again."""

    def lost_race(self) -> None:
        """Note a guarded write that came too late."""

    def line(self, position: int, waiters: int) -> None:
        """Note this machine's place in line (1: the first, 0: not in it) and how many stand there in all."""

    def gave_back(self, waited: float, held: float) -> None:
        """Note a slot given back: how long it was waited for, and how long it was held, in seconds.

        Only then, and not when it is taken: what was counted before the reboot is gone with it.
        """

    def present(self, moment: float) -> None:
        """Note when (Unix time) this machine's presence was last written or prolonged."""

    def went_back(self, *, back: bool) -> None:
        """Note whether this machine has seen the store go back in time, and no `resume` since."""

    def other_cluster(self, *, seen: bool) -> None:
        """Note whether an endpoint belongs to another etcd cluster than counts."""

    def clones(self, machines: int) -> None:
        """Note how many other machines were seen with this machine's id."""
