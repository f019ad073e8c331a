"""Claims on the semaphore, with lost races and lost answers; `test_reboot_lock_table.py` has the operations without."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locksmith.errors import (
    ConflictError,
    CorruptValueError,
    LockError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from locksmith.lock.admin import LockAdmin
from locksmith.lock.errors import ChangedClaimError, FreedOrNotError, LostClaimError, SlotsBusyError
from locksmith.lock.guarded import Guarded
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, semaphore, share
from locksmith.lock.records.claim import MANUAL, Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.share import Share
from locksmith.lock.shown_holder import ShownHolder
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Also, Delete
from tests.builders.locks import KEY, SINCE, Bench, Moved, _stored, both_manners, claim, fates
from tests.harness.examples import times
from tests.harness.fault_script import ANSWER_LOST, DROPPED, LATE, NEVER_SENT, FaultScript, StepwiseStore


async def test_commit_is_possible_only_while_the_claim_holds():
    bench = Bench()
    await bench.lock.take(claim("n1"))
    await bench.lock.commit(claim("n1"))
    assert bench.record("n1") == claim("n1").committed()
    assert await bench.admin.unlock("n1") == claim("n1").committed()
    with pytest.raises(LostClaimError):
        await bench.lock.commit(claim("n1"))


def test_an_unlock_between_commits_read_and_write_wins_or_sees_the_commit():
    """Whichever comes first: a claim that was unlocked is not committed, one that was committed is unlocked as such."""

    async def story(stepwise: bool):
        for turns in range(12):
            bench = Bench(stepwise=stepwise)
            await bench.lock.take(claim("n1"))
            commit = asyncio.ensure_future(bench.lock.commit(claim("n1")))
            for _ in range(turns):
                await asyncio.sleep(0)
            undone = await LockAdmin(bench.calm.guarded).unlock("n1")
            outcome = (await asyncio.gather(commit, return_exceptions=True))[0]
            assert isinstance(outcome, float) == (undone is not None and undone.state == claim_record.COMMITTED)

    asyncio.run(story(stepwise=False))


@pytest.mark.parametrize("operation", ["take", "commit", "give_back", "unlock", "set_max", "read"])
async def test_a_corrupt_semaphore_is_refused_by_every_operation_and_never_overwritten(operation):
    bench = Bench()
    bench.put(b"<html>")
    calls = {
        "take": lambda: bench.lock.take(claim("n1")),
        "commit": lambda: bench.lock.commit(claim("n1")),
        "give_back": lambda: bench.lock.release(claim("n1"), fence_pending=True),
        "unlock": lambda: bench.admin.unlock("n1"),
        "set_max": lambda: bench.admin.set_max(3),
        "read": bench.lock.read,
    }
    with pytest.raises(CorruptValueError, match=KEY):
        await calls[operation]()
    assert bench.script.writes == 0


async def test_repair_makes_it_new_and_whoever_has_a_record_keeps_its_slot():
    bench = Bench()
    await bench.lock.take(claim("n/1"))
    assert await bench.admin.corruption() is None
    bench.put(b"garbage")
    raw, error = await bench.admin.corruption() or (b"", None)
    assert (raw, error and error.key) == (b"garbage", KEY)
    assert await bench.admin.repair(2, raw) == Semaphore(2, ("n/1",))
    assert bench.semaphore() == Semaphore(2, ("n/1",))
    with pytest.raises(ConflictError, match="changed meanwhile"):
        await bench.admin.repair(3, raw)


async def test_a_corrupt_record_is_shown_beside_the_others_and_removed_by_unlock():
    bench = Bench()
    await bench.admin.set_max(2)
    await bench.lock.take(claim("n1"))
    await bench.lock.take(claim("n2"))
    bench.put(b"{}", keys.holder_key("", "n1"))
    state = await bench.lock.read()
    assert isinstance(state.claims["n1"], CorruptValueError)
    assert state.claims["n2"] == claim("n2")
    with pytest.raises(CorruptValueError, match="locksmithctl unlock n1"):
        await bench.lock.release(claim("n1"))
    assert await bench.admin.unlock("n1") is None
    assert bench.record("n1") is None
    assert bench.semaphore().holders == ("n2",)


async def test_a_record_of_a_later_schema_is_read_and_keeps_what_is_unknown_here():
    bench = Bench()
    await bench.lock.take(replace(claim("n1"), schema=7, extra={"rack": {"row": 3}}))
    read = (await bench.lock.read()).claims["n1"]
    assert isinstance(read, Claim)
    await bench.lock.commit(read)
    record = bench.record("n1")
    assert record is not None
    assert (record.schema, record.extra, record.state) == (7, {"rack": {"row": 3}}, claim_record.COMMITTED)


@both_manners
@pytest.mark.parametrize("fate", [ANSWER_LOST, DROPPED])
@pytest.mark.parametrize("position", [0, 1])
async def test_a_take_whose_answer_is_lost_ends_with_one_slot_taken(fate, position, stepwise):
    bench = Bench(*["arrives"] * position, fate, stepwise=stepwise)
    await bench.lock.take(claim("n1"))
    assert bench.semaphore() == Semaphore(1, ("n1",))
    assert bench.record("n1") == claim("n1")


@both_manners
async def test_a_lost_take_that_arrives_after_its_repetition_changes_nothing(stepwise):
    bench = Bench(LATE, stepwise=stepwise)
    await bench.lock.take(claim("n1"))
    assert bench.script.arrive_late() == ["too late"]
    assert bench.semaphore() == Semaphore(1, ("n1",))


@both_manners
async def test_giving_up_a_take_whose_answer_was_lost_keeps_it_from_winning_later(stepwise):
    bench = Bench(*[LATE] * 50, stepwise=stepwise, limit=0.0)
    with pytest.raises(OutcomeUnknownError):
        await bench.lock.take(claim("n1"))
    bench.script.fates.clear()
    assert not await bench.lock.release(claim("n1"), fence_pending=True)
    late = bench.script.arrive_late()
    assert late
    assert bench.semaphore() == Semaphore(1)


async def test_without_settling_the_late_take_would_have_won():
    """The test above can fail: this is what it guards against."""

    bench = Bench(LATE, limit=0.0)
    with pytest.raises(OutcomeUnknownError):
        await bench.lock.take(claim("n1"))
    assert not await bench.lock.release(claim("n1"), fence_pending=False)
    assert bench.script.arrive_late() == ["applied"]
    assert bench.semaphore() == Semaphore(1, ("n1",))


async def test_an_outcome_that_was_unknown_stays_so_when_the_store_goes_away():
    bench = Bench(DROPPED, NEVER_SENT)
    with pytest.raises(OutcomeUnknownError):
        await bench.lock.take(claim("n1"))
    bench = Bench(NEVER_SENT)
    with pytest.raises(StoreUnavailableError):
        await bench.lock.take(claim("n1"))


async def test_a_lost_give_back_that_arrives_late_does_not_free_the_next_claim():
    bench = Bench()
    await bench.lock.take(claim("n1"))
    bench.script.fates = [LATE]
    await bench.lock.release(claim("n1"))
    await bench.lock.take(claim("n1", nonce="2"))
    assert bench.script.arrive_late() == ["too late"]
    assert bench.record("n1") == claim("n1", nonce="2")
    assert bench.semaphore().holders == ("n1",)


@both_manners
async def test_an_unlock_whose_answer_is_lost_says_what_it_undid_and_leaves_no_record(stepwise):
    bench = Bench(stepwise=stepwise)
    await bench.lock.take(claim("n1"))
    bench.script.fates = [ANSWER_LOST]
    assert await bench.admin.unlock("n1") == claim("n1")
    assert bench.semaphore() == Semaphore(1)
    assert bench.record("n1") is None


@both_manners
async def test_an_unlock_whose_answer_is_lost_leaves_the_next_claim_alone(stepwise):
    bench = Bench(stepwise=stepwise)
    await bench.lock.take(claim("n1"))
    bench.script.fates = [ANSWER_LOST]
    bench.script.meanwhile = lambda: bench.calm.take(claim("n1", "2", MANUAL))
    assert await bench.admin.unlock("n1") == claim("n1")
    assert bench.semaphore().holders == ("n1",)
    assert bench.record("n1") == claim("n1", "2", MANUAL)


@both_manners
async def test_an_unlock_that_never_arrived_is_repeated_after_others_wrote(stepwise):
    bench = Bench(stepwise=stepwise)
    await bench.lock.take(claim("n1"))
    bench.script.fates = [DROPPED]
    bench.script.meanwhile = lambda: bench.calm.commit(claim("n1"))
    assert await bench.admin.unlock("n1") == claim("n1").committed(), "the operator has to be warned"
    assert bench.semaphore().holders == ()


@both_manners
async def test_an_unlock_leaves_a_claim_alone_that_came_between_two_attempts(stepwise):
    """The claim that the operator meant has gone by itself; the next is another's."""

    async def changes_hands(bench):
        await bench.calm.release(claim("n1"))
        await bench.calm.take(claim("n1", "2", MANUAL))

    bench = Bench(stepwise=stepwise)
    await bench.calm.take(claim("n1"))
    moved = Moved(bench.store, lambda: changes_hands(bench))
    with pytest.raises(ChangedClaimError, match="came while another claim was being freed"):
        await LockAdmin(Guarded(moved, "", rng=Random(1))).unlock("n1")
    assert bench.record("n1") == claim("n1", "2", MANUAL)


