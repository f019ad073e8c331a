"""A machine by the name that a person has for it: an id, its beginning, or a host name. Pure.

Case counts nowhere. A host name may be cut at a dot: `n1` means `n1.example.com`. What an operator has locked under a
name of its own (people lock by host name) is a holder with that name, and no machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from locksmith.fleet.group import GroupView
from locksmith.lock.records.claim import Claim
from locksmith.util.zincati import client_of

SHORTEST = 4
"""Letters of an id that name a machine, where no other's begins so."""

ID, HOST_NAME, SHORT_NAME = "by its id", "by its host name", "by its short host name"
BEGINNING = "by the beginning of its id"
"""How a name means a machine."""
_LIKELIEST = (HOST_NAME, SHORT_NAME, ID, BEGINNING)


@dataclass(frozen=True, slots=True)
class Match:
    """A machine that a name may mean, how, and its host name (empty: not known)."""

    machine_id: str
    how: str
    name: str = ""

    def describe(self) -> str:
        """Write it as a candidate for a person."""
        return f"{self.machine_id} ({f'{self.name}, ' if self.name else ''}{self.how})"


def find(view: GroupView, wanted: str) -> list[Match]:
    """Give the machines that a name may mean, the likeliest first; if there is none, holders with such a name."""
    if wanted in view.semaphore.holders and is_machine_id(wanted.lower()):
        return [Match(wanted, ID, known_names(view)[wanted])]
    return find_machine(view, wanted) or matches(dict.fromkeys(strangers(view), ""), wanted)


def find_machine(view: GroupView, wanted: str) -> list[Match]:
    """Give the machines alone that a name may mean: for what is ordered by id, and binds no other holder."""
    return without_clients(matches(_machines(view), wanted))


def without_clients(found: Sequence[Match]) -> list[Match]:
    """Leave out the Zincati of each machine that was found too: the machine's name means both."""
    clients = {client_of(one.machine_id) for one in found}
    return [one for one in found if one.machine_id not in clients]


def find_holder(view: GroupView, wanted: str) -> list[Match]:
    """Give the holders of slots that a name may mean. The exact id of a holder means that one alone."""
    names = known_names(view)
    if wanted in view.semaphore.holders:
        return [Match(wanted, ID, names[wanted])]
    return matches({holder: names[holder] for holder in view.semaphore.holders}, wanted)


def matches(names: Mapping[str, str], wanted: str) -> list[Match]:
    """Give the ids that a name may mean, the likeliest first, of ids with their host names (empty: not known).

    A whole machine-id means that machine alone, also if others have it as their host name.
    """
    lower = wanted.casefold()
    if lower in names and is_machine_id(lower):
        return [Match(lower, ID, names[lower])]
    found = [Match(one, how, name) for one, name in sorted(names.items()) if (how := _how(lower, one, name))]
    return sorted(found, key=lambda one: _LIKELIEST.index(one.how))


def strangers(view: GroupView) -> list[str]:
    """Name the holders of slots that are no machines: what an operator, or another tool, locked under a name."""
    machines = _machines(view)
    return [one for one in view.semaphore.holders if one not in machines]


def aliases(view: GroupView, machine_id: str) -> list[str]:
    """Name the holders of slots that are no machines, and have the host name of this one, or a part of it."""
    name = known_names(view).get(machine_id, "").casefold()
    others = [(one, one.casefold()) for one in strangers(view)] if name else []
    return [one for one, lower in others if _is_name(lower, name) or _is_name(name, lower)]


def is_machine_id(text: str) -> bool:
    """Whether a text has the form of a machine-id (machine-id(5))."""
    return len(text) == 32 and set(text) <= set("0123456789abcdef")  # noqa: PLR2004 - machine-id(5)


def known_names(view: GroupView) -> dict[str, str]:
    """Name all that hold a slot, are held back, queued, present or remembered, by id (empty: no host name is known)."""
    return {**dict.fromkeys((*view.semaphore.holders, *view.holds), ""), **_machines(view)}


def _machines(view: GroupView) -> dict[str, str]:
    """Name the machines alone: what has the form of an id, or shows itself, waits or reboots; their own word counts."""
    # The host of a manual claim is the operator's.
    claims = {
        holder: claim.hostname
        for holder, claim in view.claims.items()
        if isinstance(claim, Claim) and claim.is_machines
    }
    own_places = {waiter.holder: waiter.hostname for waiter in view.waiters if waiter.is_machines}
    absent = {machine_id: one.hostname for machine_id, one in view.absent.items()}
    present = {machine_id: machine.hostname for machine_id, machine in view.machines.items()}
    ids = [one for one in (*view.semaphore.holders, *view.holds) if is_machine_id(one)]
    return _named_by_machine({**dict.fromkeys(ids, ""), **absent, **claims, **own_places, **present})


def _named_by_machine(names: dict[str, str]) -> dict[str, str]:
    """Name a machine's Zincati as the machine, where nothing else has named it: it is held back, say, and idle."""
    nameless = {one for one, name in names.items() if name in {"", one}}
    clients = {client_of(one): name for one, name in names.items() if name} if nameless else {}
    return {**names, **{one: clients[one] for one in nameless if one in clients}}


def _how(wanted: str, one: str, name: str) -> str:
    """Say how a name, in lower case, means an id with a host name; empty: it does not."""
    own, called = one.casefold(), name.casefold()
    if called and _is_name(wanted, called):
        return HOST_NAME if wanted == called else SHORT_NAME
    is_bare_name = not called and not is_machine_id(own)
    if wanted == own or (is_bare_name and _is_name(wanted, own)):
        return ID
    # Only an id may be cut anywhere: a name may not, or `node-1` would mean `node-10`.
    return BEGINNING if len(wanted) >= SHORTEST and not is_bare_name and own.startswith(wanted) else ""


def _is_name(wanted: str, name: str) -> bool:
    """Whether a text is a host name, or that name cut at a dot."""
    return wanted == name or (bool(wanted) and name.startswith(f"{wanted}."))
