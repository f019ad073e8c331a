"""What an order will do, in words, before it is given; and the order itself, of what the words were about alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from locksmith.errors import LockError
from locksmith.fleet import acts
from locksmith.fleet.acts import WITHOUT_SLOT, Author, legacy_words, too_late_words, was, was_words
from locksmith.fleet.group import GroupView
from locksmith.fleet.lookup import known_names
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reboot_words import reboot_words
from locksmith.lock.acknowledge import seen
from locksmith.lock.admission import read_order
from locksmith.lock.holder import HolderState
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMITTED, Claim
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.order import FREEZE, HOLD, Order
from locksmith.lock.shown_holder import ShownHolder
from locksmith.store.protocol import Reading, Store
from locksmith.util.commands import naming_group
from locksmith.util.words import clock
from locksmith.util.zincati import client_of

GROUP_ORDERS: Final = ("freeze", "thaw", "resume")
MACHINE_ORDERS: Final = ("hold", "unhold", "unlock")


class StalePageError(LockError):
    """Refused: the present state is not what the page has shown."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An order that may be given. `version` names what it is about: another version is another thing.

    `effects` and `warnings` are sentences. If it is not `possible`, the effects say why.
    """

    order: str
    heading: str
    button: str
    effects: Sequence[str]
    version: str
    warnings: Sequence[str] = ()
    machine: str = ""
    needs_reason: bool = False
    can_end: bool = False
    possible: bool = True
    incidents: Sequence[Incident] = ()
    """What has gone wrong, for `resume`."""


class Planner:
    """One order of one group. Errors are those of the store and of the lock."""

    def __init__(self, store: Store, group: str, order: str, machine: str, now: datetime) -> None:
        self.group = group
        self._store, self._order, self._machine, self._now = store, order, machine, now
        self._orders = OperatorOrders(store, group)
        self._name = machine

    @property
    def exists(self) -> bool:
        """Whether there is such an order, and a machine is named for it if it is about one."""
        return self._order in GROUP_ORDERS or (self._order in MACHINE_ORDERS and bool(self._machine))

    async def plan(self, view: GroupView) -> Plan:
        """Say what the order would do, as everything is now."""
        self._name = known_names(view).get(self._machine) or self._machine
        match self._order:
            case "freeze":
                return await self._freeze(view)
            case "thaw":
                return await self._thaw()
            case "resume":
                return self._resume(view)
            case "hold":
                return await self._hold(view)
            case "unhold":
                return await self._unhold()
            case _:
                return await self._unlock()

    async def give(self, plan: Plan, shown: str, author: Author, order: Order, ttl: float | None) -> list[str]:
        """Give the order, of the version that was `shown`; say what was done. `plan` is as everything is now.

        `StalePageError`, `ChangedOrderError`, `ChangedClaimError`, `ChangedIncidentsError`: it was another thing, and
        nothing was done.
        """
        if not plan.possible or shown != plan.version:
            raise StalePageError(_now_words(plan))
        match self._order:
            case "freeze":
                done = await acts.freeze(self._orders, author, order, ttl, shown=int(shown))
                ends = f" until {clock(order.until, self._now)}" if order.until else ""
                return [
                    f"{_capital(group_name(self.group))} is frozen{ends}.",
                    *_sentences(too_late_words(done.too_late)),
                ]
            case "thaw":
                before = await acts.thaw(self._orders, author, order.reason, shown=int(shown))
                return [f"{_capital(group_name(self.group))} is no longer frozen; that was {was_words(before)}."]
            case "resume":
                found: list[Incident] = []
                await acts.resume(self._orders, author, order, found, shown=plan.incidents)
                nothing = "" if found else f": {acts.NOTHING_WRONG} in it"
                may = f"{_capital(group_name(self.group))} may reboot{nothing}."
                return [*(f"Acknowledged: {one.describe()}." for one in found), may]
            case "hold":
                await acts.hold(self._orders, author, (self._machine, self._host), order, ttl, shown=int(shown))
                ends = f" until {clock(order.until, self._now)}" if order.until else ""
                return [f"{self._name} is held back{ends}."]
            case "unhold":
                before = await acts.unhold(
                    self._orders, author, (self._machine, self._host), order.reason, shown=int(shown)
                )
                return [f"{self._name} is no longer held back; that was {was_words(before)}."]
            case _:
                return await self._free(shown, author, order.reason)

    @property
    def _host(self) -> str:
        return self._name if self._name != self._machine else ""

    async def _freeze(self, view: GroupView) -> Plan:
        reading = await self._store.get(keys.freeze_key(self.group))
        stands = read_order(reading.entry, FREEZE)
        warnings = [f"It is frozen already {was_words(stands)}. That is replaced."] if stands is not None else []
        warnings += _sentences(too_late_words(_committed(view)))
        if legacy := [holder for holder in view.semaphore.holders if view.claims.get(holder) is None]:
            command = naming_group("`locksmithctl freeze --legacy --reason=maintenance`", self.group)
            warnings.append(f"{legacy_words(legacy, command)}.")
        effects = [
            f"No machine of {group_name(self.group)} begins a reboot until the group is thawed, or the time is over.",
            "A machine that holds a slot and can still abort releases it.",
        ]
        heading = f"Freeze {group_name(self.group)}"
        return Plan("freeze", heading, "Freeze", effects, _version(reading), warnings, needs_reason=True, can_end=True)

    async def _thaw(self) -> Plan:
        reading = await self._store.get(keys.freeze_key(self.group))
        stands, name = read_order(reading.entry, FREEZE), group_name(self.group)
        if stands is None:
            return Plan(
                "thaw",
                f"Thaw {name}",
                "Thaw",
                [f"{_capital(name)} is not frozen: there is nothing to end."],
                "0",
                possible=False,
            )
        effects = [f"It is frozen {was_words(stands)}.", f"The machines of {name} may reboot again."]
        if isinstance(stands, Order) and stands.slots is not None:
            effects.append(f"The number of slots is set back to {stands.slots}, unless it was set meanwhile.")
        return Plan("thaw", f"Thaw {name}", "Thaw", effects, _version(reading))

    def _resume(self, view: GroupView) -> Plan:
        name, found = group_name(self.group), view.incidents(self._now)
        effects = [f"It acknowledges that {one.describe()}." for one in found]
        if found:
            effects += [
                f"The other machines of {name} may reboot. The next reboot that goes wrong halts it again.",
                "The slots of these machines stay taken until they are healthy, or are unlocked.",
            ]
        else:
            effects.append(f"Nothing has gone wrong in {name}.")
        effects.append("Machines that wait because the store was restored from a backup believe it from then on.")
        warnings = ["Inspect these machines first: the next one may fare no better."] if found else []
        return Plan("resume", f"Resume {name}", "Resume", effects, _digest(found), warnings, incidents=found)

    async def _hold(self, view: GroupView) -> Plan:
        reading = await self._store.get(keys.hold_key(self.group, self._machine))
        stands = read_order(reading.entry, HOLD)
        warnings = [f"It is held back already {was_words(stands)}. That is replaced."] if stands is not None else []
        if [one for one in _committed(view) if one.holder in {self._machine, client_of(self._machine)}]:
            warnings.append(
                f"{self._name} is past the point of no return: it reboots once more, which nothing stops now."
            )
        effects = [f"{self._name} does not reboot until that ends. It takes no slot for it."]
        return Plan(
            "hold",
            f"Hold {self._name}",
            "Hold",
            effects,
            _version(reading),
            warnings,
            self._machine,
            needs_reason=True,
            can_end=True,
        )

    async def _unhold(self) -> Plan:
        reading = await self._store.get(keys.hold_key(self.group, self._machine))
        stands, heading = read_order(reading.entry, HOLD), f"Unhold {self._name}"
        if stands is None:
            effects = [f"{self._name} is not held back: there is nothing to end."]
            return Plan("unhold", heading, "Unhold", effects, "0", machine=self._machine, possible=False)
        effects = [f"It is held back {was_words(stands)}.", f"{self._name} may reboot again."]
        return Plan("unhold", heading, "Unhold", effects, _version(reading), machine=self._machine)

    async def _unlock(self) -> Plan:
        admin, heading = self._orders.admin, f"Unlock {self._name}"
        presence = await admin.presence(self._machine)
        state = await admin.inspect(self._machine)
        if not state.listed:
            effects = [f"{self._name} holds no slot in {group_name(self.group)}."]
            return Plan("unlock", heading, "Unlock", effects, "none", machine=self._machine, possible=False)
        words = reboot_words(self._machine, state.claim, presence)
        warnings = [f"{words}. {WITHOUT_SLOT}. Inspect the machine first."] if words else []
        effects = [
            f"The slot of {self._name} is freed, {was(state.claim)}.",
            "Another machine may take it at once.",
        ]
        version = _claim_version(state, absent=presence is None)
        return Plan("unlock", heading, "Free its slot", effects, version, warnings, self._machine, needs_reason=True)

    async def _free(self, shown: str, author: Author, reason: str) -> list[str]:
        admin = self._orders.admin
        state = await admin.inspect(self._machine)
        absent = shown.endswith("-absent")
        # Read after the plan: it must still be what the page has shown, and the write is guarded by this.
        if _claim_version(state, absent=absent) != shown:
            raise StalePageError(f"what holds the slot of {self._name} has changed")
        freed = await acts.free(admin, author, self._machine, reason, shown=ShownHolder(state, absent=absent))
        done = [f"Unlocked {self._name}, {was(freed.claim)}."]
        return [*done, f"{freed.reboot}; its slot is free for another machine already."] if freed.reboot else done


def _version(reading: Reading) -> str:
    return str(reading.version)


def _claim_version(state: HolderState, *, absent: bool) -> str:
    """Name a holder as it is now: without a record, only the semaphore's version tells it from the next one."""
    semaphore = 0 if state.record is not None else state.reading.version
    nonce = sha256((state.nonce or "").encode()).hexdigest()[:16]
    return f"{nonce}-{state.record_version}-{semaphore}-{'absent' if absent else 'present'}"


def _digest(found: Sequence[Incident]) -> str:
    """Name what has gone wrong: another machine, or another fault, is another thing."""
    text = "\n".join(sorted(" ".join(seen(one)) for one in found))
    return sha256(text.encode()).hexdigest()[:32]


def _committed(view: GroupView) -> list[Claim]:
    return [one for one in view.claims.values() if isinstance(one, Claim) and one.state == COMMITTED]


def _now_words(plan: Plan) -> str:
    return (
        "what it was about has changed, and is shown below as it is now"
        if plan.possible
        else plan.effects[0].rstrip(".")
    )


def _sentences(words: Sequence[str]) -> list[str]:
    return [f"{one}." for one in words]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
