"""`why`: everything that stands between a machine and its reboot, in plain sentences, from any machine."""

import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import datetime

import click

from locksmith.cli.choose import choose
from locksmith.cli.fleet_json import holder_fields, node_fields
from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import json_flag, note, print_json, say, say_all
from locksmith.cli.pasted import pasteable
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import width
from locksmith.errors import HostError, LockError, LocksmithError, StoreRefusedError, StoreUnavailableError
from locksmith.fleet.explain import Case, case, explain, group_name
from locksmith.fleet.group import GroupView
from locksmith.fleet.lookup import find, is_machine_id
from locksmith.fleet.reader import list_groups, read_group
from locksmith.store.protocol import Store
from locksmith.util import boottime
from locksmith.util.commands import with_group, wrapped
from locksmith.util.text import one_line


@click.command(cls=GoCommand)
@click.argument("machine", metavar="[MACHINE]", required=False)
@json_flag
@pass_session
def why(session: Session, *, machine: str | None, as_json: bool) -> None:
    """Say why a machine does not reboot, what it waits for, and until when.

    MACHINE is a hostname, a machine-id, or its first letters (four at least); without it, this machine. One that is not
    in this machine's group is looked for in all others.
    """
    wanted = machine or session.machine_id
    try:
        view, machine_id = session.with_store(lambda store: _locate(session.config.group, wanted, store))
    except StoreUnavailableError:
        if machine is not None or as_json:
            raise
        _tell_local()
        raise
    found = case(view, machine_id, datetime.now().astimezone(), session.config.halt.after)
    sentences = explain(found)
    if view.group != session.config.group:
        sentences = [with_group(sentence, view.group) for sentence in sentences]
    if as_json:
        print_json(_fields(found, sentences))
        return
    if view.group != session.config.group:
        note(f"{found.name} is in {group_name(view.group)}")
    say_all(line for sentence in sentences for line in _fitted(sentence))


def _tell_local() -> None:
    """Say what this machine's daemon says, which needs no etcd for that."""
    from locksmith.daemon.bus_service import Local, read_local
    from locksmith.host.dbus.bus import SystemBus

    async def ask() -> Local:
        async with SystemBus() as bus:
            return await read_local(bus)

    with contextlib.suppress(HostError):
        local = boottime.run(ask())
        reason = f" ({local.code}): {local.reason}" if local.code else ""
        say(*_fitted(f"This machine's locksmithd is {local.state}{reason}."))


def _fitted(sentence: str) -> list[str]:
    """Break a sentence between words where a terminal would within them; piped it stays a line."""
    line = one_line(pasteable(sentence))
    return wrapped(line, width()) if sys.stdout.isatty() else [line]


async def _locate(group: str, wanted: str, store: Store) -> tuple[GroupView, str]:
    """Find a machine in its own group first, then in all others; one that is nowhere is shown in this one."""
    own = await read_group(store, group)
    if matches := find(own, wanted):
        return own, choose(matches, wanted, f" in {group_name(own.group)}")
    async for view in _others(store, group):
        if matches := find(view, wanted):
            return view, choose(matches, wanted, f" in {group_name(view.group)}")
    if is_machine_id(wanted):
        return own, wanted
    raise LockError(f"no machine here is called {wanted}, nor has an id that begins so: see `locksmithctl nodes`")


async def _others(store: Store, group: str) -> AsyncIterator[GroupView]:
    try:
        names = await list_groups(store)
    except StoreRefusedError as error:
        note(f"other groups are not searched: {error}")
        return
    for name in names:
        if name == group:
            continue
        try:
            yield await read_group(store, name)
        except LocksmithError as error:
            note(f"{group_name(name)} is passed over: {with_group(str(error), name)}")


def _fields(found: Case, sentences: list[str]) -> dict[str, object]:
    view = found.view
    return {
        "group": view.group,
        "id": found.machine_id,
        "name": found.name,
        "present": found.node is not None,
        "node": node_fields(found.node) if found.node else None,
        "position": found.place,
        "waiting": len(view.waiters),
        "holding": holder_fields(found.held) if found.held else None,
        "why": sentences,
    }
