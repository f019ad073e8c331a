"""The windows in which the clients of a group may reboot: sets of the configuration or of the store, by their names."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from locksmith.errors import CorruptValueError
from locksmith.lock.window_sets import WindowStore
from locksmith.store.protocol import Store
from locksmith.util.words import clock, quoted
from locksmith.window import window_set
from locksmith.window.window_set import WindowSet


class GroupWindows:
    """The windows of one group; `known` are the sets of the configuration. A set that cannot be had is closed."""

    def __init__(
        self, store: Store, names: Sequence[str], known: Mapping[str, WindowSet], least: timedelta = timedelta(0)
    ) -> None:
        self._store = store
        self._names = names
        self._known = known
        self._least = least

    async def closed(self, now: datetime, *, begun: bool) -> str:
        """Say why no client may reboot now, and until when; empty: the windows are open. Errors are the store's.

        `now` is aware, in the zone of windows without one. `begun`: the client has its slot, and the rest of the window
        may be short.
        """
        sets = []
        for name in self._names:
            try:
                found = self._known.get(name) or await WindowStore(self._store).read(name)
            except CorruptValueError as error:
                return f"the windows {name} are closed: {error}"
            if found is None:
                return (
                    f"the windows {name} are closed: there is no such set in the file or in the store; "
                    f"`locksmithctl window set {quoted(name)} {window_set.EXAMPLE}` makes one"
                )
            sets.append(found)
        windows = window_set.union(sets)
        least = timedelta(0) if begun else self._least
        if windows is None or windows.contains(now, least):
            return ""
        opens = windows.next_open(now, least)
        until = f"; they open at {clock(opens, now)} ({opens.isoformat(timespec='minutes')})" if opens else ""
        return f"the windows {', '.join(self._names)} are closed{until}"
