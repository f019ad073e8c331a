"""For how long entries of the store have stood unchanged, as this program has seen by its own steady clock. Pure.

A lease alone does not tell how old an entry is: each change of etcd's leader starts all leases again, and a copied
keyspace has none. Clocks of machines differ. But an entry that was seen twice with the same version stood unchanged in
between, so an age that is counted here is never more than the true one.
"""

from dataclasses import dataclass

from locksmith.store.protocol import Entry

MOST = 2000
"""How many entries are remembered; beyond that those are forgotten that were seen longest ago."""


@dataclass(slots=True)
class _TriggerResult:
    version: int
    value: bytes
    first: float
    last: float


class Unchanged:
    """What one program has seen. Times are in seconds of a clock that never steps."""

    def __init__(self) -> None:
        self._seen: dict[str, _TriggerResult] = {}

    def stood(self, entry: Entry, now: float) -> float:
        """Take note of an entry, and give for how many seconds at least it has stood as it is.

        The value counts too: on v2 the version of an entry that expires outlives its values.
        """
        known = self._seen.get(entry.key)
        if known is None or (known.version, known.value) != (entry.version, entry.value):
            known = self._seen[entry.key] = _TriggerResult(entry.version, entry.value, now, now)
            if len(self._seen) > MOST:
                self._forget()
        known.last = now
        return now - known.first

    def _forget(self) -> None:
        latest = sorted(self._seen, key=lambda key: self._seen[key].last)[MOST // 2 :]
        self._seen = {key: self._seen[key] for key in latest}