@both_manners
@pytest.mark.parametrize("fate", [None, ANSWER_LOST, DROPPED])
async def test_what_was_shown_is_freed_while_it_stands_whatever_becomes_of_answers(stepwise, fate):
    bench = Bench(stepwise=stepwise)
    await bench.lock.take(claim("n1"))
    shown = ShownHolder(await bench.admin.inspect("n1"), absent=True)
    await LockAdmin(bench.calm.guarded).set_max(3)
    bench.script.fates = [fate] if fate else []
    assert await bench.admin.unlock("n1", shown) == claim("n1")
    assert (bench.semaphore().holders, bench.record("n1")) == ((), None)


async def test_a_machine_that_comes_back_at_the_very_moment_keeps_its_slot():
    """Its presence is guarded in the same write; on etcd v2 it is looked at right before."""

    bench = Bench()
    await bench.calm.take(claim("n1"))
    shown = ShownHolder(await LockAdmin(bench.calm.guarded).inspect("n1"), absent=True)
    comes_back = Moved(bench.store, lambda: bench.store.create(keys.node_key("", "n1"), b"{}"))
    with pytest.raises(ChangedClaimError, match="the machine n1 is present again; nothing was freed"):
        await LockAdmin(Guarded(comes_back, "", rng=Random(1))).unlock("n1", shown)
    assert bench.semaphore().holders == ("n1",)


