"""A machine by the name that a person has for it. Pure."""

from locksmith.group_view import GroupView

SHORTEST = 4
"""Letters of an id that name a machine, where no other's begins so."""


def find(view: GroupView, wanted: str) -> list[str]:
    """Give the ids of the machines that a name may mean: an id, a hostname, or the beginning of an id."""
    names = _names(view)
    if wanted in names:
        return [wanted]
    called = [machine_id for machine_id, name in names.items() if name == wanted]
    if called or len(wanted) < SHORTEST:
        return sorted(called)
    return sorted(machine_id for machine_id in names if machine_id.startswith(wanted))


def _names(view: GroupView) -> dict[str, str]:
    """Name everybody who holds a slot, stands in line or is present, by id; what a machine says itself counts most."""
    claims = {holder: getattr(claim, "hostname", "") for holder, claim in view.claims.items()}
    own_places = {waiter.holder: waiter.hostname for waiter in view.waiters if waiter.kind == "reboot"}
    present = {machine_id: machine.hostname for machine_id, machine in view.machines.items()}
    return {**dict.fromkeys(view.semaphore.holders, ""), **claims, **own_places, **present}
