"""Reads everything the store knows about a group.

The parts are read one after another, not at one moment: nothing is decided by it.
"""

from collections.abc import Callable
from typing import TypeVar

from locksmith import keys, node, share, waiter
from locksmith.errors import CorruptValueError
from locksmith.group_view import GroupView
from locksmith.kv.store import Entry, Store
from locksmith.node import Node
from locksmith.rebootlock import RebootLock

T = TypeVar("T")


async def read_group(store: Store, group: str) -> GroupView:
    """Read all of a group. A semaphore that cannot be read is a `CorruptValueError`; others are its `problems`."""
    problems: list[CorruptValueError] = []

    def kept(parse: Callable[[Entry], T], entries: tuple[Entry, ...]) -> list[T]:
        found = []
        for entry in entries:
            try:
                found.append(parse(entry))
            except CorruptValueError as error:
                problems.append(error)
        return found

    def parse_node(entry: Entry) -> Node:
        machine_id = keys.unsegment(entry.key.removeprefix(keys.nodes_prefix(group)))
        return node.decode(entry.value, entry.key, machine_id)

    state = await RebootLock(store, group).read()
    line = (await store.list(keys.waiters_prefix(group))).entries
    present = (await store.list(keys.nodes_prefix(group))).entries
    shared = (await store.get(keys.share_key(group))).entry
    problems += [claim for claim in state.claims.values() if isinstance(claim, CorruptValueError)]
    return GroupView(
        group=group,
        semaphore=state.semaphore,
        claims=state.claims,
        waiters=tuple(kept(lambda entry: waiter.decode(entry.value, entry.key), line)),
        machines={machine.machine_id: machine for machine in kept(parse_node, present)},
        share=next(iter(kept(lambda entry: share.decode(entry.value, entry.key), (shared,) if shared else ())), None),
        problems=tuple(problems),
        revision=state.revision,
    )


async def list_groups(store: Store) -> list[str]:
    """Name every group that has anything in the store, the default one ("") where it has a semaphore or a machine."""
    named = [keys.group_of_folder(folder) for folder in await store.folders(keys.groups_prefix())]
    semaphore = (await store.get(keys.semaphore_key(""))).entry
    present = semaphore or (await store.list(keys.nodes_prefix(""), limit=1)).total
    return [*([""] if present else []), *sorted(named)]
