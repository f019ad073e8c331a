"""Who calls the server, apart from FleetLock's clients: a machine, a viewer or an operator. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What its credential lets a caller do. An operator may also do what a viewer may; a machine acts for itself."""

    MACHINE = "machine"
    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose credential was right. `name` is the id of the one machine, or the name of the person.

    `groups` are those for which it counts (empty: all groups that are served here).
    """

    role: Role
    name: str
    groups: frozenset[str] = frozenset()

    def counts_for(self, group: str) -> bool:
        """Whether the credential is one for this group."""
        return not self.groups or group in self.groups
