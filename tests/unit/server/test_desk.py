"""The rules of FleetLock on the lock: one client, several servers, daemons and operators, in virtual time."""

import asyncio
import itertools
from datetime import timedelta

import pytest

from locksmith.lock.answer import Denied, Granted
from locksmith.lock.queue import POLLED_TTL
from locksmith.lock.records import keys, node
from locksmith.lock.records.claim import COMMITTED, MANUAL, Claim
from locksmith.lock.records.node import TTL, Node
from locksmith.lock.records.order import Order
from locksmith.lock.window_sets import WindowStore
from locksmith.server.refusal import RefusalKind
from locksmith.store.memory import MemoryStore
from locksmith.store.protocol import Entry
from locksmith.window.window_set import WindowSet
from tests.builders.claims import claim
from tests.builders.desks import POLL, play
from tests.builders.one_store import START, G
from tests.harness.fault_script import ANSWER_LOST, ARRIVES, DROPPED, LATE, NEVER_SENT, FaultScript, StepwiseStore

STORES = [MemoryStore, StepwiseStore]


def kind(refusal) -> str:
    return refusal.kind.value if refusal is not None else "granted"


async def granted(fleet, client: str, store) -> None:
    """Have a client ask for the slot that is free. On v2 a place may be left without a ticket, until it expires."""
    for _ in range(5 if store is StepwiseStore else 1):
        if (refusal := await fleet.desk().pre_reboot(G, client)) is None:
            return
        await asyncio.sleep(POLL)
    raise AssertionError(refusal)


@pytest.mark.parametrize("store", STORES)
def test_a_client_takes_a_slot_keeps_it_however_often_it_asks_and_releases_it(store):
    async def story(fleet):
        desks = [fleet.desk(), fleet.desk()]
        for desk in (*desks, *desks):
            assert await desk.pre_reboot(G, "c1") is None
        assert await fleet.holders() == ("c1",)
        held = (await fleet.cycle("c1")).held
        assert (held.state, held.commits, held.who) == (COMMITTED, 4, "locksmith-server")
        assert kind(await desks[0].pre_reboot(G, "c2")) == "no_slot"
        for desk in (*desks, *desks):
            assert await desk.steady_state(G, "c1") is None
        assert await fleet.holders() == ()
        assert await desks[1].pre_reboot(G, "c2") is None
        assert [key for key in fleet.keys if "c1" in key] == []

    play(story, store)


def test_a_steady_state_of_a_client_that_has_nothing_writes_nothing():
    async def story(fleet):
        await fleet.desk().pre_reboot(G, "c1")
        before = fleet.server.revision
        for client in ("c2", "c1 ", " ", "../semaphore", "%63%31", "C1", "x" * 256):
            assert await fleet.desk().steady_state(G, client) is None
        assert fleet.server.revision == before
        assert await fleet.holders() == ("c1",)

    play(story)


def test_clients_and_daemons_get_slots_in_the_order_in_which_they_came():
    async def story(fleet):
        desk, daemon = fleet.desk(), fleet.daemon()
        assert await desk.pre_reboot(G, "c1") is None
        assert kind(await desk.pre_reboot(G, "c2")) == "no_slot"
        assert isinstance(await daemon.take(claim("n1")), Denied)
        refusal = await desk.pre_reboot(G, "c3")
        assert (refusal.kind, refusal.sentence) == (
            RefusalKind.QUEUED,
            "queued for a slot: number 3 of 3, after n1",
        )
        await desk.steady_state(G, "c1")
        # The slot is free, and the first comes for it at its next call only.
        for _ in range(4):
            await asyncio.sleep(60)
            assert (await daemon.take(claim("n1"))).code == "queue"
            assert kind(await desk.pre_reboot(G, "c3")) == "queued"
        assert await desk.pre_reboot(G, "c2") is None
        await desk.steady_state(G, "c2")
        await asyncio.sleep(40)
        assert await daemon.take(claim("n1")) == Granted()

    play(story)


