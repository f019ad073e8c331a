"""The last boots in which this machine has shown itself to its group: `/var/lib/locksmith/shown-boots`.

By them it tells the record of its own last boot from that of another machine with its id.
"""

from locksmith.errors import HostError
from locksmith.host.durable import write_durably
from locksmith.host.paths import Paths

KEPT = 4
"""Boots: the one whose record stands in the store, the present one, and those in which the store was away."""


class ShownBoots:
    """Boot ids, the last one last. `HostError`: the file cannot be read or written."""

    def __init__(self, paths: Paths) -> None:
        self.path = paths.state / "shown-boots"

    def knows(self, boot_id: str) -> bool:
        """Whether this machine may have shown itself in that boot."""
        return boot_id in self._read()

    def add(self, boot_id: str) -> None:
        """Remember a boot before its record is written."""
        boots = self._read()
        if boots[-1:] == [boot_id]:
            return
        kept = [*(boot for boot in boots if boot != boot_id), boot_id][-KEPT:]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self.path, "".join(f"{boot}\n" for boot in kept).encode())
        except OSError as error:
            raise HostError(f"{self.path} cannot be written: {error.strerror}") from None

    def _read(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").split()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise HostError(f"{self.path} cannot be read: {error.strerror}") from None
