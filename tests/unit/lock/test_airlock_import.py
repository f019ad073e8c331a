"""The import from airlock on the store in memory: what is written, races, lost answers."""

import itertools
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from locksmith.errors import LockError, OutcomeUnknownError, StoreRefusedError, StoreUnavailableError
from locksmith.lock import client_cycle, client_presence
from locksmith.lock.airlock_import import AirlockImport, airlock_groups, plan_import
from locksmith.lock.airlock_plan import Outcome, Terms
from locksmith.lock.errors import OtherMachineError
from locksmith.lock.guarded import Guarded
from locksmith.lock.records import airlock, claim, incident, keys, node, semaphore
from locksmith.lock.records.airlock import AirlockSemaphore, TakenOver
from locksmith.lock.records.claim import COMMITTED, FLEETLOCK, SERVER
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.went_wrong import incidents
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.harness.airlock import Airlock, AirlockError, written
from tests.harness.fault_script import ANSWER_LOST, DROPPED, LATE, NEVER_SENT, FaultScript

GROUP = "default"
NOW = datetime(2026, 11, 29, 18, 0, tzinfo=UTC)
LIMIT = timedelta(minutes=15)
THERE = airlock.semaphore_key(GROUP)
HERE = keys.semaphore_key(GROUP)
MARK = keys.airlock_key(GROUP)
SHOWN = 2
"""Writes of presence before the swap, where two holders are taken over."""


class Move:
    """One etcd with one group, and an operator who imports it."""

    def __init__(self, there: bytes, *fates: str) -> None:
        self.server = MemoryServer()
        self.script = FaultScript(list(fates))
        self.store = MemoryStore(self.server, self.script)
        self.airlock = Airlock(MemoryStore(self.server), GROUP, 9)
        self.put(THERE, there)

    def put(self, key, value):
        self.server.put(key, value, self.server.read(key).version)

    def value(self, key):
        entry = self.server.read(key).entry
        return entry.value if entry else None

    def values(self, *besides):
        return {entry.key: entry.value for entry in self.server.list("", 0, None).entries if entry.key not in besides}

    @property
    def semaphore(self):
        return semaphore.decode(self.value(HERE), HERE)

    def record(self, holder):
        key = keys.holder_key(GROUP, holder)
        return claim.decode(self.value(key), key, holder)

    def presence(self, holder):
        key = keys.node_key(GROUP, holder)
        raw = self.value(key)
        return node.decode(raw, key, holder) if raw else None

    async def plan(self, terms=Terms()):  # noqa: B008 - immutable
        return await plan_import(MemoryStore(self.server), GROUP, terms)

    def start(self, planned, nonce="n1"):
        mark = TakenOver(
            nonce, NOW, "alice", "ops", planned.found, kept=planned.terms.holders, closed=planned.terms.closes
        )
        guarded = Guarded(self.store, GROUP, rng=Random(1), limit=5.0, clock=lambda: NOW)
        return AirlockImport(guarded, planned, mark, LIMIT)

    async def run(self, terms=Terms()):  # noqa: B008 - immutable
        await self.start(await self.plan(terms)).run()


async def test_a_holder_keeps_its_slot_and_is_shown_as_going_down():
    move = Move(written(3, "a", "b"))
    await move.run()
    assert move.value(HERE) == b'{"semaphore":1,"max":3,"holders":["a","b"]}'
    for holder in ("a", "b"):
        found = move.record(holder)
        assert (found.kind, found.who, found.state, found.commits) == (FLEETLOCK, SERVER, COMMITTED, 1)
        assert (found.hostname, found.since, found.taken) == (holder, NOW, NOW)
        shown = move.presence(holder)
        assert shown.claim == found.nonce
        assert shown.lasts == LIMIT.total_seconds() + node.TTL
        assert shown.written == NOW
    assert move.record("a").nonce != move.record("b").nonce


async def test_a_holder_is_lost_only_after_the_time_that_a_reboot_may_take():
    """Its machine may be down at the import, and has nothing to show itself with."""
    move = Move(written(2, "a"))
    await move.run()
    held = [move.record("a")]
    assert incidents(held, {"a": move.presence("a")}, [], NOW) == []
    # The store ends a presence by its lease.
    entry = move.server.read(keys.node_key(GROUP, "a")).entry
    assert entry is not None
    assert entry.lease
    [lost] = incidents(held, {}, [], NOW)
    assert lost.how == incident.LOST


async def test_airlock_is_closed_in_the_same_write_and_stays():
    move = Move(written(2, "a"))
    await move.run()
    assert move.value(THERE) == b'{"total_slots":0,"holders":[]}'
    for client in ("a", "b"):
        with pytest.raises(AirlockError, match="all 0 semaphore slots"):
            await move.airlock.pre_reboot(client)
        await move.airlock.steady_state(client)
    assert move.value(THERE) == b'{"total_slots":0,"holders":[]}'
    assert (await move.plan()).outcome is Outcome.DONE