@pytest.mark.slow
def test_a_first_client_that_goes_on_calling_keeps_its_place_however_long_it_waits():
    async def story(fleet):
        desk, daemon = fleet.desk(), fleet.daemon()
        await desk.pre_reboot(G, "c1")
        await desk.pre_reboot(G, "c2")
        created = _created(fleet, "c2")
        ends = fleet.loop.time() + 3 * 3600
        polls = fleet.loop.time() + POLL
        while fleet.loop.time() < ends:
            assert (await daemon.take(claim("n1"))).code == "queue"
            await asyncio.sleep(30)
            if fleet.loop.time() >= polls:
                polls = fleet.loop.time() + POLL
                assert await desk.pre_reboot(G, "c1") is None
                assert kind(await fleet.desk().pre_reboot(G, "c2")) == "no_slot"
        assert _created(fleet, "c2") == created

    play(story)


@pytest.mark.parametrize("leader", [False, True], ids=["", "leases start again and again"])
def test_a_first_client_that_calls_no_more_loses_its_place_and_the_next_goes_on(leader):
    async def story(fleet):
        desk, daemon = fleet.desk(), fleet.daemon()
        assert isinstance(await daemon.take(claim("n0")), Granted)
        await desk.pre_reboot(G, "c2")
        assert (await daemon_of(fleet).take(claim("n1"))).code == "queue"
        await daemon.release(claim("n0"), fence_pending=False, why="")
        second, began = daemon_of(fleet), fleet.loop.time()
        while not isinstance(await second.take(claim("n1")), Granted):
            await asyncio.sleep(10)
            if leader:  # each change of the leader starts all leases again
                entry = _place(fleet, "c2")
                if entry is not None:
                    fleet.server.prolong(entry, POLLED_TTL)
            assert fleet.loop.time() - began < 2 * POLLED_TTL
        assert POLLED_TTL - 60 <= fleet.loop.time() - began <= POLLED_TTL + 60

    play(story)


def daemon_of(fleet):
    return fleet.daemon()


def _created(fleet, client: str) -> int:
    place = _place(fleet, client)
    return place.created if place else 0


def _place(fleet, client: str) -> Entry | None:
    entries = fleet.server.list(keys.waiters_prefix(G), 0, None).entries
    return next((entry for entry in entries if entry.key.endswith(f"%3A{client}")), None)


async def frozen(fleet):
    await fleet.orders.freeze(Order("alice", START, "the database moves", nonce="f"))


async def held_back(fleet):
    await fleet.orders.hold("c1", Order("alice", START, "it is on show", nonce="h"))


@pytest.mark.parametrize(
    ("order", "expected", "words"),
    [
        (frozen, "frozen", "frozen by alice since 2026-05-01T02:10:00Z: the database moves"),
        (held_back, "held", "held back by alice since 2026-05-01T02:10:00Z: it is on show"),
    ],
)
def test_an_order_refuses_every_call_and_leaves_a_slot_that_may_be_in_use(order, expected, words):
    async def story(fleet):
        desk = fleet.desk()
        await order(fleet)
        refusal = await desk.pre_reboot(G, "c1")
        assert (kind(refusal), words in refusal.sentence) == (expected, True)
        await (fleet.orders.thaw() if expected == "frozen" else fleet.orders.unhold("c1"))
        assert await desk.pre_reboot(G, "c1") is None
        await order(fleet)
        assert kind(await desk.pre_reboot(G, "c1")) == expected
        assert await fleet.holders() == ("c1",), "it was told that it may reboot"
        assert await desk.steady_state(G, "c1") is None
        assert await fleet.holders() == ()

    play(story)


def test_a_client_that_is_held_back_keeps_no_other_from_its_turn():
    async def story(fleet):
        desk = fleet.desk()
        await held_back(fleet)
        assert kind(await desk.pre_reboot(G, "c1")) == "held"
        assert await desk.pre_reboot(G, "c2") is None

    play(story)


def test_no_other_begins_within_the_spacing_which_does_not_bind_its_own_client():
    async def story(fleet):
        desk = fleet.desk(spacing=timedelta(minutes=20))
        await fleet.admin.set_max(2)
        assert await desk.pre_reboot(G, "c1") is None
        assert await desk.pre_reboot(G, "c1") is None
        refusal = await desk.pre_reboot(G, "c2")
        assert (kind(refusal), "too soon after a reboot by c1" in refusal.sentence) == ("no_slot", True)
        assert (await fleet.daemon().take(claim("n1"))).code in {"spacing", "queue"}
        await asyncio.sleep(1210)
        await desk.pre_reboot(G, "c1")  # it is there, so it is not lost
        await asyncio.sleep(1210)
        assert await desk.pre_reboot(G, "c2") is None

    play(story)


