"""The id that a command is about, from the name that a person gave: one way for all commands.

`fleet/lookup.py` says what a name may mean. Here each command says among which ids: a slot to free has a holder, a hold
to end has a machine that is held back, and a manual lock may also be for what no machine is called.
"""

from collections.abc import Callable

from locksmith.cli.choose import choose_match
from locksmith.cli.session import Session
from locksmith.errors import LockError, UsageError
from locksmith.fleet.group import GroupView
from locksmith.fleet.lookup import (
    ID,
    Match,
    find,
    find_holder,
    find_machine,
    is_machine_id,
    known_names,
    matches,
    without_clients,
)
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import read_group
from locksmith.lock.guarded import Guarded
from locksmith.lock.records.claim import MANUAL, Claim
from locksmith.lock.records.semaphore import NotHeldError
from locksmith.store.protocol import Store
from locksmith.util.zincati import client_of

Meaning = Callable[[GroupView], Match | None]


def to_lock(session: Session, wanted: str | None) -> tuple[Match, bool]:
    """Give the id to take a slot for, and whether a machine, or a holder, is called so: else it is taken literally."""

    def meaning(view: GroupView) -> Match | None:
        return _only(view, find(view, _checked(wanted)), wanted)

    found = _resolve(session, wanted, meaning, holders=True)
    return (found, True) if found is not None else (Match(_absent(wanted), ID), is_machine_id(_absent(wanted)))


def to_unlock(session: Session, wanted: str | None, *, manual: bool) -> Match:
    """Give the holder whose slot is to be freed; with `manual` a manual lock, if the name may mean one.

    `NotHeldError`: the name means a machine that holds no slot. With `manual` that machine is given.
    """

    def meaning(view: GroupView) -> Match | None:
        held = find_holder(view, _checked(wanted))
        if manual:
            locks = [one for one in held if _is_manual(view, one)]
            return _only(view, locks or held or find(view, _checked(wanted)), wanted)
        machines = find(view, _checked(wanted)) if not held else []
        held = held or [one for machine in machines for one in find_holder(view, client_of(machine.machine_id))]
        if not held and machines:
            names = ", ".join(one.describe() for one in machines)
            raise NotHeldError(f"{wanted} holds no slot in {group_name(view.group)}: it is {names}")
        return _only(view, held, wanted)

    found = _resolve(session, wanted, meaning, holders=True) or Match(_absent(wanted), ID)
    return found if manual else session.with_store(lambda store: _or_its_client(store, session.config.group, found))


async def _or_its_client(store: Store, group: str, found: Match) -> Match:
    """Give a machine's Zincati in its place, if that holds a slot and the machine holds none."""
    client = client_of(found.machine_id)
    holders = (await Guarded(store, group).semaphore())[0].holders if client else ()
    return Match(client, ID, found.name) if client in holders and found.machine_id not in holders else found


def to_hold(session: Session, wanted: str) -> Match:
    """Give the machine that a hold is for; a machine that is not present needs its whole id."""

    def meaning(view: GroupView) -> Match | None:
        return _only(view, find_machine(view, wanted), wanted)

    return _resolve(session, wanted, meaning) or _by_id(wanted)


def to_unhold(session: Session, wanted: str) -> Match:
    """Give the machine whose hold is to end: one that is held back, if the name may mean one."""

    def meaning(view: GroupView) -> Match | None:
        names = known_names(view)
        if wanted in view.holds:
            return Match(wanted, ID, names[wanted])
        held = without_clients(matches({one: names[one] for one in view.holds}, _checked(wanted)))
        return _only(view, held or find_machine(view, wanted), wanted)

    return _resolve(session, wanted, meaning) or _by_id(wanted)


def shown(match: Match) -> str:
    """Name an id for a person, with its host name where that is known."""
    return f"{match.machine_id} ({match.name})" if match.name not in {"", match.machine_id} else match.machine_id


def _resolve(session: Session, wanted: str | None, meaning: Meaning, *, holders: bool = False) -> Match | None:
    """Find in the group what a name means. A whole id is not looked up, nor the exact id of one of the `holders`.

    Without a name this machine is meant, in the group of its daemon. Otherwise the group must be known.
    """
    if wanted is None:
        session.own_config()
        return Match(session.machine_id, ID)
    session.group_config()
    if is_machine_id(_checked(wanted)):
        return Match(wanted, ID)
    group = session.config.group

    async def read(store: Store) -> GroupView | None:
        if holders and wanted in (await Guarded(store, group).semaphore())[0].holders:
            return None
        return await read_group(store, group)

    view = session.with_store(read)
    return Match(wanted, ID) if view is None else meaning(view)


def _only(view: GroupView, found: list[Match], wanted: str | None) -> Match | None:
    return choose_match(found, wanted or "", f" in {group_name(view.group)}") if found else None


def _is_manual(view: GroupView, one: Match) -> bool:
    claim = view.claims.get(one.machine_id)
    return isinstance(claim, Claim) and claim.kind == MANUAL


def _by_id(wanted: str) -> Match:
    if not is_machine_id(_absent(wanted)):
        raise LockError(f"no machine of the group is called {wanted}, nor has such an id: see `locksmithctl nodes`")
    return Match(_absent(wanted), ID)


def _absent(wanted: str | None) -> str:
    """Give the id that a name is where no machine has it: a machine-id in lower case, else the name itself."""
    name = _checked(wanted)
    return name.lower() if is_machine_id(name.lower()) else name


def _checked(wanted: str | None) -> str:
    if not wanted or not wanted.isprintable():
        raise UsageError(f"{wanted!r} is no machine's id or name")
    return wanted
