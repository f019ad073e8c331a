"""No text of a machine is a command to an operator: what it says has no backquotes, wherever it is said."""

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.fleet.case import case
from locksmith.fleet.explain import explain
from locksmith.fleet.past import Past, past_fields
from locksmith.fleet.reader import read_group, read_slots
from locksmith.fleet.slots import busy_words
from locksmith.lock.history import History
from locksmith.lock.records import claim, incident, keys, member, node, order, semaphore, states, waiter
from locksmith.lock.records.claim import COMMITTED, FAILED, MANUAL, REBOOT, Claim
from locksmith.lock.records.event import Event
from locksmith.lock.records.incident import LOST, Incident, sentence
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.shown import shown
from locksmith.lock.records.waiter import Waiter
from locksmith.lock.records.went_wrong import incidents
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.util.commands import with_group
from locksmith.util.words import quoted
from tests.sim.virtual_time import run

NOW = datetime.now(UTC)
AGO = NOW - timedelta(hours=1)
G, N1, N2 = "web", "1" * 32, "2" * 32
SAID = "`locksmithctl unlock --force x`"
TAMED = SAID.replace("`", "'")
SHOWN = Node(N1, "n1", "boot", G, "server", states.WAITING, AGO, code="retry", need="apt", need_since=AGO)
HELD = Claim(N1, REBOOT, "nonce", AGO, "locksmithd", "n1", "boot")


def shows(**changes):
    return {keys.node_key(G, N1): node.encode(replace(SHOWN, **changes))}


def holds(**changes):
    held = replace(HELD, **changes)
    slots = semaphore.encode(Semaphore(1, (held.holder,)))
    return {keys.semaphore_key(G): slots, keys.holder_key(G, held.holder): claim.encode(held)}


def waits(place=1, **changes):
    return {f"{keys.waiters_prefix(G)}{place:08}": waiter.encode(Waiter.of(replace(HELD, **changes)))}


def expired(**changes):
    return {keys.incidents_key(G): incident.encode([Incident(replace(HELD, **changes), LOST, SAID)])}


def ordered(key, **changes):
    return {key: order.encode(Order(**{"who": "olga", "since": AGO, **changes}))}


@pytest.mark.parametrize(
    "records",
    [
        shows(hostname=SAID),
        shows(reason=SAID),
        shows(code="strange", reason=SAID),
        shows(state=states.STUCK, reason=SAID),
        shows(state=SAID),
        shows(need=SAID),
        shows(need_reasons=(SAID,)),
        shows(need="update-engine", need_version=SAID),
        shows(clone=SAID),
        holds(hostname=SAID),
        holds(state=FAILED, failure=SAID),
        holds(state=COMMITTED, reason=SAID),
        holds(kind=MANUAL, who=SAID),
        holds(kind=SAID),
        holds(kind=MANUAL, holder=SAID, reason="a name"),
        {**shows(), **waits(1, holder=N2, hostname=SAID), **waits(2), **holds(holder="x")},
        expired(hostname=SAID),
        {keys.absent_key(G, N1): member.encode(Member(N1, "n1", AGO, gone=AGO, need=SAID))},
        {**shows(), **ordered(keys.freeze_key(G), reason=SAID)},
        {**shows(), **ordered(keys.hold_key(G, N1), who=SAID)},
        {**shows(), **ordered(keys.spacing_key(G), who=SAID)},
        {**holds(), keys.holder_key(G, N1): json.dumps({**json.loads(claim.encode(HELD)), "since": SAID}).encode()},
    ],
)
def test_what_a_machine_says_names_no_command_to_an_operator(records):
    async def story(_loop):
        store = MemoryStore(MemoryServer())
        for key, value in records.items():
            await store.create(key, value, ttl=1e6)
        view, slots = await read_group(store, G), await read_slots(store, G)
        wrong = view.incidents(NOW)
        others = (N2, *view.semaphore.holders)
        said = [*(one for who in (N1, *others) for one in explain(case(view, who, NOW))), sentence(wrong)]
        said += [busy_words(slots, NOW), *map(str, view.problems)]
        assert any(TAMED in one for one in said), said
        for one in said:
            assert SAID not in one
            assert "unlock --force x`" not in with_group(one, G)

    run(story)


def test_ids_stay_as_they_are_for_what_is_done_by_them():
    held = replace(HELD, holder="a`b", nonce="`", reason="`x`")
    assert shown(held) == replace(held, reason="'x'")
    assert shown(Incident(held, LOST)) == Incident(shown(held), LOST)
    assert shown(replace(SHOWN, claim="`")).claim == "`"


def test_what_a_machine_did_names_no_command_in_the_history():
    async def story(_loop):
        history = History(MemoryStore(MemoryServer()), G)
        said = Event(AGO, SAID, who=SAID, reason=SAID, detail=SAID, hostname=SAID, kind=SAID, version=SAID, host=SAID)
        await history.add(said)
        told = json.dumps(past_fields(Past(await history.read(10), []), NOW))
        assert (told.count(TAMED), told.count("`")) == (8, 0)

    run(story)


def test_what_is_logged_of_a_claim_or_an_order_names_no_command():
    """Such as the reason of a daemon's wait: its journal has commands with the group that they are about."""
    assert TAMED in replace(HELD, reason=SAID).describe()
    assert TAMED in Order(SAID, AGO).describe()
    [wrong] = incidents([replace(HELD, state=FAILED, failure=SAID)], {}, (), NOW)
    assert TAMED in sentence([wrong])
    assert sentence([wrong]).count("`") == 2  # our own


@pytest.mark.parametrize("name", [SAID, "a`b", "it's `7`\\140", "`"])
def test_a_command_about_an_id_with_backquotes_has_none_and_can_be_pasted(name):
    assert "`" not in quoted(name)
    run_by_shell = subprocess.run(["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, check=True)
    assert run_by_shell.stdout.decode() == name
