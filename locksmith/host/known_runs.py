"""The last runs in which this machine has shown itself to its group (`/var/lib/locksmith/shown-boots`).

With them this machine tells the record of its last run from that of another machine with the same id. A run is a boot;
in a container it lasts as long as its /run (`Node.run`).
"""

from locksmith.errors import HostError
from locksmith.host.durable import write_durably
from locksmith.host.paths import Paths

KEPT = 4
"""Runs: the run whose record is in the store, the present run, and the runs without a store between them."""


class ShownRuns:
    """The ids of runs, in their order. `HostError`: the file cannot be read or written."""

    def __init__(self, paths: Paths) -> None:
        self.path = paths.state / "shown-boots"

    def known(self) -> list[str]:
        """Give the runs in which this machine may have shown itself; empty: the machine has lost its files."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").split()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise HostError(f"{self.path} cannot be read: {error.strerror}") from None

    def add(self, run: str) -> None:
        """Remember a run before its record is written."""
        runs = self.known()
        if runs[-1:] == [run]:
            return
        kept = [*(one for one in runs if one != run), run][-KEPT:]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self.path, "".join(f"{one}\n" for one in kept).encode())
        except OSError as error:
            raise HostError(f"{self.path} cannot be written: {error.strerror}") from None