async def test_the_mark_says_what_there_was():
    move = Move(written(2, "a"))
    await move.run()
    assert airlock.decode_mark(move.value(MARK), MARK) == TakenOver(
        "n1", NOW, "alice", "ops", AirlockSemaphore(2, ("a",))
    )


async def test_airlock_can_be_left_as_it_is():
    move = Move(written(2, "a"))
    await move.run(Terms(closes=False))
    assert move.value(THERE) == written(2, "a")
    assert move.semaphore == Semaphore(2, ("a",))
    assert (await move.plan()).outcome is Outcome.DONE


async def test_without_holders_no_slot_is_held():
    move = Move(written(2, "a", "b"))
    await move.run(Terms(holders=False))
    assert move.semaphore == Semaphore(2)
    assert set(move.values()) == {THERE, HERE, MARK}


async def test_holders_that_have_slots_here_already_keep_their_claims():
    move = Move(written(2, "a"))
    await move.run()
    before = move.record("a")
    move.put(THERE, written(3, "a"))
    await move.start(await move.plan(Terms(again=True)), "n2").run()
    assert move.semaphore == Semaphore(3, ("a",))
    assert move.record("a") == before


@pytest.mark.parametrize(
    "act",
    [
        lambda one: one.airlock.pre_reboot("c"),
        lambda one: one.airlock.steady_state("a"),
        lambda one: one.airlock.steady_state("stranger"),
    ],
)
@pytest.mark.parametrize("terms", [Terms(), Terms(closes=False), Terms(holders=False)])
async def test_an_airlock_that_writes_between_plan_and_write_is_noticed(act, terms):
    move = Move(written(3, "a"))
    planned = await move.plan(terms)
    await act(move)
    before = move.values()
    with pytest.raises(LockError, match=r"airlock has written .*default/v1/semaphore since it was shown.*stop it"):
        await move.start(planned).run()
    assert move.values() == before  # also no presence is left


async def test_a_grant_of_airlock_that_is_on_its_way_fails_once_the_group_is_imported():
    """It was decided from the semaphore as it was before."""
    move = Move(written(3, "a"))
    reading, fields = await move.airlock.read()
    await move.run()
    fields["holders"].append("late")
    with pytest.raises(AirlockError, match="conflict"):
        await move.airlock._set(fields, reading)
    assert move.semaphore == Semaphore(3, ("a",))


@pytest.mark.parametrize("key", [HERE, MARK, keys.share_key(GROUP)])
async def test_a_group_that_is_written_between_plan_and_write_is_left_alone(key):
    move = Move(written(2, "a"))
    planned = await move.plan()
    value = (
        semaphore.encode(Semaphore(1, ("daemon",)))
        if key == HERE
        else airlock.encode_mark(TakenOver("other", NOW, "bob", "", planned.found))
    )
    move.put(key, value)
    before = move.values()
    with pytest.raises(LockError, match="was written since it was shown; nothing was imported"):
        await move.start(planned).run()
    assert move.values() == before


@pytest.mark.parametrize("fate", [ANSWER_LOST, LATE, DROPPED])
async def test_a_lost_answer_is_resolved(fate):
    move = Move(written(2, "a", "b"), *["arrives"] * SHOWN, fate)
    await move.run()
    assert move.semaphore == Semaphore(2, ("a", "b"))
    assert move.value(THERE) == written(0)
    assert "applied" not in move.script.arrive_late()
    assert move.presence("a") is not None


async def test_a_lost_answer_is_resolved_also_after_a_client_has_moved_on():
    """The import was done, and what came after it is not undone."""
    move = Move(written(2, "a"), "arrives", ANSWER_LOST)

    async def freed():
        move.put(HERE, semaphore.encode(Semaphore(2)))
        record = keys.holder_key(GROUP, "a")
        await MemoryStore(move.server).delete(record, move.server.read(record).version)

    move.script.meanwhile = freed
    await move.run()
    assert move.semaphore == Semaphore(2)
    assert move.value(keys.holder_key(GROUP, "a")) is None


async def test_a_write_that_was_never_sent_leaves_nothing():
    move = Move(written(2, "a", "b"), *["arrives"] * SHOWN, NEVER_SENT)
    before = move.values()
    with pytest.raises(StoreUnavailableError):
        await move.run()
    assert move.values() == before


async def test_a_write_that_stays_unknown_keeps_the_presence():
    """It may have been applied, and a holder without presence would be lost at once."""
    move = Move(written(2, "a"), "arrives", *[DROPPED] * 99)
    planned = await move.plan()
    guarded = Guarded(move.store, GROUP, rng=Random(1), limit=0.0)
    mark = TakenOver("n", NOW, "alice", "", planned.found)
    with pytest.raises(OutcomeUnknownError):
        await AirlockImport(guarded, planned, mark, LIMIT).run()
    assert move.presence("a") is not None
    assert move.value(HERE) is None


HOLDERS = [f"{number:032x}" for number in range(120)]


