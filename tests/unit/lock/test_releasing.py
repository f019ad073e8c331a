"""A release: what goes with the write that frees the slot, what it starts from, and what happens where that fails."""

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from locksmith.errors import OlderJournalError, StoreRefusedError, StoreUnavailableError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.history import KEPT
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.claim import COMMITTED, MANUAL, Claim
from locksmith.lock.records.event import HELD, REBOOTED
from locksmith.lock.releasing import LEASE_LIMIT
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import ABSENT, Note, Put
from tests.builders.claims import NOW, claim
from tests.harness.fault_script import ANSWER_LOST, DROPPED, LATE, FaultScript, StepwiseStore
from tests.sim.virtual_time import run

KEY = keys.semaphore_key("")


class Wire(FaultScript):
    """Gives writes their fates, and a lease after a while, or an error; `at_swap` happens once, right before a swap.

    `reads`: how many seconds a read takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lend: Exception | float = 0.0
        self.reads = 0.0
        self.at_swap = lambda: None

    async def carry(self, call):
        if call.name == "lend":
            if isinstance(self.lend, Exception):
                raise self.lend
            await asyncio.sleep(self.lend)
        if call.name == "read":
            await asyncio.sleep(self.reads)
        if call.name == "swap":
            self.at_swap()
            self.at_swap = lambda: None
        return await super().carry(call)


class NoNotes(MemoryServer):
    """A server that refuses each write with a note: its lease is gone, or the right to write the history."""

    def commit(self, changes) -> None:
        if any(isinstance(change, Note) for change in changes):
            raise StoreRefusedError("permission denied")
        super().commit(changes)


class Untidy(Random):
    """Never draws the number at which the history is tidied, which is a call more."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        del start, stop, step
        return 1


class Scene:
    """n1, whose calls are counted once it holds its slot, and the others."""

    def __init__(self, server: MemoryServer | None = None, *, stepwise: bool = False) -> None:
        self.server = server or MemoryServer()
        self.wire = Wire()
        self.store = (StepwiseStore if stepwise else MemoryStore)(self.server, self.wire)
        self.lock = RebootLock(self.store, "", rng=Untidy(), clock=lambda: NOW)
        self.queue = Queue(self.store, "")
        self.others = RebootLock(MemoryStore(self.server), "", clock=lambda: NOW)

    async def holds(self) -> Claim:
        """Let n1 take a slot."""
        held = claim("n1")
        await self.lock.take(held)
        self.wire.calls.clear()
        return held

    async def release(self, held: Claim, **more):
        return await self.lock.hand_over(held, why=REBOOTED, places=self.queue.keys(held), held=True, **more)

    @property
    def calls(self) -> Counter[str]:
        return Counter(self.wire.calls)

    def holders(self) -> tuple[str, ...]:
        entry = self.server.read(KEY).entry
        return semaphore.decode(entry.value, KEY).holders if entry else ()

    async def told(self) -> list[str]:
        return [event.detail for event in await self.others.history.read(10) if event.act == HELD]

    def notes(self):
        return self.server.list(keys.history_prefix(""), 0, None).entries


def play(story):
    return run(lambda _loop: story())


def test_a_release_by_who_took_the_slot_is_a_lease_and_one_write_with_the_history():
    async def story():
        scene = Scene()
        held = await scene.holds()
        released = await scene.release(held, rebooted=True)
        assert scene.calls == {"lend": 1, "swap": 1}
        assert released.claim is not None
        assert released.unqueued
        assert scene.holders() == ()
        assert await scene.told() == [REBOOTED]
        [note] = scene.notes()
        assert note.lease
        await asyncio.sleep(KEPT + 1)
        assert scene.notes() == ()

    play(story)


def test_a_release_by_another_run_reads_during_its_lease_and_leaves_nothing_to_do():
    async def story():
        scene = Scene()
        held = await scene.holds()
        scene.lock = RebootLock(scene.store, "", rng=Untidy(), clock=lambda: NOW)
        assert (await scene.release(held)).unqueued
        assert scene.calls == {"lend": 1, "read": 1, "swap": 1}
        assert await scene.told() == [REBOOTED]

    play(story)


@pytest.mark.parametrize(("held", "takes"), [(True, 0.5), (False, 1.0)], ids=["held", "not known"])
def test_a_lease_is_asked_for_during_the_read_only_by_who_is_believed_to_hold_a_slot(held, takes):
    async def story():
        scene = Scene()
        of_before = await scene.holds()
        scene.lock = RebootLock(scene.store, "", rng=Untidy(), clock=lambda: NOW)
        scene.wire.reads = scene.wire.lend = 0.5
        began = asyncio.get_running_loop().time()
        assert (await scene.lock.hand_over(of_before, held=held)).claim is not None
        assert asyncio.get_running_loop().time() - began == takes

    play(story)


def test_a_release_that_frees_nothing_leaves_no_request_for_a_lease_under_way():
    async def story():
        scene = Scene()
        scene.wire.reads, scene.wire.lend = 0.5, 100.0
        released = await scene.lock.hand_over(claim("n2"), held=True)
        assert (released.claim, released.unqueued) == (None, False)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    play(story)


