"""`forget-claim`: the way out for a machine whose claim was made at a store that is gone for good."""

import sys
from dataclasses import replace

import click

from locksmith.agent.fleet_server import SERVER
from locksmith.agent.journal import Hooks, JournalEntry, Phase, target_of
from locksmith.agent.strategy import AsksServer, asks_server
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import ask, json_flag, note, print_json, say
from locksmith.cli.session import Session, pass_session
from locksmith.cli.wake import wake_daemon
from locksmith.errors import HostError, LockError, LocksmithError, StoreError, UsageError
from locksmith.fleet.phrases import group_name
from locksmith.host.journal import JournalFile
from locksmith.host.operator_lock import OperatorLock
from locksmith.lock.guarded import Guarded
from locksmith.lock.successor import Whereabouts
from locksmith.store.connect import open_store
from locksmith.store.settings import V2
from locksmith.util import boottime, records
from locksmith.util.words import quoted


@click.command("forget-claim", cls=GoCommand)
@click.option("--yes", "sure", cls=GoOption, is_flag=True, help="Ask no question.")
@json_flag
@pass_session
def forget_claim(session: Session, *, sure: bool, as_json: bool) -> None:
    """Forget this machine's claim at a store that is gone for good: locksmithd cannot release it there.

    The command says what the claim is, asks that store once more, and asks you. It frees no slot. If the store answers,
    and the machine has a slot there, it refuses: locksmithd releases that slot. Needs root.
    """
    from locksmith.daemon.assembly import target_of as target_of_config
    from locksmith.host.boot import read_boot_id

    journal = JournalFile(session.paths, session.machine_id)
    entry = journal.read().entry
    if entry is None:
        _tell(session, None, as_json=as_json)
        return
    if OperatorLock(session.paths).is_held():
        raise HostError("a `locksmithctl reboot` on this machine uses the claim: nothing was forgotten")
    # Also under a strategy without a lock: locksmithd releases there what the tool has claimed.
    if target_of(entry) == replace(target_of_config(session.config), strategy=entry.strategy):
        raise LockError(
            "the claim was made at the lock that is configured, so locksmithd releases it there: nothing was "
            "forgotten; `locksmithctl why` says what it waits for"
        )
    server = _server(session, entry)
    problem = boottime.run(_ask_server(server) if server is not None else _ask_store(session, entry))
    for line in _words(entry, problem, server.server if server is not None else ""):
        note(line)
    if not sure:
        if not sys.stdin.isatty():
            raise UsageError("standard input is no terminal, so no question can be asked: use --yes")
        if not ask("Forget this claim?"):
            raise LockError("nothing was forgotten")
    journal.forget(entry.claim.nonce, read_boot_id(session.paths))
    wake_daemon(session.paths)
    _tell(session, entry, as_json=as_json)


def _server(session: Session, entry: JournalEntry) -> AsksServer | None:
    """Give the strategy of a claim whose slot a server has granted; None: a store has its slot."""
    from locksmith.daemon.assembly import make_strategy

    try:
        return asks_server(make_strategy(session.config, target_of(entry), session.paths))
    except UsageError:
        return None


async def _ask_server(server: AsksServer) -> str:
    """Ask a server whether it is there; give why it is not. `LockError`: it is, so locksmithd releases the slot."""
    try:
        says = await server.contact()
    except LocksmithError as error:
        return str(error)
    raise LockError(
        f"{server.server} {says}: locksmithd releases the slot there, so nothing was forgotten; `locksmithctl why` "
        "says what it waits for"
    )


async def _ask_store(session: Session, entry: JournalEntry) -> str:
    """Ask the claim's own store whether it has a slot; give why that is not known (empty: it has none).

    `LockError`: it has one, which locksmithd can release.
    """
    if entry.strategy == SERVER:
        return "no server can be asked, as the configuration has none: see [fleet-server]"
    settings = replace(session.config.store, api=entry.api, endpoints=entry.endpoints)
    here = Whereabouts()
    store = open_store(settings, observer=here)
    try:
        found = await Guarded(store, entry.group).holder_state(entry.claim.holder)
    except StoreError as error:
        return str(error)
    finally:
        await store.close()
    if entry.cluster and here.position.cluster != entry.cluster:
        return f"etcd cluster {here.position.cluster} answers there now"
    if found.holds(entry.claim):
        where = ", ".join(entry.endpoints)
        raise LockError(
            f"the store at {where} answers, and this machine has a slot there: name it in etcd.endpoints again, and "
            f"locksmithd releases the slot; or free it with `{_unlock(entry)}`, then run `locksmithctl forget-claim`"
        )
    return ""


def _unlock(entry: JournalEntry) -> str:
    group = f" -group={quoted(entry.group)}" if entry.group else ""
    at = f" -endpoint={quoted(','.join(entry.endpoints))}" if entry.endpoints else ""
    flags = f"{at}{' -etcd-api=2' if entry.api == V2 else ''}{group}".strip()
    return f"locksmithctl {flags} unlock {quoted(entry.claim.holder)}"


def _words(entry: JournalEntry, problem: str, server: str) -> list[str]:
    """Say what the claim is, and what is not done for it any more."""
    claim, cluster = entry.claim, f" (etcd cluster {entry.cluster})" if entry.cluster else ""
    reason = f" ({claim.reason})" if claim.reason else ""
    at = ", ".join(entry.endpoints) or "a locksmith-server"
    where = server or f"{at}{cluster}, for {group_name(entry.group)}"
    lines = [f"This machine's claim of {records.moment(claim.since)}{reason} was made at {where}."]
    if server:
        lines += [
            f"That server does not answer: {problem}",
            "Forgetting the claim frees no slot. If the server comes back, free the slot there.",
        ]
    elif problem:
        lines += [
            f"That store does not say whether the claim has a slot: {problem}",
            f"Forgetting the claim frees no slot. If the store comes back, run `{_unlock(entry)}`.",
        ]
    else:
        lines.append("That store answers, and the claim has no slot there.")
    if entry.phase is Phase.COMMITTED:
        lines.append("The claim is past its point of no return: its reboot is not verified any more.")
    if entry.hooks not in {Hooks.NONE, Hooks.FINISHED}:
        lines.append("Hooks before the reboot have run. Nothing undoes them: run what is in abort-reboot.d yourself.")
    return lines


def _tell(session: Session, entry: JournalEntry | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": session.machine_id, "forgotten": entry.claim.nonce if entry else None})
    elif entry is None:
        say("nothing to forget: the reboot journal names no claim")
    else:
        say("forgotten: locksmithd may ask for a slot at the configured store now")