def test_a_client_that_does_not_come_back_is_lost_and_halts_clients_and_daemons():
    async def story(fleet):
        desk = fleet.desk()
        await fleet.admin.set_max(2)
        assert await desk.pre_reboot(G, "c1") is None
        await asyncio.sleep(15 * 60 + TTL - 5)
        assert isinstance(await fleet.daemon().take(claim("n1")), Granted)
        await fleet.daemon().release(claim("n1"), fence_pending=False, why="")
        await asyncio.sleep(10)
        refusal = await desk.pre_reboot(G, "c2")
        assert (kind(refusal), "c1 is lost: it has not come back" in refusal.sentence) == ("halted", True)
        assert (await fleet.daemon().take(claim("n2"))).code in {"halt", "queue"}
        # It is back, and says so.
        assert await desk.steady_state(G, "c1") is None
        assert await desk.pre_reboot(G, "c2") is None

    play(story)


def test_a_client_that_is_lost_once_more_after_a_resume_halts_once_more():
    async def story(fleet):
        desk = fleet.desk()
        await fleet.admin.set_max(2)
        for nonce in ("r1", "r2"):
            assert await desk.pre_reboot(G, "c1") is None
            await asyncio.sleep(15 * 60 + TTL + 5)
            assert kind(await desk.pre_reboot(G, "c2")) == "halted"
            assert len(await fleet.orders.resume(Order("alice", START, "", nonce=nonce))) == 1
            assert await desk.pre_reboot(G, "c2") is None
            assert await desk.steady_state(G, "c2") is None
        assert await fleet.holders() == ("c1",)

    play(story)


def test_the_window_of_a_group_refuses_and_whoever_may_not_reboot_leaves_the_queue():
    async def story(fleet):
        night = WindowSet.parse(["02:00 for 1h"], [], "UTC")
        desk = fleet.desk(window_sets=("night",), known={"night": night})
        clock = [START]
        desk._local = lambda: clock[0]
        assert await desk.pre_reboot(G, "c1") is None
        assert kind(await desk.pre_reboot(G, "c2")) == "no_slot"
        clock[0] = START + timedelta(hours=2)
        for client in ("c1", "c2", "c3"):
            refusal = await desk.pre_reboot(G, client)
            assert kind(refusal) == "window"
            assert refusal.sentence == "the windows night are closed; they open at Sat 02:00 (2026-05-02T02:00+00:00)"
        assert await fleet.holders() == ("c1",)
        assert fleet.server.count(keys.waiters_prefix(G)) == 0

    play(story)


def test_a_window_set_that_is_missing_or_cannot_be_read_is_closed():
    async def story(fleet):
        desk = fleet.desk(window_sets=("night",))
        refusal = await desk.pre_reboot(G, "c1")
        assert (kind(refusal), "there is no such set" in refusal.sentence) == ("window", True)
        await fleet.store().create(keys.window_key("night"), b"thunder")
        refusal = await desk.pre_reboot(G, "c1")
        assert (kind(refusal), "not a set of windows" in refusal.sentence) == ("window", True)
        await WindowStore(fleet.store()).write("night", WindowSet.parse(["00:00 for 1d"], [], "UTC"))
        assert await desk.pre_reboot(G, "c1") is None

    play(story)


def test_an_id_that_is_held_for_something_else_is_refused_and_not_released():
    async def story(fleet):
        desk = fleet.desk()
        await fleet.daemon().lock.take(Claim("c1", MANUAL, "m", START, who="alice", reason="disk swap"))
        refusal = await desk.pre_reboot(G, "c1")
        assert (kind(refusal), "held manually by alice" in refusal.sentence) == ("no_slot", True)
        before = fleet.server.revision
        assert await desk.steady_state(G, "c1") is None
        assert fleet.server.revision == before
        assert await fleet.holders() == ("c1",)

    play(story)


def test_the_id_of_a_machine_that_is_present_is_refused():
    async def story(fleet):
        shown = Node("c1", "n1", "boot", G, "etcd-lock", "idle", START)
        await fleet.store().create(keys.node_key(G, "c1"), node.encode(shown), ttl=1e6)
        refusal = await fleet.desk().pre_reboot(G, "c1")
        assert (kind(refusal), "a machine with the id c1 is present" in refusal.sentence) == ("no_slot", True)
        assert await fleet.holders() == ()

    play(story)


