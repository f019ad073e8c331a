"""Which groups there are, for the API and the metrics; while etcd is away, those that were there."""

from collections.abc import Collection, Sequence
from typing import Protocol

from locksmith.errors import StoreError
from locksmith.fleet.group import GroupView
from locksmith.lock.records.event import Event


class Sight(Protocol):
    """What was last seen of a group: one of `web.fleet`, another one after each reading."""

    @property
    def view(self) -> GroupView | None:
        """The group (None: it was never read)."""
        ...

    @property
    def events(self) -> Sequence[Event]:
        """The youngest of its history, the oldest first."""
        ...

    @property
    def problem(self) -> str:
        """Why it is not seen now; empty: it is."""
        ...


class Sees(Protocol):
    """Knows the groups: `web.fleet.Fleet`."""

    async def names(self) -> list[str]:
        """Name the groups that are in use. `StoreError`, `TimeoutError`."""
        ...

    async def see(self, group: str) -> Sight:
        """Give what is known of a group."""
        ...


class Groups:
    """The groups in use, and those `served`, which are there without a machine.

    `problem` says why the names are those of an earlier reading (empty: they are not).
    """

    def __init__(self, fleet: Sees, served: Collection[str] = ()) -> None:
        self._fleet, self._served = fleet, served
        self._last: list[str] | None = None
        self.problem = ""

    async def names(self) -> list[str]:
        """Name them, in order. `StoreError`, `TimeoutError`: they were never read, and no group is served."""
        try:
            self._last = await self._fleet.names()
            self.problem = ""
        except (StoreError, TimeoutError) as error:
            if self._last is None and not self._served:
                raise
            self.problem = str(error) or "etcd did not answer in time"
        return sorted({*(self._last or ()), *self._served})

    async def has(self, group: str) -> bool:
        """Tell whether there is such a group. `StoreError`, `TimeoutError`."""
        return group in self._served or group in await self.names()