@pytest.mark.parametrize("lost", [None, 0, 1, 2])
async def test_more_holders_than_one_transaction_takes(lost):
    fates = ["arrives"] * len(HOLDERS)
    move = Move(written(200, *HOLDERS), *fates, *(["arrives"] * lost + [ANSWER_LOST] if lost is not None else []))
    await move.run()
    assert move.semaphore == Semaphore(200, tuple(HOLDERS))
    assert {move.record(holder).state for holder in HOLDERS} == {COMMITTED}


async def test_a_record_of_many_is_not_written_again_after_the_import_was_done():
    """Its answer was lost, and meanwhile that client has reported its reboot."""
    gone = HOLDERS[-1]
    move = Move(written(200, *HOLDERS), *["arrives"] * (len(HOLDERS) + 2), ANSWER_LOST)

    async def freed():
        move.put(HERE, semaphore.encode(Semaphore(200, tuple(HOLDERS[:-1]))))
        record = keys.holder_key(GROUP, gone)
        await MemoryStore(move.server).delete(record, move.server.read(record).version)

    move.script.meanwhile = freed
    await move.run()
    assert len(move.semaphore.holders) == len(HOLDERS) - 1
    assert move.value(keys.holder_key(GROUP, gone)) is None


@pytest.mark.slow
@pytest.mark.parametrize("writes", range(3))
async def test_an_import_of_many_that_is_cut_short_holds_no_slot(writes):
    move = Move(written(200, *HOLDERS), *["arrives"] * (len(HOLDERS) + writes), *[NEVER_SENT] * 9)
    with pytest.raises(StoreUnavailableError):
        await move.run()
    assert move.value(HERE) is None
    assert move.value(THERE) == written(200, *HOLDERS)
    move.script.fates.clear()
    await move.start(await move.plan(), "n2").run()
    assert move.semaphore == Semaphore(200, tuple(HOLDERS))


async def test_the_groups_are_those_of_airlocks_keys():
    server = MemoryServer()
    store = MemoryStore(server)
    assert await airlock_groups(store) == []
    for group in ("web", "default", "a b"):
        server.put(airlock.semaphore_key(group), written(1), 0)
    server.put("com.coreos.airlock/groups/web/v2/semaphore", b"", 0)
    assert await airlock_groups(store) == ["a b", "default", "web"]


class Forbidding(MemoryStore):
    """A store whose user may not read airlock's keys."""

    async def list(self, prefix, **_more):
        raise StoreRefusedError(f"etcd refused to read {prefix}: permission denied")

    async def read(self, wanted):
        raise StoreRefusedError(f"etcd refused to read {wanted[0]}: permission denied")


async def test_missing_rights_name_the_prefix():
    store = Forbidding(MemoryServer())
    for refused in (airlock_groups(store), plan_import(store, GROUP, Terms())):
        with pytest.raises(
            StoreRefusedError, match=r"permission denied; .* `etcdctl role grant-permission ROLE --prefix"
        ):
            await refused


async def test_two_imports_at_once_do_it_once():
    move = Move(written(2, "a"))
    first, second = await move.plan(), await move.plan()
    await move.start(first, "n1").run()
    with pytest.raises(LockError, match="since it was shown"):
        await move.start(second, "n2").run()
    assert airlock.decode_mark(move.value(MARK), MARK).nonce == "n1"
    assert move.semaphore == Semaphore(2, ("a",))
    # What the second has shown before it failed is not what the first has shown; the holder stays present.
    assert move.presence("a").claim == move.record("a").nonce


async def test_a_holder_with_the_id_of_a_machine_with_a_daemon_is_no_client():
    move = Move(written(2, "a", "b"))
    own = node.encode(client_presence.presence_of(client_cycle.new_claim("b", "x", NOW, "b"), GROUP, NOW, None))
    move.put(keys.node_key(GROUP, "b"), own.replace(b'"strategy":"fleetlock"', b'"strategy":"etcd-lock"'))
    before = move.values()
    with pytest.raises(OtherMachineError, match="b"):
        await move.run()
    assert move.values() == before


async def test_never_more_clients_than_slots_whenever_airlock_writes():
    """airlock grants right before each call of the import: what it granted is taken over, or the import is refused."""
    for step in itertools.count():
        move = Move(written(2, "a"))

        class Busy(MemoryStore):
            calls = 0

            async def _carry(self, name, key, apply, *, write=False, move=move, step=step):
                Busy.calls += 1
                if Busy.calls == step + 1:
                    await move.airlock.pre_reboot("b")
                return await super()._carry(name, key, apply, write=write)

        move.store = Busy(move.server)
        try:
            await move.start(await plan_import(move.store, GROUP, Terms())).run()
        except LockError:
            assert move.value(THERE) == written(2, "a", "b")
            assert move.value(HERE) is None
        except AirlockError:
            assert move.semaphore.max == 2
        else:
            granted = {"a", "b"} if step < Busy.calls else {"a"}
            assert set(move.semaphore.holders) == granted, step
        if step >= Busy.calls:
            break