def test_a_record_that_goes_with_the_release_has_the_history_tidied_too():
    class Tidy(Untidy):
        def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
            del start, stop, step
            return 0

    async def story():
        scene = Scene()
        held = await scene.holds()
        scene.lock = RebootLock(scene.store, "", rng=Tidy(), clock=lambda: NOW)
        await scene.release(held)
        assert scene.calls["create"] == 0, "the record went with the release"
        assert scene.calls["list"] >= 1, "and then the history was looked at"

    play(story)


def test_unless_told_more_a_release_asks_for_no_lease_and_gives_no_reason():
    async def story():
        scene = Scene()
        nobodys = claim("n2")
        scene.wire.reads = 0.5
        before = scene.server.revision
        assert (await scene.lock.hand_over(nobodys)).claim is None
        assert scene.calls == {"read": 1}
        assert scene.server.revision == before
        for release in (scene.lock.release, scene.lock.hand_over):
            await release(await scene.holds())
        assert await scene.told() == ["", ""]

    play(story)


def test_after_the_commit_one_write_releases_and_forgets_a_reboot_that_did_not_come():
    async def story():
        scene = Scene()
        held = await scene.holds()
        await scene.lock.commit(held)
        scene.wire.calls.clear()
        await scene.release(replace(held.committed(), taken=None))
        assert scene.calls == {"lend": 1, "swap": 1}
        assert scene.server.read(keys.reboot_key("", "n1")).entry is None

    play(story)


def test_after_a_reboot_the_group_remembers_it():
    async def story():
        scene = Scene()
        held = await scene.holds()
        await scene.lock.commit(held)
        await scene.release(held.committed(), rebooted=True)
        assert scene.server.read(keys.reboot_key("", "n1")).entry is not None

    play(story)


def test_what_is_known_no_longer_stands_where_another_has_taken_a_slot():
    """The write from what is known is refused: it would throw the other's slot away."""

    async def story():
        scene = Scene()
        await LockAdmin(scene.others.guarded).set_max(2)
        held = await scene.holds()
        await scene.others.take(claim("n2"))
        assert (await scene.release(held)).claim is not None
        assert scene.calls == {"lend": 1, "swap": 2, "read": 1}
        assert scene.holders() == ("n2",)
        assert await scene.told() == [REBOOTED]

    play(story)


@pytest.mark.parametrize("next_one", [None, MANUAL], ids=["freed", "freed, and locked by hand"])
def test_a_slot_that_an_operator_has_freed_is_released_by_nobody(next_one):
    async def story():
        scene = Scene()
        held = await scene.holds()
        await LockAdmin(scene.others.guarded).unlock("n1")
        if next_one:
            await scene.others.take(replace(held, kind=next_one, nonce="of alice"))
        assert (await scene.release(held)).claim is None
        assert scene.holders() == (("n1",) if next_one else ())
        assert await scene.told() == []

    play(story)


def test_a_record_that_was_written_without_the_semaphore_is_looked_at_first():
    """As a store that was restored might have it: each guard counts."""

    async def story():
        scene = Scene()
        held = await scene.holds()
        key = keys.holder_key("", "n1")
        entry = scene.server.read(key).entry
        assert entry is not None
        failed = replace(claim_record.decode(entry.value, key, "n1"), state=COMMITTED, commits=3)
        scene.server.put(key, claim_record.encode(failed), entry.version)
        with pytest.raises(OlderJournalError):
            await scene.release(held)
        assert scene.holders() == ("n1",)

    play(story)


def test_what_another_claim_left_known_is_nothing_to_start_from():
    async def story():
        scene = Scene()
        await scene.holds()
        assert (await scene.release(replace(claim("n1"), nonce="another"))).claim is None
        assert scene.holders() == ("n1",)
        assert "swap" not in scene.calls

    play(story)


def test_on_v2_a_release_reads_first_because_one_write_does_not_make_one_version():
    async def story():
        scene = Scene(stepwise=True)
        held = await scene.holds()
        assert (await scene.release(held)).unqueued
        assert scene.calls["read"] == 1
        assert scene.server.read(keys.holder_key("", "n1")).entry is None
        assert await scene.told() == [REBOOTED]

    play(story)


@pytest.mark.parametrize("failure", [StoreUnavailableError("no endpoint answers"), LEASE_LIMIT + 3], ids=["no", "slow"])
def test_a_slot_waits_for_no_lease_and_the_record_is_written_afterwards(failure):
    async def story():
        scene = Scene()
        held = await scene.holds()
        began = asyncio.get_running_loop().time()
        scene.wire.lend = failure
        await scene.release(held)
        assert asyncio.get_running_loop().time() - began < LEASE_LIMIT + 0.5
        assert scene.calls["swap"] == scene.calls["create"] == 1
        assert scene.holders() == ()
        assert await scene.told() == [REBOOTED]

    play(story)


