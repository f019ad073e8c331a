"""What holds this machine back beside the slots: read with the semaphore, at the take and at the point of no return.

Whoever gives such an order touches the semaphore behind it, as does a machine that says that its reboot went wrong: a
take or a commit that was decided before can then no longer win.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from locksmith import halt, keys, orders
from locksmith.errors import CorruptValueError
from locksmith.fleet import REBOOT, Claim
from locksmith.halt import EXPIRED, FIRST, LOST, HaltAfter, Incident
from locksmith.kv.remembering import Memory
from locksmith.kv.store import Entry, Put, Reading, Store
from locksmith.orders import FREEZE, HALT, HOLD, RESTORED, SPACING, Order
from locksmith.semaphore import Semaphore
from locksmith.snapshot import DAEMON
from locksmith.standing import DeniedError, read_record


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What a machine's configuration says about its group.

    `spacing`: for how many seconds after this machine's reboot nobody else begins one (0: none). `expire_after`: after
    how many seconds the slot of a machine that is lost may be taken (0: never).
    """

    halt_after: HaltAfter = FIRST
    spacing: float = 0.0
    expire_after: float = 0.0


class Watermark(Memory, Protocol):
    """What this machine has seen of the store, and its verdict where the store went back in time."""

    @property
    def verdict(self) -> str:
        """Say why the store is not to be believed, and the way out; empty: it is."""
        ...

    def went_back(self, resumed: datetime | None) -> str:
        """Give the verdict, after a look at the group's last `resume`: a new one ends it.

        `HostError`: a `resume` did not reach the disk.
        """
        ...

    def keep(self) -> None:
        """Write it down; `HostError`: it did not reach the disk."""
        ...


class BrakedError(DeniedError):
    """Something of the group's holds this machine back: `code` says what, `key` is the one to watch.

    `held`: it has a slot already.
    """

    def __init__(self, code: str, text: str, key: str, revision: int, *, held: bool) -> None:
        super().__init__(text, revision)
        self.code = code
        self.key = key
        self.held = held


@dataclass(frozen=True, slots=True)
class Others:
    """The other holders of slots: the claims of those who have one, who of them is present, and what is noted."""

    claims: tuple[Claim, ...] = ()
    present: frozenset[str] = frozenset()
    noted: tuple[Incident, ...] = ()