def test_a_slot_that_an_operator_has_freed_is_taken_anew_in_turn():
    async def story(fleet):
        desk = fleet.desk()
        await desk.pre_reboot(G, "c1")
        await fleet.admin.unlock("c1")
        before = fleet.server.revision
        assert await desk.steady_state(G, "c1") is None
        assert fleet.server.revision == before
        assert await desk.pre_reboot(G, "c1") is None

    play(story)


@pytest.mark.parametrize("client", ["", "a\nb", "\x00", "\u2028", "\ud800", "\u202ec1", "x" * 257, "\u00e4" * 129])
def test_an_id_that_cannot_be_printed_or_is_too_long_is_refused(client):
    async def story(fleet):
        assert kind(await fleet.desk().pre_reboot(G, client)) == "bad_request"
        assert kind(await fleet.desk().steady_state(G, client)) == "bad_request"
        assert fleet.keys == []

    play(story)


@pytest.mark.parametrize("client", ["ä", "a b", "../semaphore", "_a", ".", "a/b", "%2F", "x" * 256, "<b>"])
def test_an_id_of_any_printable_characters_is_as_good_as_any_other(client):
    async def story(fleet):
        assert await fleet.desk().pre_reboot(G, client) is None
        assert await fleet.holders() == (client,)
        assert kind(await fleet.desk().pre_reboot(G, "c2")) == "no_slot"
        assert await fleet.desk().steady_state(G, client) is None
        assert await fleet.desk().steady_state(G, "c2") is None
        assert fleet.keys == []

    play(story)


@pytest.mark.parametrize(
    ("calls", "most"), [(("pre c1",), 11), (("pre c1", "pre c1"), 6), (("pre c1", "steady c1"), 6), (("steady c1",), 1)]
)
def test_a_call_costs_a_few_requests(calls, most):
    """A release has one request more where it tidies the history, once in a while."""

    async def story(fleet):
        desk = faults = None
        for call in calls:
            what, client = call.split()
            faults = FaultScript()
            desk = fleet.desk(faults)
            assert await (desk.pre_reboot if what == "pre" else desk.steady_state)(G, client) is None
        assert faults is not None
        assert len(faults.calls) <= most, faults.calls

    play(story)


def test_a_group_that_is_not_served_is_refused():
    async def story(fleet):
        assert kind(await fleet.desk().pre_reboot("others", "c1")) == "unauthorized"
        assert kind(await fleet.desk().steady_state("others", "c1")) == "unauthorized"

    play(story)


def test_a_store_that_cannot_be_used_is_said_in_its_own_words():
    async def story(fleet):
        desk = fleet.desk(FaultScript([NEVER_SENT] * 100))
        refusal = await desk.pre_reboot(G, "c1")
        assert (kind(refusal), refusal.sentence) == ("store", "no endpoint answered")
        await fleet.store().create(keys.semaphore_key(G), b"thunder")
        refusal = await fleet.desk().steady_state(G, "c1")
        assert (kind(refusal), "semaphore" in refusal.sentence) == ("store", True)

    play(story)


def test_a_defect_is_logged_and_refused(monkeypatch, caplog):
    async def story(fleet):
        desk = fleet.desk()
        monkeypatch.setattr(desk, "_lock", lambda *_args, **_how: 1 / 0)
        refusal = await desk.pre_reboot(G, "c1")
        assert kind(refusal) == "store"

    play(story)
    assert "ZeroDivisionError" in caplog.text


def test_a_store_that_never_answers_ends_the_call_at_its_limit():
    async def story(fleet):
        class Silent:
            async def carry(self, call):
                del call
                await asyncio.sleep(1e6)

        desk, began = fleet.desk(Silent()), fleet.loop.time()
        refusals = await asyncio.gather(*(desk.pre_reboot(G, "c1") for _ in range(8)))
        assert fleet.loop.time() - began == 30
        assert {kind(one) for one in refusals} == {"store", "not_ready"}
        assert desk._turns._locks == {}

    play(story)