@pytest.mark.parametrize("known", [True, False])
def test_a_record_that_the_store_refuses_keeps_no_slot(known):
    async def story():
        scene = Scene(NoNotes())
        held = await scene.holds()
        if not known:
            scene.lock = RebootLock(scene.store, "", rng=Untidy(), clock=lambda: NOW)
        assert (await scene.release(held)).claim is not None
        assert scene.holders() == ()
        assert await scene.told() == [REBOOTED]

    play(story)


def test_a_release_that_is_refused_without_a_record_too_is_an_error():
    class Refusing(MemoryServer):
        def commit(self, changes) -> None:
            if any(change.key == KEY and isinstance(change, Put) and change.version != ABSENT for change in changes):
                raise StoreRefusedError("permission denied")
            super().commit(changes)

    async def story():
        scene = Scene(Refusing())
        held = await scene.holds()
        with pytest.raises(StoreRefusedError):
            await scene.release(held)
        scene.wire.lend = StoreUnavailableError("no endpoint answers")
        scene.wire.calls.clear()
        with pytest.raises(StoreRefusedError):
            await scene.release(held)
        assert scene.calls["swap"] == 1, "the same write is not sent twice"
        assert scene.holders() == ("n1",)

    play(story)


@pytest.mark.parametrize("stepwise", [False, True], ids=["transactions", "stepwise"])
@pytest.mark.parametrize("fate", [ANSWER_LOST, DROPPED, LATE])
def test_where_the_answer_is_lost_the_history_tells_of_the_release_once(fate, stepwise):
    async def story():
        scene = Scene(stepwise=stepwise)
        held = await scene.holds()
        scene.wire.fates = [fate]
        assert (await scene.release(held)).claim is not None
        assert scene.wire.arrive_late() in ([], ["too late"])
        assert scene.holders() == ()
        assert await scene.told() == [REBOOTED]

    play(story)


def test_a_place_that_comes_late_is_seen_by_the_release_and_left():
    """A request to enter the queue whose answer was lost: by the release it is there, and would hold up all others."""

    async def story():
        scene = Scene()
        held = await scene.holds()
        late = Queue(MemoryStore(scene.server), "")
        await late.stand(held)
        released = await scene.release(held)
        assert released.claim is not None
        assert not released.unqueued
        assert scene.holders() == ()

    play(story)


def test_a_place_that_comes_between_the_reading_and_the_release_is_seen_too():
    async def story():
        scene = Scene()
        held = await scene.holds()
        scene.lock = RebootLock(scene.store, "", rng=Untidy(), clock=lambda: NOW)

        def enter() -> None:
            scene.server.put(scene.queue.keys(held)[0], b"1", ABSENT)

        scene.wire.at_swap = enter
        assert not (await scene.release(held)).unqueued
        assert scene.holders() == ()

    play(story)


class Machine(Scene):
    """n1 with its queue, as the daemon has it."""

    def __init__(self) -> None:
        super().__init__()
        self.queued = QueuedLock(self.lock, self.queue)

    def places(self) -> list[str]:
        folders = (keys.waiters_prefix(""), keys.tickets_prefix("", "n1"))
        return [entry.key for prefix in folders for entry in self.server.list(prefix, 0, None).entries]


def test_a_take_removes_the_place_and_its_ticket_and_the_release_asks_for_neither():
    async def story():
        machine = Machine()
        assert await machine.queued.take(claim("n1")) == Granted()
        assert machine.places() == []
        machine.wire.calls.clear()
        await machine.queued.release(claim("n1"), fence_pending=False, why=REBOOTED, rebooted=True)
        assert machine.calls == {"lend": 1, "swap": 1}

    play(story)


def test_a_place_of_an_earlier_run_goes_with_the_release():
    async def story():
        machine = Machine()
        await machine.lock.take(claim("n1"))
        await Queue(MemoryStore(machine.server), "").stand(claim("n1"))
        assert len(machine.places()) == 2
        await machine.queued.release(claim("n1"), fence_pending=False, why=REBOOTED, rebooted=True)
        assert machine.places() == []
        assert machine.holders() == ()

    play(story)


def test_a_place_that_has_expired_keeps_no_take_from_its_slot():
    async def story():
        machine = Machine()
        await machine.others.take(claim("n2"))
        assert isinstance(await machine.queued.take(claim("n1")), Denied)
        [place] = machine.queue.entries(claim("n1"))[:1]
        await MemoryStore(machine.server).revoke(place)
        await machine.others.release(claim("n2"))
        assert await machine.queued.changed(5)
        assert await machine.queued.take(claim("n1")) == Granted()
        assert machine.places() == []

    play(story)


def test_who_held_nothing_asks_for_no_lease():
    async def story():
        machine = Machine()
        await machine.others.take(claim("n2"))
        assert isinstance(await machine.queued.take(claim("n1")), Denied)
        machine.wire.calls.clear()
        await machine.queued.release(claim("n1"), fence_pending=True, why="withdrawn")
        assert machine.calls["lend"] == 0
        assert machine.places() == []

    play(story)
