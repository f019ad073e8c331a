"""`why`: everything that keeps a machine from its reboot, in plain sentences, from any machine."""

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from locksmith.cli import complete
from locksmith.cli.choose import choose
from locksmith.cli.empty import not_empty
from locksmith.cli.go_flags import GoCommand
from locksmith.cli.output import json_flag, note, print_json, say_all
from locksmith.cli.pasted import pasteable
from locksmith.cli.session import Session, pass_session
from locksmith.cli.table import width
from locksmith.cli.without_store import asked_server, names_store, never_reboots, shares_store
from locksmith.errors import CorruptValueError, HostError, LockError, LocksmithError, StoreError, StoreRefusedError
from locksmith.fleet.case import Case, as_its_daemon_says, case
from locksmith.fleet.explain import explain, explain_alone, explain_stopped
from locksmith.fleet.fields import case_fields, node_fields
from locksmith.fleet.group import GroupView
from locksmith.fleet.lookup import find, is_machine_id
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import list_groups, read_group
from locksmith.host.hostname import read_hostname
from locksmith.store.protocol import Store
from locksmith.util import boottime
from locksmith.util.commands import with_group, wrapped
from locksmith.util.records import optional_moment
from locksmith.util.text import one_line

if TYPE_CHECKING:
    from locksmith.cli.own_machine import OwnMachine


@click.command(cls=GoCommand)
@click.argument(
    "machine",
    metavar="[MACHINE]",
    required=False,
    callback=not_empty("MACHINE", "give a machine-id or a host name, or leave it out for this machine"),
    shell_complete=complete.machines,
)
@json_flag
@pass_session
def why(session: Session, *, machine: str | None, as_json: bool) -> None:
    """Say why a machine does not reboot, what it waits for, and until when.

    MACHINE is a machine-id, its first letters (four at least), a host name, or a short host name; without it, this
    machine. One that is not in this machine's group is looked for in all others. Of this machine its own daemon is
    asked too: that needs no etcd, and none is asked where the strategy uses none.
    """
    answer = _answer(session, machine)
    if as_json:
        print_json(answer.fields)
        return
    for text in answer.notes:
        note(text)
    say_all(line for sentence in answer.sentences for line in _fitted(sentence))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is said, and the same for scripts. `notes` are no part of the result."""

    sentences: list[str]
    fields: dict[str, object]
    notes: tuple[str, ...] = ()


def _answer(session: Session, machine: str | None) -> _Answer:
    own = _own(session, machine)
    if own is not None and _is_alone(session, own):
        return _alone(session, own, None)
    try:
        found = _of_store(session, machine or session.machine_id)
    except (StoreError, CorruptValueError) as error:
        if own is None:
            raise
        return _alone(session, own, error)
    if own is None or found.machine_id != session.machine_id:
        sentences = explain(found)
    elif own.runs:
        found = as_its_daemon_says(found, own.node)
        sentences = [*own.sentences(found.now), *explain(found)]
    else:
        sentences = [*own.sentences(found.now), *explain_stopped(found, read_hostname(session.paths))]
    notes: tuple[str, ...] = ()
    if (group := found.view.group) != session.config.group:
        sentences = [with_group(sentence, group) for sentence in sentences]
        notes = (f"{found.name} is in {group_name(group)}",)
    return _Answer(sentences, {**case_fields(found, sentences), **_daemon_fields(own)}, notes)


def _is_alone(session: Session, own: "OwnMachine") -> bool:
    """Tell whether this machine coordinates with no store. Where no daemon runs, a store that was named is asked."""
    if names_store(session.flags) and not own.runs:
        return False
    return not shares_store(session.config, session.paths, own.strategy)


def _of_store(session: Session, wanted: str) -> Case:
    view, machine_id = session.with_store(lambda store: _locate(session.config.group, wanted, store))
    return case(view, machine_id, datetime.now().astimezone(), session.config.halt.after)


def _own(session: Session, machine: str | None) -> "OwnMachine | None":
    """Ask this machine's daemon, if the question is about this machine; None: it is not."""
    from locksmith.cli.own_machine import observe

    name = read_hostname(session.paths)
    try:
        machine_id = session.machine_id
    except HostError:
        if machine is None:
            raise
        return None
    if machine is not None and machine.lower() not in {machine_id, name.lower(), name.partition(".")[0].lower()}:
        return None
    return boottime.run(observe(session.config, session.paths, machine_id))


def _alone(session: Session, own: "OwnMachine", error: LocksmithError | None) -> _Answer:
    """Answer for this machine without a store: what its daemon says, or its triggers; then what stays unknown."""
    now = datetime.now().astimezone()
    sentences = own.sentences(now)
    if own.node is not None:
        sentences += explain_alone(own.node, now)
    elif own.local is not None:
        reason = f" ({own.local.code}): {own.local.reason}" if own.local.code else ""
        sentences.append(f"This machine's locksmithd is {own.local.state}{reason}.")
    strategy = own.strategy or session.config.strategy
    if error is None and not own.runs and never_reboots(session.config, session.paths):
        sentences[0] = f"The strategy is {strategy}: locksmithd never reboots this machine, and ends after its start."
        if not_configured := session.config.not_configured:
            sentences[0] = f"{not_configured[0].upper()}{not_configured[1:]}."
    elif error is None:
        server = asked_server(session.config, session.paths, own.strategy)
        binds = f"{server} decides" if server else "it coordinates with no store, so no queue and no order binds it"
        sentences.append(f"Its strategy is {strategy}: {binds}.")
    else:
        why = ", for the same reason" if any(str(error) in sentence for sentence in sentences) else f": {error}"
        sentences.append(f"Its group, its queue and the orders of operators are not known{why}.")
    fields = {
        "group": own.node.group if own.node else session.config.group,
        "id": session.machine_id,
        "name": own.node.name if own.node else read_hostname(session.paths),
        "present": False,
        "node": node_fields(own.node) if own.node else None,
        "position": None,
        "waiting": None,
        "holding": None,
        "why": sentences,
        "store": str(error) if error else None,
        **_daemon_fields(own),
    }
    return _Answer(sentences, fields)


def _daemon_fields(own: "OwnMachine | None") -> dict[str, object]:
    """Give whether this machine's daemon runs, and since when it does not; nothing of another machine."""
    if own is None:
        return {}
    stopped = own.service.since if own.service else None
    return {"daemon": {"runs": own.runs, "stopped": optional_moment(stopped) or None}}


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
    if is_machine_id(wanted.lower()):
        return own, wanted.lower()
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
