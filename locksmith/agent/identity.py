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
