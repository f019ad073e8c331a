"""`resume`: what went wrong is acknowledged, and the store is believed as it is, another etcd cluster included."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import click

from locksmith.cli.commands.freeze import group_option, order_of
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import json_flag, note, print_json, say
from locksmith.cli.session import Session, author, pass_session, reason_option
from locksmith.errors import LocksmithError, UsageError
from locksmith.fleet import acts
from locksmith.fleet.fields import incident_fields
from locksmith.fleet.phrases import group_name
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.keys import resume_key
from locksmith.lock.records.order import Order
from locksmith.store.cluster import parse_id
from locksmith.store.protocol import Store
from locksmith.util.jsonread import BadJsonError
from locksmith.util.words import quoted


@dataclass
class _Resume:
    """One `resume`. `before` is the etcd cluster whose place this one has taken (empty: none), `now` this one's id."""

    group: str
    order: Order
    before: str = ""
    now: str = ""
    done: list[Incident] = field(default_factory=list)

    @property
    def succession(self) -> str:
        """Say which cluster counts instead of which."""
        return f"etcd cluster {self.now} takes the place of {self.before}"

    async def say(self, store: Store) -> None:
        """Say it, in the cluster that has counted before."""
        orders = OperatorOrders(store, self.group)
        await acts.resume(orders, author(), self.order, self.done, succession=self.succession if self.before else "")

    async def say_in_new_cluster(self, store: Store, cluster: Callable[[], str]) -> None:
        """Say it in the cluster that answers, and name both."""
        await store.get(resume_key(self.group))
        self.now = cluster()
        if self.now == self.before:
            raise UsageError(f"cluster {self.now} is the one that answers: no other has taken its place")
        self.order = replace(self.order, cluster=self.now, replaces=(self.before,))
        await self.say(store)


@click.command(cls=GoCommand)
@reason_option
@click.option(
    "--replaces", cls=GoOption, metavar="CLUSTER", help="The etcd cluster whose place this one has taken, by its id."
)
@group_option
@json_flag
@pass_session
def resume(session: Session, *, reason: str, replaces: str | None, as_json: bool) -> None:
    """Let a halted group go on: acknowledge every reboot of it that went wrong, by name.

    Their slots stay taken until those machines are healthy, or are unlocked. The next that goes wrong halts again. Also
    the word that a store which was restored from a backup is to be believed. With --replaces, machines that have seen
    that other etcd cluster believe this one from now on.
    """
    order, _ = order_of(reason, None, None)
    work = _Resume(session.group_config().group, order, _cluster(replaces) if replaces is not None else "")
    try:
        if work.before:
            session.with_new_cluster(work.say_in_new_cluster)
        else:
            session.with_store(work.say)
    except LocksmithError:
        for one in work.done:
            note(f"acknowledged: {one.describe()}")
        if work.done:
            note("That may not be all: see `locksmithctl nodes`, and run `locksmithctl resume` again")
        raise
    _tell(work, as_json=as_json)


def _tell(work: _Resume, *, as_json: bool) -> None:
    if as_json:
        found = [{**incident_fields(one), "words": one.describe()} for one in work.done]
        succession = {"cluster": work.now, "replaces": work.before} if work.before else {}
        print_json({"group": work.group, "acknowledged": found, **succession})
        return
    for one in work.done:
        say(f"acknowledged: {one.describe()}")
    if work.before:
        say(f"{work.succession}: the machines of {group_name(work.group)} believe it from now on")
    say(f"{group_name(work.group)} may reboot" + ("" if work.done or work.before else ": nothing had gone wrong in it"))


def _cluster(text: str) -> str:
    try:
        return parse_id(text.removeprefix("0x"), 16, "--replaces")
    except BadJsonError:
        words = "name the cluster by its id, in hexadecimal, as `locksmithctl why` and etcd's log have it"
        raise UsageError(f"--replaces {quoted(text)}: {words}") from None