async def test_the_late_attempt_of_an_unlock_that_was_refused_wins_no_more():
    bench = Bench()
    await bench.lock.take(claim("n1"))
    shown = ShownHolder(await bench.admin.inspect("n1"), absent=True)
    bench.script.fates = [LATE]
    bench.script.meanwhile = lambda: MemoryStore(bench.server).create(keys.node_key("", "n1"), b"{}")
    with pytest.raises(ChangedClaimError, match="is present again"):
        await bench.admin.unlock("n1", shown)
    assert bench.script.arrive_late() == ["too late"]
    assert bench.semaphore().holders == ("n1",)


async def test_a_record_that_cannot_be_read_is_freed_only_as_it_was_shown():
    bench = Bench()
    await bench.lock.take(claim("n1"))
    key = keys.holder_key("", "n1")
    rubbish = await bench.store.swap(key, b"rubbish", bench.server.read(key).version)
    shown = ShownHolder(await bench.admin.inspect("n1"))
    await bench.store.swap(key, b"more rubbish", rubbish.version)
    with pytest.raises(ChangedClaimError, match="the record of n1 was written since it was shown"):
        await bench.admin.unlock("n1", shown)
    assert await bench.admin.unlock("n1", ShownHolder(await bench.admin.inspect("n1"))) is None
    assert bench.semaphore().holders == ()


async def test_an_unlock_of_a_bare_id_that_may_have_been_freed_and_taken_again_stops():
    bench = Bench(ANSWER_LOST)
    bench.put(semaphore.encode(Semaphore(1, ("n1",))))

    async def taken_again():
        bench.put(semaphore.encode(Semaphore(1, ("n1",))))

    bench.script.meanwhile = taken_again
    with pytest.raises(FreedOrNotError, match=r"n1 is in .* again or still: look with `locksmithctl status`"):
        await bench.admin.unlock("n1")
    assert bench.semaphore().holders == ("n1",)


@pytest.mark.parametrize("fate", [ANSWER_LOST, DROPPED])
async def test_an_unlock_of_a_bare_id_is_decided_like_any_other(fate):
    bench = Bench(fate)
    bench.put(semaphore.encode(Semaphore(1, ("n1",))))
    assert await bench.admin.unlock("n1") is None
    assert bench.semaphore().holders == ()


