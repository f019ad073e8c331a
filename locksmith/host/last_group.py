"""The group to which this machine has shown itself last (`/var/lib/locksmith/group`)."""

from locksmith.errors import HostError
from locksmith.host.durable import write_durably
from locksmith.host.paths import Paths
from locksmith.util.limits import LOCAL


class LastGroup:
    """The name of a group, across restarts. `HostError`: the file cannot be read or written."""

    def __init__(self, paths: Paths) -> None:
        self.path = paths.state / "group"

    def read(self) -> str | None:
        """Give the group; None: none is known."""
        try:
            with self.path.open("rb") as file:
                return file.read(LOCAL).decode(errors="replace").removesuffix("\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HostError(f"{self.path} cannot be read: {error.strerror}") from None

    def write(self, group: str) -> None:
        """Remember the group."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self.path, f"{group}\n".encode())
        except OSError as error:
            raise HostError(f"{self.path} cannot be written: {error.strerror}") from None