@pytest.mark.parametrize("store", STORES)
def test_calls_of_one_client_at_several_servers_are_about_one_claim(store):
    async def story(fleet):
        desks = [fleet.desk() for _ in range(4)]
        answers = await asyncio.gather(*(desk.pre_reboot(G, "c1") for desk in (*desks, *desks)))
        assert set(map(kind, answers)) <= {"granted", "queued", "no_slot", "store"}
        assert await desks[0].pre_reboot(G, "c1") is None
        assert await fleet.holders() == ("c1",)
        await asyncio.gather(*(desk.steady_state(G, "c1") for desk in (*desks, *desks)))
        assert await desks[0].steady_state(G, "c1") is None
        assert await fleet.holders() == ()
        assert fleet.keys == []

    play(story, store)


class Paced:
    """Lets another take its turns between any two calls: each waits as long as its script says."""

    def __init__(self, waits: list[int]) -> None:
        self.waits = waits

    async def carry(self, call):
        for _ in range(self.waits.pop(0) if self.waits else 0):
            await asyncio.sleep(0.001)
        return call.apply()


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("first", "second"), [("pre", "pre"), ("pre", "steady"), ("steady", "pre")])
def test_whatever_two_servers_do_between_each_others_calls_they_agree_on_the_holder(store, first, second):
    """The second server begins at each request of the first in turn, and is as fast, or much slower or faster."""

    async def story(fleet, begin, pace):
        slow = fleet.desk(Paced([2 * pace] * 200))
        quick = fleet.desk(Paced([pace * 2 // 3 or 1] * 200))
        if first == "steady":
            await fleet.desk().pre_reboot(G, "c1")

        async def later():
            await asyncio.sleep(0.001 * begin)
            return await (quick.pre_reboot if second == "pre" else quick.steady_state)(G, "c1")

        act = slow.pre_reboot if first == "pre" else slow.steady_state
        answers = await asyncio.gather(act(G, "c1"), later())
        cycle = await fleet.cycle("c1")
        if first == second == "pre" and None in answers:
            assert cycle.committed
        if cycle.held is None:
            assert cycle.left is None or store is StepwiseStore
        # Whatever it came to: the client goes on, and the group with it.
        assert await fleet.desk().steady_state(G, "c1") is None
        assert await fleet.holders() == ()
        await granted(fleet, "c2", store)

    for begin, pace in itertools.product(range(0, 48, 3), (1, 3)):
        play(lambda fleet, begin=begin, pace=pace: story(fleet, begin, pace), store)


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("fate", [NEVER_SENT, ANSWER_LOST, DROPPED, LATE])
def test_whichever_answer_is_lost_a_slot_is_granted_once_and_free_at_the_end(store, fate):
    async def story(fleet, number):
        faults = FaultScript([ARRIVES] * number + [fate])
        desk = fleet.desk(faults)
        for _ in range(5):
            if await desk.pre_reboot(G, "c1") is None:
                break
            await asyncio.sleep(POLL)
        assert (await fleet.cycle("c1")).committed
        assert kind(await fleet.desk().pre_reboot(G, "c2")) in {"no_slot", "queued"}
        for _ in range(5):
            if await desk.steady_state(G, "c1") is None:
                break
            await asyncio.sleep(POLL)
        late = list(faults.late)
        faults.arrive_late()
        assert await fleet.holders() == ()
        await granted(fleet, "c2", store)
        assert await fleet.desk().steady_state(G, "c1") is None
        assert await fleet.holders() == ("c2",)
        return faults.writes, late

    for number in range(40):
        writes, _ = play(lambda fleet, number=number: story(fleet, number), store)
        if writes <= number:
            break
    assert 4 < number < 39


def test_a_take_whose_answer_is_lost_does_not_win_after_the_steady_state():
    """The client gave up its call, went on by itself, and another server heard its steady-state."""

    async def story(fleet):
        await fleet.desk().pre_reboot(G, "c0")
        await fleet.desk().pre_reboot(G, "c1")
        await fleet.desk().steady_state(G, "c0")
        # It prolongs its place, and writes it as the first; then it takes.
        faults = FaultScript([ARRIVES] * 2 + [LATE] * 50)
        call = asyncio.ensure_future(fleet.desk(faults).pre_reboot(G, "c1"))
        while faults.calls[-1:] != ["swap"]:  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0)
        assert await fleet.desk().steady_state(G, "c1") is None
        assert set(faults.arrive_late()) == {"too late"}
        faults.fates.clear()
        assert kind(await call) == "queued"
        assert await fleet.holders() == ()
        assert fleet.keys == []

    play(story)


@pytest.mark.slow
@pytest.mark.parametrize("queued", [False, True])
def test_a_steady_state_ends_what_a_slower_call_has_begun_before_it(queued):
    """A client that went on by itself keeps neither a slot nor a place, at whichever request the other call is."""

    async def story(fleet, begin):
        if queued:
            await fleet.desk().pre_reboot(G, "c0")
            await fleet.desk().pre_reboot(G, "c1")
            await fleet.desk().steady_state(G, "c0")
        slow, quick = fleet.desk(Paced([10] * 99)), fleet.desk(Paced([1] * 99))
        call = asyncio.ensure_future(slow.pre_reboot(G, "c1"))
        await asyncio.sleep(begin / 1000)
        seen = await fleet.cycle("c1")
        before = fleet.server.revision
        assert await quick.steady_state(G, "c1") is None
        released = fleet.server.revision > before
        answer = await call
        if released and not seen.is_idle:
            assert await fleet.holders() == (), (begin, answer)
            assert fleet.keys == [], (begin, answer)
        return released, answer is None

    # Right after a request of the slower call, in the middle, and right before it.
    begins = [10 * number + moment for number in range(1 + queued, 13) for moment in (1.5, 5.5, 8.5, 9.5)]
    seen = [play(lambda fleet, begin=begin: story(fleet, begin)) for begin in begins]
    assert any(released for released, _ in seen)
    assert any(not granted for _, granted in seen)


def test_each_server_goes_on_where_another_has_stopped():
    async def story(fleet):
        for stops in range(1, 40):
            calls = itertools.count(1)

            class Stops:
                async def carry(self, call, calls=calls, stops=stops):
                    if next(calls) >= stops:
                        await asyncio.sleep(1e9)
                    return call.apply()

            call = asyncio.ensure_future(fleet.desk(Stops()).pre_reboot(G, "c1"))
            for _ in range(400):
                await asyncio.sleep(0)
            done = call.done()
            call.cancel()
            assert await fleet.desk().pre_reboot(G, "c1") is None, stops
            assert await fleet.holders() == ("c1",)
            assert await fleet.desk().steady_state(G, "c1") is None
            assert fleet.keys == [], stops
            if done:
                return
        raise AssertionError("a call has fewer requests")

    play(story)


def test_a_claim_that_only_this_client_cannot_use_keeps_no_other_waiting():
    """What an older take has left, and nobody can read: it binds its id alone."""

    async def story(fleet):
        await fleet.store().create(keys.holder_key(G, "c1"), b"thunder")
        refusal = await fleet.desk().pre_reboot(G, "c1")
        assert (kind(refusal), "`locksmithctl unlock c1` removes it" in refusal.sentence) == ("store", True)
        assert await fleet.desk().pre_reboot(G, "c2") is None

    play(story)


def test_a_client_begins_only_where_enough_of_the_window_is_left():
    async def story(fleet):
        night = WindowSet.parse(["02:00 for 1h"], [], "UTC")
        desk = fleet.desk(window_sets=("night",), known={"night": night}, least=timedelta(minutes=30))
        clock = [START + timedelta(minutes=21)]
        desk._local = lambda: clock[0]
        assert kind(await desk.pre_reboot(G, "c1")) == "window"
        clock[0] = START + timedelta(minutes=19)
        assert await desk.pre_reboot(G, "c1") is None
        clock[0] = START + timedelta(minutes=21)
        assert await desk.pre_reboot(G, "c1") is None

    play(story)


def test_a_call_near_the_front_waits_a_moment_for_a_slot():
    async def story(fleet):
        desk = fleet.desk()
        assert await desk.pre_reboot(G, "c1") is None
        calls = [asyncio.ensure_future(desk.pre_reboot(G, client)) for client in ("c2", "c3")]
        await asyncio.sleep(0.03)
        assert await desk.steady_state(G, "c1") is None
        await asyncio.sleep(0.03)
        assert await fleet.holders() == ("c2",)
        assert await desk.steady_state(G, "c2") is None
        assert await asyncio.gather(*calls) == [None, None]
        assert await desk.steady_state(G, "c3") is None
        assert fleet.keys == []
        assert fleet.server._watches == {}

    play(story)
