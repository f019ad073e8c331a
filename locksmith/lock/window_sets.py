"""The named sets of windows in the store: written by an operator, obeyed by every machine that names them."""

from locksmith.errors import CorruptValueError, LockError
from locksmith.lock.records import keys
from locksmith.store.protocol import Store
from locksmith.window import window_set
from locksmith.window.window_set import WindowSet


class WindowStore:
    """The sets, by their names."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, name: str) -> WindowSet | None:
        """Read a set; None: there is none. `CorruptValueError`: it cannot be read."""
        key = keys.window_key(name)
        entry = (await self._store.get(key)).entry
        return window_set.decode(entry.value, key) if entry else None

    async def read_all(self) -> dict[str, WindowSet | CorruptValueError]:
        """Read every set, and what is wrong with those that cannot be read."""
        prefix = keys.windows_prefix()
        found: dict[str, WindowSet | CorruptValueError] = {}
        for entry in (await self._store.list(prefix)).entries:
            name = keys.unsegment(entry.key.removeprefix(prefix))
            try:
                found[name] = window_set.decode(entry.value, entry.key)
            except CorruptValueError as error:
                found[name] = error
        return found

    async def write(self, name: str, new: WindowSet) -> None:
        """Write a set in place of any other value; `ConflictError`: another operator has just written another."""
        key = keys.window_key(name)
        await self._store.swap(key, window_set.encode(new), (await self._store.get(key)).version)

    async def remove(self, name: str) -> None:
        """Remove a set; `LockError`: there is none."""
        key = keys.window_key(name)
        entry = (await self._store.get(key)).entry
        if entry is None:
            raise LockError(f"there is no set of windows {name!r} in the store: see `locksmithctl window show`")
        await self._store.delete(key, entry.version)
