"""The keys below a prefix, in memory, as a store had them at one revision. Pure.

One sorted list of all names answers each range, count and folder: a change of a key moves some of its pointers, which
is far cheaper than a request.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import islice

from locksmith.store.feed import Removed
from locksmith.store.protocol import Entry, Listing, Reading

MOST_REMOVED = 10_000
"""How many removals are remembered, so that a wait can tell whether its key is gone since a revision."""


class Replica:
    """The entries, and the revision that they are of."""

    def __init__(self) -> None:
        self.revision = 0
        self._entries: dict[str, Entry] = {}
        self._names: list[str] = []
        self._removed: dict[str, int] = {}
        # Removals up to this revision are not known.
        self._floor = 0
        self._newest: Entry | None = None

    def replace(self, listing: Listing) -> list[str]:
        """Be what was listed; gives the keys that are not as they were."""
        before, self._entries = self._entries, {entry.key: entry for entry in listing.entries}
        self._names = sorted(self._entries)
        self.revision = self._floor = listing.revision
        self._removed, self._newest = {}, None
        changed = [key for key, entry in self._entries.items() if before.get(key) != entry]
        return changed + [key for key in before if key not in self._entries]

    def apply(self, changes: Iterable[Entry | Removed], revision: int) -> list[str]:
        """Make the changes up to a revision; gives their keys. What is older than this replica is left out."""
        keys = []
        for change in changes:
            if (change.version if isinstance(change, Entry) else change.revision) <= self.revision:
                continue
            keys.append(change.key)
            if isinstance(change, Entry):
                if change.key not in self._entries:
                    insort(self._names, change.key)
                self._entries[change.key] = self._newest = change
                self._removed.pop(change.key, None)
            elif self._entries.pop(change.key, None) is not None:
                del self._names[bisect_left(self._names, change.key)]
                self._note_removed(change)
        self.revision = max(self.revision, revision)
        return keys

    def get(self, key: str) -> Reading:
        """Give one key."""
        return Reading(self._entries.get(key), self.revision)

    def range(self, start: str, end: str, limit: int = 0) -> Listing:
        """Give the keys from `start` on, before `end`, in the order of their names."""
        low, high = bisect_left(self._names, start), bisect_left(self._names, end)
        upto = min(high, low + limit) if limit else high
        found = tuple(self._entries[name] for name in islice(self._names, low, upto))
        return Listing(found, self.revision, max(0, high - low))

    def list(self, prefix: str, limit: int = 0, last_before: int | None = None) -> Listing:
        """Give the keys below a prefix, as `Store.list` says."""
        everything = self.range(prefix, past(prefix))
        found = sorted(everything.entries, key=lambda entry: (entry.created, entry.key))
        if last_before is not None:
            found = [entry for entry in found if entry.created < last_before][-limit:]
        elif limit:
            found = found[:limit]
        return Listing(tuple(found), self.revision, everything.total)

    def count(self, prefix: str) -> int:
        """Count the keys below a prefix."""
        return bisect_left(self._names, past(prefix)) - bisect_left(self._names, prefix)

    def rank(self, prefix: str, key: str) -> int:
        """Count the keys below a prefix that sort before `key`."""
        return max(0, bisect_left(self._names, key) - bisect_left(self._names, prefix))

    def name_at(self, prefix: str, rank: int) -> str:
        """Name the key below a prefix before which `rank` others sort; empty: there are not so many."""
        at = bisect_left(self._names, prefix) + rank
        return self._names[at] if at < len(self._names) and self._names[at].startswith(prefix) else ""

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Name the folders right below a prefix, in order."""
        found, at, end = [], bisect_left(self._names, prefix), bisect_left(self._names, past(prefix))
        while at < end:
            name, slash, _ = self._names[at].removeprefix(prefix).partition("/")
            found += [name] if slash else []
            at = bisect_left(self._names, past(f"{prefix}{name}/")) if slash else at + 1
        return tuple(found)

    def changed_since(self, key: str, after: int) -> bool:
        """Tell whether a key was written or removed after a revision; True also if that is not known any more."""
        if (entry := self._entries.get(key)) is not None:
            return entry.version > after
        return self._removed.get(key, 0) > after or after < self._floor

    def is_removed_since(self, key: str, after: int) -> bool:
        """Tell whether a key is known to have been removed after a revision."""
        return key not in self._entries and self._removed.get(key, 0) > after

    def any_changed_since(self, prefix: str, after: int) -> bool:
        """Tell the same as `changed_since` of all keys below a prefix."""
        if after < self._floor or any(at > after for key, at in self._removed.items() if key.startswith(prefix)):
            return True
        return any(entry.version > after for entry in self.range(prefix, past(prefix)).entries)

    def newest(self) -> Entry | None:
        """Give the entry that was written last; None: there is none."""
        known = self._newest
        if known is None or self._entries.get(known.key) is not known:
            self._newest = max(self._entries.values(), key=lambda entry: entry.version, default=None)
        return self._newest

    def _note_removed(self, change: Removed) -> None:
        self._removed.pop(change.key, None)
        self._removed[change.key] = change.revision
        if len(self._removed) > MOST_REMOVED:
            oldest = next(iter(self._removed))
            self._floor = max(self._floor, self._removed.pop(oldest))


def past(prefix: str) -> str:
    """Name what sorts after each key that begins with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
