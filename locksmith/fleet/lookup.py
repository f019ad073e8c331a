"""A machine by the name that a person has for it. Pure."""

from dataclasses import dataclass

from locksmith.fleet.group import GroupView
from locksmith.lock.records.claim import REBOOT, Claim

SHORTEST = 4
"""Letters of an id that name a machine, where no other's begins so."""

ID, HOST_NAME, BEGINNING = "by its id", "by its host name", "by the beginning of its id"
"""How a name means a machine."""


@dataclass(frozen=True, slots=True)
class Match:
    """A machine that a name may mean, and how."""

    machine_id: str
    how: str


def find(view: GroupView, wanted: str) -> list[Match]:
    """Give the machines that a name may mean: an id, a hostname, or the beginning of an id; the likeliest first.

    A whole machine-id means that machine alone, also if others have it as their host name.
    """
    names = _names(view)
    if wanted in names and is_machine_id(wanted):
        return [Match(wanted, ID)]
    called = [Match(one, HOST_NAME) for one, name in sorted(names.items()) if name == wanted]
    # What shows itself is a machine; a name in the semaphore alone may be anything that an operator has locked.
    called.sort(key=lambda one: one.machine_id not in view.machines)
    exact = [Match(wanted, ID)] if wanted in names else []
    begun = []
    if len(wanted) >= SHORTEST:
        begun = [Match(one, BEGINNING) for one in sorted(names) if one.startswith(wanted)]
    found = {one.machine_id: one for one in reversed([*called, *exact, *begun])}
    order = dict.fromkeys(one.machine_id for one in [*called, *exact, *begun])
    return [found[machine_id] for machine_id in order]


def is_machine_id(text: str) -> bool:
    """Whether a text has the form of a machine-id (machine-id(5))."""
    return len(text) == 32 and set(text) <= set("0123456789abcdef")  # noqa: PLR2004 - machine-id(5)


def _names(view: GroupView) -> dict[str, str]:
    """Name all that hold a slot, are held back, queued, present or remembered, by id; their own word counts most."""
    # The host of a manual claim is the operator's.
    claims = {
        holder: claim.hostname
        for holder, claim in view.claims.items()
        if isinstance(claim, Claim) and claim.kind == REBOOT
    }
    own_places = {waiter.holder: waiter.hostname for waiter in view.waiters if waiter.kind == REBOOT}
    absent = {machine_id: one.hostname for machine_id, one in view.absent.items()}
    present = {machine_id: machine.hostname for machine_id, machine in view.machines.items()}
    known = dict.fromkeys((*view.semaphore.holders, *view.holds), "")
    return {**known, **absent, **claims, **own_places, **present}
