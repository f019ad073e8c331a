"""The watermark: what this machine has seen of the store. With it this machine detects a store that went back in time.

It is this machine's own: `/var/lib/locksmith/seen.json`, written before the machine goes down. It belongs to the
cluster of that id, and no answer of another one counts (store/cluster.py). A `resume` in that other one ends this if it
says that it takes this one's place. Where the id is not known, it belongs to the endpoints.

If the store went back (for example a restored backup), this is written at once. Then the store is not believed, also
after restarts, reboots and progress, until an operator's `resume`. That must be newer than the last progress that this
machine had seen.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from locksmith.errors import HostError
from locksmith.host.durable import write_durably
from locksmith.host.paths import Paths
from locksmith.host.seen import Seen, read_cluster, read_entry
from locksmith.lock.records.order import Order
from locksmith.store.cluster import Clusters
from locksmith.store.meter import Meter
from locksmith.store.protocol import Entry, Fingerprint, Known, Position
from locksmith.util import jsonread, limits, records

log = logging.getLogger(__name__)


class SeenRevision:
    """The watermark of a store. An unreadable file counts as missing: it does not say which machines hold a slot.

    Several programs of a machine may write the file; each keeps the verdict of the others. If `keeps` is false, nothing
    is written.
    """

    who = "this machine"
    """Who has seen the store, in the verdict."""
    resume = "locksmithctl resume"
    """The command of the verdict."""

    def __init__(
        self,
        paths: Paths,
        api: int,
        endpoints: Sequence[str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        meter: Meter | None = None,
        *,
        keeps: bool = True,
    ) -> None:
        self.path = paths.state / "seen.json"
        self._keeps = keeps
        self._clock = clock
        self._store = _named(api, endpoints)
        self._meter = meter or Meter()
        self._remembered: Sequence[str] = ()
        self._kept = self._seen = self._read()
        self._epoch = 0
        self._latest = Position(0)
        self.heard = False
        """Whether the store has given an answer that counts, to this program."""
        self.asks: Callable[[], None] = lambda: None
        """Called before each write of the semaphore; `HostError`: it must not be written."""
        self.clusters = Clusters(
            self._seen.cluster, self._seen.cluster_at, strict=not keeps, adopted=self._adopt, changed=self._show_others
        )
        self._meter.went_back(back=self._seen.back is not None)

    @property
    def is_known(self) -> bool:
        """Whether this machine has seen this store before."""
        return self._seen.revision > 0 or self._seen.back is not None or bool(self._seen.cluster)

    @property
    def verdict(self) -> str:
        """Say that the store went back, the evidence, and what to do; empty: the store has not."""
        if not self._seen.back:
            return ""
        went_back = f"the store knows less than {self.who} has seen of it (restored from a backup, or another one?)"
        way_out = f"so it is unknown which machines are down: inspect them, then run `{self.resume}`"
        return f"{went_back}: {self._seen.why}; {way_out}"

    @property
    def split(self) -> str:
        """Say that the endpoints belong to several clusters, by their last answers; empty: they do not."""
        return self.clusters.split

    def cluster_of(self, api: int, endpoints: Sequence[str]) -> str:
        """Give the cluster of these endpoints; empty: unknown."""
        return self._seen.cluster if self.is_of(api, endpoints) else ""

    def shares(self, endpoints: Sequence[str]) -> bool:
        """Whether the machine remembers one of these endpoints."""
        return bool(set(endpoints) & set(self._remembered))

    def is_of(self, api: int, endpoints: Sequence[str]) -> bool:
        """Whether a watermark is of this store."""
        return self._store == _named(api, endpoints)

    def is_silent(self, api: int, endpoints: Sequence[str]) -> bool:
        """Whether a watermark is of this store, and the store has given no answer that counts to this program."""
        return self.is_of(api, endpoints) and not self.heard

    def asking(self, *, slot: bool = True) -> None:
        """Be told that the semaphore is about to be written, or a place in the queue. `HostError`: it must not be.

        A place is no slot, so it may be written before there was any answer. After an answer what follows is done
        early: a take must not wait for the disk.
        """
        if slot or self.heard:
            self.asks()

    def sending(self) -> Known:
        """Give what is known of the store, right before a request."""
        return Known(self._seen.revision, self._seen.entry, self._epoch)

    def answered(self, position: Position, known: Known, *, linearizable: bool = True) -> None:
        """Compare an answer with what was known before its request: answers overtake each other."""
        if known.epoch != self._epoch:
            return  # sent before an operator said that another history counts
        if position.cluster and self._seen.cluster and position.cluster != self._seen.cluster:
            return  # of another cluster, which does not count
        self.heard = True
        self._latest = position
        if self._seen.back is not None:
            self._insist()
        elif linearizable and position.revision < known.revision:
            self._convict(f"its revision is {position.revision}, and was {known.revision}")
        elif position.revision > self._seen.revision:
            self._seen = replace(self._seen, revision=position.revision, at=self._now(), cluster_at=self.clusters.at)

    def followed(self, entry: Entry | None, known: Known, *, part: bool | None) -> None:
        """Compare the lock's entry with the entry that was known before the request."""
        if known.epoch != self._epoch or self._seen.back is not None:
            return
        newest = self._seen.entry
        if part is False and known.entry is not None:
            before = known.entry
            # Progress of the other history may have been taken for progress of this history since.
            self._seen = replace(self._seen, at=self._seen.entry_at or self._seen.at)
            self._convict(f"its history has no {before.key} of revision {before.version} as this machine saw it")
        elif entry is not None and (newest is None or newest.key != entry.key or entry.version > newest.version):
            self._seen = replace(self._seen, entry=Fingerprint.of(entry), entry_at=self._now())

    def went_back(self, resumed: datetime | None) -> str:
        """Say why the store is not to be believed, with regard to the last `resume`; empty: the store is believed.

        A `resume` is written down at once: after a crash without that, it would count as new. `HostError`: the `resume`
        was not written, and changes nothing.
        """
        if self._seen.back is None:
            if resumed is not None and resumed != self._seen.resumed:
                self._save(replace(self._seen, resumed=resumed))
            return self.verdict
        if not self._is_new(resumed):
            self._insist()
            return self.verdict
        now = self._latest
        self._save(Seen(now.revision, self._now(), resumed, self._seen.cluster, self.clusters.at))
        self._epoch += 1
        log.info(
            "an operator has run `locksmithctl resume`: the store is believed again, from revision %d on", now.revision
        )
        self._meter.went_back(back=False)
        return ""

    def succeed(self, position: Position, order: Order) -> bool:
        """Believe another cluster from now on, if an operator's `resume` in it says that it replaces this cluster.

        False: there is no such `resume`. `HostError`: it was not written down, and changes nothing.
        """
        before = self._seen.cluster
        if not before or order.cluster != position.cluster or before not in order.replaces:
            return False
        self._save(Seen(position.revision, self._now(), order.since, position.cluster))
        self._epoch += 1
        self._latest = position
        self.clusters.replace(position.cluster)
        log.warning("cluster %s counts from now on instead of %s: %s", position.cluster, before, order.describe())
        self._meter.went_back(back=False)
        return True

    def keep(self) -> None:
        """Write the watermark down; `HostError`: it did not reach the disk."""
        if self._kept != self._seen:
            self._save(self._seen)

    def _adopt(self) -> None:
        """Write the first cluster that answers down at once: after a crash another cluster may answer first.

        Another program of this machine may have written a cluster already.
        """
        other = self._read()
        if other.cluster:
            self.clusters.own, self.clusters.at = other.cluster, other.cluster_at
        self._seen = replace(self._seen, cluster=self.clusters.own, cluster_at=self.clusters.at)
        self._insist()

    def _show_others(self) -> None:
        self._meter.other_cluster(seen=bool(self.clusters.foreign))

    def _convict(self, why: str) -> None:
        """Note that the store went back, before its answer decides anything."""
        self._seen = replace(self._seen, back=self._now(), why=why)
        log.warning("%s", self.verdict)
        self._meter.went_back(back=True)
        self._insist()

    def _insist(self) -> None:
        """Write the verdict down if it is not yet; it also counts if the write fails."""
        try:
            self.keep()
        except HostError as error:
            log.debug("what was seen of the store is not written down yet: %s", error)

    def _is_new(self, resumed: datetime | None) -> bool:
        """Whether a `resume` is newer than the store's return to the past: a `resume` in the backup is not.

        This machine may never have read that `resume`, or the `resume` may be older than the verdict. But this machine
        had seen more of the store before that `resume`.
        """
        before = [moment for moment in (self._seen.resumed, self._seen.at) if moment is not None]
        return resumed is not None and all(resumed > moment for moment in before)

    def _now(self) -> datetime:
        return self._clock().replace(microsecond=0)

    def _save(self, seen: Seen) -> None:
        """Write a watermark down, with the verdict of another program of this machine, and then use it."""
        if not self._keeps:
            self._seen = self._kept = seen
            return
        other = self._read()
        if other.back is not None and seen.back is None and (seen.resumed is None or _is_older(seen.resumed, other)):
            seen = other
            self._meter.went_back(back=True)
        try:
            self._store_raw(json.dumps(self._fields(seen)).encode())
        except OSError as error:
            raise HostError(f"{self.path} cannot be written: {error.strerror}") from None
        self._seen = self._kept = seen

    def _fields(self, seen: Seen) -> dict[str, Any]:
        entry = seen.entry
        return {
            "schema": records.SCHEMA,
            "store": self._store,
            "revision": seen.revision,
            "resumed": records.optional_moment(seen.resumed),
            "at": records.optional_moment(seen.at),
            "cluster_id": seen.cluster,
            "cluster_at": seen.cluster_at,
            "entry": {"key": entry.key, "version": entry.version, "digest": entry.digest} if entry else None,
            "entry_at": records.optional_moment(seen.entry_at),
            "back": records.optional_moment(seen.back),
            "why": seen.why,
        }

    def _load_raw(self) -> bytes:
        return self.path.read_bytes()

    def _store_raw(self, raw: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self.path, raw)

    def _read(self) -> Seen:
        try:
            fields = jsonread.load_record(self._load_raw(), limits.LOCAL)
            store = jsonread.read(fields, "store", str)
            self._remembered = store.split()[1:]
            found = Seen(
                revision=jsonread.read(fields, "revision", int),
                at=records.read_optional_moment(fields, "at"),
                resumed=records.read_optional_moment(fields, "resumed"),
                cluster=read_cluster(fields, store),
                cluster_at=jsonread.read(fields, "cluster_at", str, ""),
                entry=read_entry(fields.get("entry")),
                entry_at=records.read_optional_moment(fields, "entry_at"),
                back=records.read_optional_moment(fields, "back"),
                why=jsonread.read(fields, "why", str, ""),
            )
            # A cluster has other endpoints after a member joins. v2 and v3 have separate revisions.
            same = store == self._store or (found.cluster and store.split()[:1] == self._store.split()[:1])
            return found if same else Seen(cluster=found.cluster, cluster_at=found.cluster_at)
        except (OSError, jsonread.BadJsonError):
            return Seen()


def _is_older(resumed: datetime, other: Seen) -> bool:
    """Whether that `resume` does not end the other program's verdict."""
    return any(resumed <= moment for moment in (other.resumed, other.at) if moment is not None)


def _named(api: int, endpoints: Sequence[str]) -> str:
    return f"{api} {' '.join(sorted(endpoints))}"
