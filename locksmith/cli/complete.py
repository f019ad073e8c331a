"""What a shell offers for an argument: machines, groups, sets of windows and what else the store or this machine knows.

A completion never waits for long, prints no error, and changes nothing: where the store is away, nothing is offered.
"""

import faulthandler
import os
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from locksmith.config.model import Config
    from locksmith.lock.records.member import Member
    from locksmith.lock.records.node import Node
    from locksmith.store.protocol import Entry, Store

LIMIT = 1.0
"""Seconds for the store to answer."""
HARD_LIMIT = 3.0
"""Seconds after which the process ends, if a bus, a name server or a thread of a library holds it up."""
MOST = 1000
"""Machines that are read at most: a larger fleet is not offered as a whole."""
GROUP = "locksmith.group"
"""Where a group that was typed after the command is kept, in click's `meta`."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")
"""The names that are offered. Others would need quotes, and a shell might run what a machine has in its name."""

Offer = Callable[[click.Context, click.Parameter, str], list[str]]
Read = Callable[["Store", str], Coroutine[None, None, Iterable[str]]]


def keep_quiet(program: str, environ: Mapping[str, str] = os.environ) -> None:
    """If a shell asks for completions, leave standard error alone, and end in any case after `HARD_LIMIT`."""
    if environ.get(f"_{program.upper()}_COMPLETE"):  # click takes an empty variable for none
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        faulthandler.dump_traceback_later(HARD_LIMIT, exit=True, file=nowhere)


def _from_store(read: Read) -> Offer:
    """Make what offers names that are read from the store."""

    def offer(context: click.Context, _param: click.Parameter, typed: str) -> list[str]:
        try:
            found = _read(context, read)
        except Exception:  # noqa: BLE001 - the settings, the store or a record may be wrong in any way: nothing is offered
            return []
        return _fitting(found, typed)

    return offer


def _read(context: click.Context, read: Read) -> list[str]:
    from locksmith.cli.local_daemon import ask_daemon, was_started
    from locksmith.config.load import load_tool
    from locksmith.host.paths import Paths
    from locksmith.util import boottime

    flags, group, paths = context.find_root().params, context.meta.get(GROUP), Paths.from_environment()
    daemon = boottime.run(ask_daemon(paths)).settings if was_started(paths) else None
    config = load_tool(paths, os.environ, flags if group is None else {**flags, "group": group}, daemon)
    return list(boottime.run(_ask(config, read)))


async def _ask(config: "Config", read: Read) -> Iterable[str]:
    import asyncio

    from locksmith.store.connect import open_store

    store = open_store(replace(config.store, timeout=min(LIMIT, config.store.timeout)))
    try:
        async with asyncio.timeout(LIMIT):
            return await read(store, config.group)
    finally:
        await store.close()


def _fitting(names: Iterable[str], typed: str) -> list[str]:
    return sorted({name for name in names if name.startswith(typed) and _PLAIN.fullmatch(name)})


async def _present(store: "Store", group: str) -> Iterable[str]:
    """Name the machines that are present."""
    return _short(await _host_names(store, group))


async def _absent(store: "Store", group: str) -> Iterable[str]:
    """Name the machines that are remembered and not present."""
    from locksmith.lock.records import keys, member

    there = await _host_names(store, group)
    gone = {}
    for prefix in (keys.members_prefix(group), keys.absent_prefix(group)):
        for entry in (await store.list(prefix, limit=MOST)).entries:
            machine_id = keys.unsegment(entry.key.rpartition("/")[2])
            if machine_id not in there:
                gone[machine_id] = _host_name(member.decode, entry, machine_id)
    return _short(gone)


async def _holding(store: "Store", group: str) -> Iterable[str]:
    """Name the holders of slots; a legacy lock has no name but its id."""
    from locksmith.lock.records import keys, semaphore

    entry = (await store.get(keys.semaphore_key(group))).entry
    holders = semaphore.decode(entry.value, entry.key).holders if entry else ()
    names = await _host_names(store, group)
    return _short({holder: names.get(holder, "") for holder in holders})


async def _held_back(store: "Store", group: str) -> Iterable[str]:
    """Name the machines that an operator holds back."""
    from locksmith.lock.records import keys
    from locksmith.util.zincati import client_of

    prefix = keys.holds_prefix(group)
    held = [keys.unsegment(entry.key.removeprefix(prefix)) for entry in (await store.list(prefix)).entries]
    names = await _host_names(store, group)
    clients = {client_of(machine_id) for machine_id in held}  # a machine's name means its Zincati too
    return _short({machine_id: names.get(machine_id, "") for machine_id in held if machine_id not in clients})


async def _groups(store: "Store", _group: str) -> Iterable[str]:
    from locksmith.fleet.reader import list_groups

    return await list_groups(store)


async def _airlock_groups(store: "Store", _group: str) -> Iterable[str]:
    from locksmith.lock.airlock_import import airlock_groups

    return await airlock_groups(store)


async def _window_sets(store: "Store", _group: str) -> Iterable[str]:
    from locksmith.lock.window_sets import WindowStore

    return await WindowStore(store).read_all()


async def _host_names(store: "Store", group: str) -> dict[str, str]:
    """Give the host names of the machines that are present, by their ids; empty: its record cannot be read."""
    from locksmith.lock.records import keys, node

    prefix, found = keys.nodes_prefix(group), {}
    for entry in (await store.list(prefix, limit=MOST)).entries:
        machine_id = keys.unsegment(entry.key.removeprefix(prefix))
        found[machine_id] = _host_name(node.decode, entry, machine_id)
    return found


def _host_name(decode: "Callable[[bytes, str, str], Node | Member]", entry: "Entry", machine_id: str) -> str:
    from locksmith.errors import CorruptValueError

    try:
        return decode(entry.value, entry.key, machine_id).hostname
    except CorruptValueError:
        return ""


def _short(names: Mapping[str, str]) -> list[str]:
    """Give each machine the shortest name that means it alone: a short host name, a host name, its id."""
    ways = [{key: name.partition(".")[0] for key, name in names.items()}, dict(names)]
    offered = []
    for machine_id in names:
        known = (way[machine_id] for way in ways if list(way.values()).count(way[machine_id]) == 1)
        offered.append(next((name for name in known if name), machine_id))
    return offered


def _of_entry_points(group: str, *more: str) -> Offer:
    """Make what offers the plugins that are installed on this machine."""

    def offer(_context: click.Context, _param: click.Parameter, typed: str) -> list[str]:
        from importlib.metadata import entry_points

        return _fitting([*more, *(point.name for point in entry_points(group=group))], typed)

    return offer


def _states(_context: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    from locksmith.lock.records import states

    return _fitting([*states.ALL, *SHOWN_STATES], typed)


SHOWN_STATES = (
    *("queued", "absent", "lost", "overdue", "orphaned", "manual", "legacy"),
    *("window", "halt", "freeze", "hold"),
)
"""States of `nodes` that no machine says of itself."""


def _targets(_context: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    """Offer the targets of the notifications that this machine's configuration has."""
    from locksmith.config.load import load_notify
    from locksmith.host.paths import Paths

    try:
        return _fitting(load_notify(Paths.from_environment(), os.environ).notify.targets, typed)
    except Exception:  # noqa: BLE001 - as in `_from_store`
        return []


machines, absent_machines = _from_store(_present), _from_store(_absent)
holders, held_machines = _from_store(_holding), _from_store(_held_back)
groups, window_sets = _from_store(_groups), _from_store(_window_sets)
groups_of_airlock = _from_store(_airlock_groups)
states_of_machines = _states
targets = _targets
strategies = _of_entry_points("locksmith.strategies")
triggers = _of_entry_points("locksmith.triggers", "operator")
