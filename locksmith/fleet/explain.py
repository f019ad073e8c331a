"""Why a machine does not reboot: plain sentences of everything that keeps it from its reboot, in their order. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from locksmith.fleet.case import Case, case
from locksmith.fleet.group import GroupView
from locksmith.fleet.group_sentences import of_orders, of_others, of_queue, of_values
from locksmith.fleet.machine_sentences import of_absent, of_aliases, of_machine, of_window
from locksmith.fleet.phrases import group_name
from locksmith.lock.records.node import Node
from locksmith.lock.records.semaphore import Semaphore
from locksmith.util.zincati import client_of


def explain(found: Case) -> list[str]:
    """Say why the machine does not reboot, what it waits for, and until when."""
    sentences = [
        *of_machine(found),
        *of_aliases(found),
        *of_queue(found),
        *of_others(found),
        *of_window(found),
        *of_orders(found),
        *_of_client(found),
        *of_values(found.view),
    ]
    return [sentence for sentence in sentences if sentence]


def _of_client(found: Case) -> Iterator[str]:
    """Say what the machine's Zincati does, if a FleetLock server knows of it."""
    client = client_of(found.machine_id)
    own = case(found.view, client, found.now, found.halt_after)
    if client and (own.node is not None or own.held is not None or own.place is not None):
        yield f"Its Zincati asks a FleetLock server for slots, as {client}."
        yield from of_machine(own)
        yield from of_queue(own)


def explain_alone(node: Node, now: datetime) -> list[str]:
    """Say what a machine's own daemon knows of the same; no store is asked."""
    found = Case(GroupView(node.group, Semaphore()), node.machine_id, node, None, None, now, alone=True)
    return [sentence for sentence in (*of_machine(found), *of_window(found)) if sentence]


def explain_stopped(found: Case, name: str) -> list[str]:
    """Say what the store knows of a machine, called `name`, whose daemon does not run: what it last showed is over."""
    stopped = replace(found, node=None)
    if found.held is not None or found.place is not None:
        first = [*of_absent(stopped)]
    else:
        first = [f"{name} shows no presence in {group_name(found.view.group)}."]
    sentences = [*first, *of_orders(stopped), *of_values(found.view)]
    return [sentence for sentence in sentences if sentence]
