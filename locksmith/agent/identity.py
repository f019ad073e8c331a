"""Which machine this is, and which lock it asks. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """The lock that this machine asks. Each claim's entry in the reboot journal names the lock of that claim."""

    strategy: str
    group: str
    api: int
    endpoints: tuple[str, ...]
    cluster: str = field(default="", compare=False)
    """The etcd cluster in which a claim was made (empty: not known)."""
    client: str = ""
    """The id that a server knows this machine by, where that is configured (empty: derived from the machine-id)."""

    def endpoints_with(self, configured: tuple[str, ...]) -> tuple[str, ...]:
        """Give the endpoints by which this lock is reached: also the configured ones, if its cluster is known.

        Answers of other clusters do not count, so these endpoints reach the lock, or nothing.
        """
        return tuple(dict.fromkeys((*configured, *self.endpoints))) if self.cluster else self.endpoints


@dataclass(frozen=True, slots=True)
class Member:
    """What this machine knows of itself without the bus and without its disk. An empty field is not known."""

    machine_id: str
    hostname: str
    boot_id: str = ""
    """The kernel's id of this boot."""
    instance: str = ""
    """The id of this boot's /run."""
    hardware: str = ""
    """A digest of the firmware's id."""
