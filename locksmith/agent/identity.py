"""Who a machine is, and whose permission it asks for. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """Whose permission this machine asks for, as configured now; it is written into each claim's journal entry.

    `cluster` is the etcd cluster in which a claim was made (empty: that is not known).
    """

    strategy: str
    group: str
    api: int
    endpoints: tuple[str, ...]
    cluster: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """Who this machine is, and which run of it: what it knows without the bus, and without its disk.

    `boot_id` is the kernel's, `instance` the id of its /run, `hardware` a digest of its firmware's id; empty: unknown.
    """

    machine_id: str
    hostname: str
    boot_id: str = ""
    instance: str = ""
    hardware: str = ""