class Brakes:
    """The orders and incidents of one group, as they bind one machine. Errors are the store's, `CorruptValueError`."""

    def __init__(
        self,
        store: Store,
        group: str,
        rules: GroupRules,
        mark: Watermark | None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.rules = rules
        self._store = store
        self._group = group
        self._mark = mark
        self._clock = clock

    def keys(self, holder: str) -> list[str]:
        """Name the keys to read together with the semaphore, and behind it, in the order `judge` takes them."""
        return [
            keys.freeze_key(self._group),
            keys.hold_key(self._group, holder),
            keys.spacing_key(self._group),
            keys.incidents_key(self._group),
            keys.resume_key(self._group),
        ]

    async def judge(self, claim: Claim, now: Semaphore, read: Sequence[Reading], *, held: bool, last: bool) -> Others:
        """Raise `BrakedError` for whatever holds this claim back; give the other holders, where they were looked at.

        `held`: it has its slot; only at the `last` moment the pause after another's reboot counts then.
        """
        if claim.kind != REBOOT:
            return Others()
        freeze, hold, spacing, noted, resume = (reading.entry for reading in read)
        revision = read[0].revision

        def refuse(code: str, text: str, key: str) -> BrakedError:
            return BrakedError(code, text, key, revision, held=held)

        resumed = _order(resume, RESTORED)
        if self._mark is not None and (verdict := self._mark.went_back(resumed.since if resumed else None)):
            raise refuse(RESTORED, verdict, keys.resume_key(self._group))
        if (order := _order(freeze, FREEZE)) is not None:
            raise refuse(FREEZE, f"frozen {order.describe()}", keys.freeze_key(self._group))
        if (order := _order(hold, HOLD)) is not None:
            raise refuse(HOLD, f"held back {order.describe()}", keys.hold_key(self._group, claim.holder))
        others = await self._others(claim.holder, now, noted)
        known = others.claims or others.noted
        found = halt.incidents(others.claims, others.present, others.noted, self._clock()) if known else []
        if halt.halts(found, await self._limit()):
            raise refuse(HALT, halt.sentence(found), keys.semaphore_key(self._group))
        pause = _order(spacing, SPACING)
        if pause is not None and pause.nonce != claim.nonce and (last or not held):
            raise refuse(SPACING, f"too soon after a reboot {pause.describe()}", keys.spacing_key(self._group))
        return others

    async def begin_spacing(self, claim: Claim, read: Sequence[Reading]) -> None:
        """Keep the others from beginning a reboot for a while; `ConflictError`: another has just done so."""
        if not self.rules.spacing or claim.kind != REBOOT:
            return
        reading, now = read[2], self._clock().replace(microsecond=0)
        order = Order(
            who=claim.hostname or claim.holder,
            since=now,
            until=now + timedelta(seconds=self.rules.spacing),
            nonce=claim.nonce,
        )
        key = keys.spacing_key(self._group)
        await self._store.swap(key, orders.encode(order), reading.version, ttl=self.rules.spacing)

    def keep_mark(self) -> None:
        """Write down what this machine has seen of the store, before it goes down."""
        if self._mark is not None:
            self._mark.keep()

    def expired(self, others: Others) -> Claim | None:
        """Name a lost machine's claim whose slot may be taken by now, where the configuration wants that."""
        if not self.rules.expire_after:
            return None
        limit = timedelta(seconds=self.rules.expire_after)
        for claim in others.claims:
            gone = claim.kind == REBOOT and claim.who == DAEMON and claim.holder not in others.present
            if gone and self._clock() - claim.held_since > limit:
                return claim
        return None

    def note(self, claim: Claim, others: Others, read: Sequence[Reading]) -> Put:
        """Write that a slot has expired: it counts towards the halt until an operator says `resume`."""
        kept = [one for one in others.noted if one.claim.nonce != claim.nonce]
        words = f"it was {LOST}, and its slot has expired"
        incident = Incident(replace(claim, acknowledged=""), EXPIRED, words)
        return Put(keys.incidents_key(self._group), halt.encode([*kept, incident]), read[3].version)

    async def _others(self, holder: str, now: Semaphore, noted: Entry | None) -> Others:
        known = tuple(halt.decode(noted.value, noted.key)) if noted else ()
        ids = [one for one in now.holders if one != holder]
        # Only what can halt anybody is asked for.
        if not ids or (self.rules.halt_after.off and not self.rules.expire_after):
            return Others(noted=known)
        records = [keys.holder_key(self._group, one) for one in ids]
        nodes = [keys.node_key(self._group, one) for one in ids]
        read = await self._store.read([*records, *nodes])
        claims = [read_record(one, reading.entry) for one, reading in zip(ids, read, strict=False)]
        present = (one for one, reading in zip(ids, read[len(ids) :], strict=True) if reading.entry is not None)
        return Others(tuple(claim for claim in claims if isinstance(claim, Claim)), frozenset(present), known)

    async def _limit(self) -> int | None:
        after = self.rules.halt_after
        machines = 0 if after.percent is None else await self._store.count(keys.nodes_prefix(self._group))
        return after.of(machines)


def _order(entry: Entry | None, kind: str) -> Order | None:
    return orders.decode(entry.value, entry.key, kind) if entry else None


def read_order(entry: Entry | None, kind: str) -> Order | CorruptValueError | None:
    """Give the order of an entry, or why it cannot be read; None where there is none."""
    try:
        return _order(entry, kind)
    except CorruptValueError as error:
        return error