@pytest.mark.parametrize("fate", [ANSWER_LOST, DROPPED])
async def test_a_resize_whose_answer_is_lost_gives_the_number_before_it(fate):
    bench = Bench(fate)
    assert await bench.admin.set_max(4) == 1
    assert bench.semaphore() == Semaphore(4)


async def test_a_give_back_whose_answer_is_lost_has_given_back():
    bench = Bench("arrives", ANSWER_LOST)
    await bench.lock.take(claim("n1"))
    assert await bench.lock.release(claim("n1"))
    bench.put(semaphore.encode(Semaphore(1, ("n1",))))
    bench.script.fates = [ANSWER_LOST]
    assert await bench.lock.release_legacy("n1")
    assert bench.semaphore().holders == ()


@pytest.mark.parametrize("fence_pending", [False, True])
async def test_what_a_lost_race_left_on_v2_is_removed_by_the_release_and_is_no_holder(fence_pending):
    bench = Bench(stepwise=True)
    bench.put(claim_record.encode(claim("n1")), keys.holder_key("", "n1"))
    assert not await bench.lock.release(claim("n1", nonce="2"), fence_pending=fence_pending)
    assert bench.record("n1") == claim("n1"), "only one's own"
    assert not await bench.lock.release(claim("n1"), fence_pending=fence_pending)
    assert bench.record("n1") is None
    bench.put(b"garbage")
    assert await bench.admin.repair(1, b"garbage") == Semaphore(1)


async def test_what_a_take_on_its_way_has_left_is_removed_and_the_take_cannot_win():
    bench = Bench("arrives", LATE, stepwise=True, limit=0.0)
    with pytest.raises(OutcomeUnknownError):
        await bench.lock.take(claim("n1"))
    assert bench.record("n1") == claim("n1")
    assert not await bench.lock.release(claim("n1"), fence_pending=True)
    assert bench.script.arrive_late() == ["too late"]
    assert bench.record("n1") is None
    assert bench.semaphore() == Semaphore(1)


async def test_a_take_that_is_denied_leaves_no_record_behind():
    bench = Bench("arrives", DROPPED, stepwise=True)
    bench.script.meanwhile = lambda: bench.calm.take(claim("n2"))
    with pytest.raises(SlotsBusyError, match="held by n2"):
        await bench.lock.take(claim("n1"))
    assert bench.record("n1") is None
    assert bench.record("n2") == claim("n2")


async def test_all_records_are_read_at_once():
    bench = Bench()
    await bench.admin.set_max(3)
    for holder in ("n/1", "_2"):
        await bench.lock.take(claim(holder))
    bench.put(semaphore.encode(Semaphore(3, ("_2", "bare", "n/1"))))
    bench.script.calls.clear()
    state = await bench.lock.read()
    assert state.claims == {"_2": claim("_2"), "bare": None, "n/1": claim("n/1")}
    assert bench.script.calls == ["get", "list"]


acts = st.tuples(st.sampled_from(["n1", "n1", "n2"]), st.sampled_from("ab"), st.lists(fates, max_size=6))
crowds = st.lists(st.integers(0, 8), min_size=1, max_size=8)
operators = st.tuples(st.integers(1, 5), st.lists(fates, max_size=3))


@settings(max_examples=times(3), deadline=None)
@given(st.lists(acts, min_size=2, max_size=6), st.booleans(), st.integers(0, 2**32), st.integers(1, 2))
def test_no_schedule_of_claims_faults_and_late_writes_breaks_the_lock(claims, stepwise, seed, slots):
    """Every claim runs beside the others; whoever believes to hold is the only one for its id, and within max."""
    asyncio.run(Race(Random(seed), stepwise=stepwise).run(claims, slots))


@pytest.mark.slow
@settings(max_examples=times(1.5), deadline=None)
@given(st.lists(acts, min_size=2, max_size=6), st.booleans(), st.integers(0, 2**32), crowds, operators)
def test_nor_does_a_share_while_machines_come_and_go(claims, stepwise, seed, crowds, operators):
    """Only the share's own arithmetic changes `max`, until a number set by an operator ends it, for good."""
    asyncio.run(Race(Random(seed), stepwise=stepwise).run_shared(claims, crowds, *operators))


SHARE = "50%"


class Watched(MemoryServer):
    """A server that looks at each write of the semaphore."""

    def __init__(self) -> None:
        super().__init__()
        self.made = {1}

    def commit(self, changes: Sequence[Also]) -> None:
        before = _stored(self)
        super().commit(changes)
        after = _stored(self)
        assert after.max in self.made
        if len(after.holders) > len(before.holders):
            assert after.available >= 0, "a slot was had that there is not"

    def crowd(self, machines: int) -> None:
        """Have so many machines present."""
        for entry in self.list(keys.nodes_prefix(""), 0, None).entries:
            self.commit([Delete(entry.key, entry.version)])
        for number in range(machines):
            self.put(keys.node_key("", f"m{number}"), b"", 0)
        self.made.add(Share(SHARE, ()).of(machines))


class Race:
    """Claims, and whoever else changes the lock, beside each other on one server."""

    def __init__(self, rng: Random, *, stepwise: bool) -> None:
        self.server = Watched()
        self.calm = RebootLock(MemoryStore(self.server), "", clock=lambda: SINCE)
        self._rng = rng
        self._stepwise = stepwise
        self._believers: list[Claim] = []
        self._scripts: list[FaultScript] = []

    async def run(self, claims, slots: int) -> None:
        self.server.made.add(slots)
        await LockAdmin(self.calm.guarded).set_max(slots)
        await asyncio.gather(*self._lives(claims))
        self._end()

    async def run_shared(self, claims, crowds, by_operator, fates) -> None:
        self.server.crowd(crowds[0])
        await LockAdmin(self.calm.guarded).set_share(SHARE)
        await asyncio.gather(*self._lives(claims), self._come_and_go(crowds))
        self._end()
        share_key = keys.share_key("")
        left = self.server.read(share_key).entry
        assert left is not None
        assert not share.decode(left.value, share_key).is_void(_stored(self.server).max)
        self.server.made.add(by_operator)
        await asyncio.gather(*self._lives(claims), self._come_and_go(crowds), self._set_max(by_operator, fates))
        self._end()
        assert self.server.read(share_key).entry is None
        assert _stored(self.server).max == by_operator

    def _lives(self, claims):
        return (
            self._live(f"{number}", claim(holder, f"{nonce}{number}"), fates)
            for number, (holder, nonce, fates) in enumerate(claims)
        )

    async def _live(self, name: str, mine: Claim, fates: list[str]) -> None:
        lock = self._lock(name, fates)
        await self._a_while()
        try:
            await lock.take(mine)
        except (LockError, StoreUnavailableError, ConflictError):
            return
        except OutcomeUnknownError:
            await _until_done(lambda: lock.release(mine, fence_pending=True))
            return
        self._believers.append(mine)
        self._check()
        for _ in range(self._rng.randint(0, 9)):
            await asyncio.sleep(0)
            for script in self._scripts:
                if self._rng.random() < 0.2:
                    script.arrive_late()
        self._check()
        self._believers.remove(mine)
        await _until_done(lambda: lock.release(mine))

    async def _come_and_go(self, crowds: list[int]) -> None:
        for machines in crowds:
            await self._a_while()
            self.server.crowd(machines)

    async def _set_max(self, slots: int, fates: list[str]) -> None:
        lock = self._lock("alice", fates)
        await self._a_while()
        await _until_done(lambda: LockAdmin(lock.guarded).set_max(slots))

    def _lock(self, name: str, fates: list[str]) -> RebootLock:
        script = FaultScript(list(fates))
        self._scripts.append(script)
        store = (StepwiseStore if self._stepwise else MemoryStore)(self.server, script)
        return RebootLock(store, "", rng=Random(name), limit=0.02, clock=lambda: SINCE)

    async def _a_while(self) -> None:
        for _ in range(self._rng.randint(0, 9)):
            await asyncio.sleep(0)

    def _check(self) -> None:
        ids = [believer.holder for believer in self._believers]
        assert len(ids) == len(set(ids)), "two claims believe to hold one id"
        assert set(ids) <= set(_stored(self.server).holders), "a claim believes to hold and does not"

    def _end(self) -> None:
        for script in self._scripts:
            script.arrive_late()
        assert _stored(self.server).holders == ()


async def _until_done(act):
    while True:
        try:
            return await act()
        except (OutcomeUnknownError, StoreUnavailableError, ConflictError):
            await asyncio.sleep(0)
