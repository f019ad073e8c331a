"""Hooks for FleetLock's clients: they run on one server, are done before a client may reboot, and are undone."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from locksmith.errors import HostError, StoreUnavailableError
from locksmith.lock import client_cycle
from locksmith.lock.answer import Denied
from locksmith.lock.records import keys
from locksmith.lock.records.claim import HOOKS_BEGUN, HOOKS_DONE
from locksmith.lock.records.order import Order
from locksmith.server.hooks import LEASE, PRE_REBOOT, STEADY_STATE
from locksmith.window.window_set import WindowSet
from tests.builders.claims import claim
from tests.builders.desks import POLL, play
from tests.builders.one_store import START, G
from tests.harness.fault_script import NEVER_SENT, FaultScript

PRE, STEADY = "pre", "steady"
FOLDERS = {PRE_REBOOT: PRE, STEADY_STATE: STEADY}


class Hooks:
    """The programs of all servers: what ran, how long each takes, and which fail."""

    def __init__(self, takes: float = 0.0, stages: tuple[str, ...] = (PRE_REBOOT, STEADY_STATE)) -> None:
        self.takes = takes
        self.stages = stages
        self.ran: list[str] = []
        self.under_way = 0
        self.most = 0
        self.failing: set[str] = set()
        self.told: list[dict[str, str]] = []

    def of(self, stage):
        return [Path(stage)] if stage in self.stages else []

    async def run(self, stage, name, environ, *, every=False):
        del name, every
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1
        self.ran.append(FOLDERS[stage])
        self.told.append(dict(environ))
        return [f"{stage}.d/10-drain: no node n1"] if FOLDERS[stage] in self.failing else []

    async def stop(self, stage, name):
        del name
        self.ran.append(f"{FOLDERS[stage]} stopped")

    def forget(self, stage, name):
        pass

    async def close(self):
        pass


def kind(refusal) -> str:
    return refusal.kind.value if refusal is not None else "granted"


def test_a_client_may_reboot_after_its_hooks_have_ended_well():
    async def story(fleet):
        hooks = Hooks(takes=600)
        desks = [fleet.desk(programs=hooks) for _ in range(3)]
        refusal = await desks[0].pre_reboot(G, "c1")
        assert (kind(refusal), refusal.sentence.split(" on ")[0]) == (
            "not_ready",
            "the hooks of fleetlock-pre-reboot.d run",
        )
        for desk in desks:  # whoever is asked
            assert kind(await desk.pre_reboot(G, "c1")) == "not_ready"
        assert (await fleet.cycle("c1")).held.hooks == HOOKS_BEGUN
        assert (await fleet.daemon().take(claim("n1"))).code == "slot"
        await asyncio.sleep(600)
        assert await desks[1].pre_reboot(G, "c1") is None
        assert await desks[2].pre_reboot(G, "c1") is None
        held = (await fleet.cycle("c1")).held
        assert (held.hooks, held.commits) == (HOOKS_DONE, 2)
        assert hooks.ran == [PRE]
        for _ in range(2):
            assert kind(await desks[2].steady_state(G, "c1")) == "not_ready"
        assert await fleet.holders() == ("c1",)
        await asyncio.sleep(600)
        assert await fleet.holders() == (), "the server releases it when the hooks have ended"
        assert await desks[0].steady_state(G, "c1") is None
        assert (hooks.ran, hooks.most) == ([PRE, STEADY], 1)
        assert [key for key in fleet.keys if "c1" in key] == []

    play(story)


def test_quick_hooks_are_waited_for_and_are_told_whom_they_are_for():
    async def story(fleet):
        hooks, desk = Hooks(takes=2), None
        desk = fleet.desk(programs=hooks)
        assert await desk.pre_reboot(G, "c1") is None
        assert await desk.steady_state(G, "c1") is None
        assert hooks.ran == [PRE, STEADY]
        assert hooks.told[0] == {
            "LOCKSMITH_GROUP": G,
            "LOCKSMITH_CLIENT_ID": "c1",
            "LOCKSMITH_HOSTNAME": "c1",
            "LOCKSMITH_REASON": "FleetLock",
            "LOCKSMITH_WHO": "locksmith-server",
        }

    play(story)


@pytest.mark.parametrize("stages", [(), (PRE_REBOOT,), (STEADY_STATE,)])
def test_without_programs_nothing_runs_and_no_key_is_written(stages):
    async def story(fleet):
        hooks = Hooks(stages=stages)
        desk = fleet.desk(programs=hooks)
        assert await desk.pre_reboot(G, "c1") is None
        assert await desk.steady_state(G, "c1") is None
        assert hooks.ran == [FOLDERS[stage] for stage in stages]
        wrote = any(key.startswith(f"{keys.group_prefix(G)}hooks/") for key, _ in fleet.server._past)
        assert wrote == bool(stages)

    play(story)


def test_hooks_that_fail_are_undone_and_the_next_call_tries_again():
    async def story(fleet):
        hooks = Hooks()
        hooks.failing = {PRE}
        desk = fleet.desk(programs=hooks)
        refusal = await desk.pre_reboot(G, "c1")
        assert (kind(refusal), refusal.sentence) == ("not_ready", "fleetlock-pre-reboot.d/10-drain: no node n1")
        assert await fleet.holders() == ()
        assert hooks.ran == [PRE, STEADY]
        hooks.failing = set()
        assert await desk.pre_reboot(G, "c1") is None

    play(story)


def test_hooks_that_fail_after_the_call_are_told_at_the_next():
    async def story(fleet):
        hooks = Hooks(takes=100)
        hooks.failing = {PRE}
        desk = fleet.desk(programs=hooks)
        assert "run on" in (await desk.pre_reboot(G, "c1")).sentence
        await asyncio.sleep(POLL)
        refusal = await desk.pre_reboot(G, "c1")
        assert kind(refusal) == "not_ready"
        assert "the last time they failed: fleetlock-pre-reboot.d/10-drain: no node n1" in refusal.sentence

    play(story)


def test_hooks_that_fail_after_a_reboot_keep_the_slot_and_are_tried_again():
    async def story(fleet):
        hooks = Hooks()
        desk = fleet.desk(programs=hooks)
        assert await desk.pre_reboot(G, "c1") is None
        hooks.failing = {STEADY}
        for _ in range(2):
            refusal = await desk.steady_state(G, "c1")
            assert (kind(refusal), refusal.sentence) == ("not_ready", "fleetlock-steady-state.d/10-drain: no node n1")
            assert await fleet.holders() == ("c1",)
        hooks.failing = set()
        assert await desk.steady_state(G, "c1") is None
        assert await fleet.holders() == ()

    play(story)


def test_a_server_that_is_killed_leaves_the_hooks_to_the_next():
    async def story(fleet):
        killed, hooks = Hooks(takes=1e6), Hooks()
        call = asyncio.ensure_future(fleet.desk(programs=killed).pre_reboot(G, "c1"))
        await asyncio.sleep(5)
        call.cancel()
        run = next(task for task in asyncio.all_tasks() if "_guarded" in repr(task))
        run.cancel()  # no line of it runs any more: the key stays until its lease ends
        killed.ran.clear()
        other = fleet.desk(programs=hooks)
        refusal = await other.pre_reboot(G, "c1")
        assert (kind(refusal), "the hooks of c1 run on" in refusal.sentence) == ("not_ready", True)
        await asyncio.sleep(LEASE)
        assert await other.pre_reboot(G, "c1") is None
        assert hooks.ran == [PRE]

    play(story)


def test_a_server_that_loses_its_key_stops_its_hooks():
    async def story(fleet):
        slow, quick = Hooks(takes=1000), Hooks()
        faults = FaultScript()
        desk = fleet.desk(faults, programs=slow)
        assert kind(await desk.pre_reboot(G, "c1")) == "not_ready"
        faults.fates = [NEVER_SENT] * 100
        await asyncio.sleep(2 * LEASE)
        assert slow.ran == ["pre stopped"]
        assert slow.under_way == 0
        assert await fleet.desk(programs=quick).pre_reboot(G, "c1") is None

    play(story)


def test_what_a_freeze_finds_prepared_is_undone_and_released():
    async def story(fleet):
        hooks = Hooks(takes=100)
        desk = fleet.desk(programs=hooks)
        assert kind(await desk.pre_reboot(G, "c1")) == "not_ready"
        await asyncio.sleep(POLL)
        await fleet.orders.freeze(Order("alice", START, "the database moves", nonce="f"))
        assert kind(await desk.pre_reboot(G, "c1")) == "frozen"
        await asyncio.sleep(POLL)
        assert await fleet.holders() == ()
        assert hooks.ran == [PRE, STEADY]
        await fleet.orders.thaw()
        hooks.takes = 0
        assert await desk.pre_reboot(G, "c1") is None
        assert hooks.ran == [PRE, STEADY, PRE]

    play(story)


@pytest.mark.slow
def test_no_commit_passes_while_another_server_undoes_the_hooks():
    """A freeze that one server alone has seen, and a thaw right after it."""

    async def story(fleet, begin):
        hooks = Hooks()
        first, second = fleet.desk(programs=hooks), fleet.desk(programs=hooks)
        own = client_cycle.new_claim("c1", "nonce", START, "c1")
        assert await first._slots(G).take(own) is None
        assert await fleet.daemon().lock.note_hooks(own, HOOKS_DONE) is not None
        await fleet.orders.freeze(Order("alice", START, "the database moves", nonce="f"))
        undoes = asyncio.ensure_future(first.pre_reboot(G, "c1"))
        for _ in range(begin):
            await asyncio.sleep(0)
        await fleet.orders.thaw()
        hooks.takes = 10
        answer = await second.pre_reboot(G, "c1")
        granted_after, under_way = list(hooks.ran), hooks.under_way
        await undoes
        if answer is None:
            assert (granted_after[-1:], under_way) in (([], 0), ([PRE], 0))
            assert STEADY not in hooks.ran[len(granted_after) :]
        return answer is None

    granted = [play(lambda fleet, begin=begin: story(fleet, begin)) for begin in range(80)]
    assert any(granted)


def test_a_server_without_hooks_does_not_grant_what_another_has_begun_to_prepare():
    async def story(fleet):
        assert kind(await fleet.desk(programs=Hooks(takes=1e6)).pre_reboot(G, "c1")) == "not_ready"
        refusal = await fleet.desk().pre_reboot(G, "c1")
        assert (kind(refusal), "here are none" in refusal.sentence) == ("not_ready", True)

    play(story)


def test_an_error_of_the_store_while_hooks_run_leaves_no_key_behind():
    async def story(fleet):
        hooks, faults = Hooks(takes=5), FaultScript()
        desk = fleet.desk(faults, programs=hooks)
        call = asyncio.ensure_future(desk.pre_reboot(G, "c1"))
        await asyncio.sleep(2)
        faults.fates = [NEVER_SENT]  # that they are done
        assert (await call).sentence == "no endpoint answered"
        assert [key for key in fleet.keys if key.startswith("hooks/")] == []
        assert await desk.pre_reboot(G, "c1") is None
        assert hooks.ran == [PRE, PRE]

    play(story)


def test_a_steady_state_while_the_first_hooks_run_waits_for_them():
    async def story(fleet):
        hooks = Hooks(takes=100)
        desk = fleet.desk(programs=hooks)
        assert kind(await desk.pre_reboot(G, "c1")) == "not_ready"
        assert kind(await desk.steady_state(G, "c1")) == "not_ready"
        await asyncio.sleep(100)
        assert kind(await desk.steady_state(G, "c1")) == "not_ready"
        await asyncio.sleep(100)
        assert await desk.steady_state(G, "c1") is None
        assert hooks.ran == [PRE, STEADY]
        assert await fleet.holders() == ()

    play(story)


def test_hooks_that_cannot_be_listed_refuse_every_client():
    async def story(fleet):
        class Closed(Hooks):
            def of(self, stage):
                raise HostError(f"{stage}.d cannot be listed")

        desk = fleet.desk(programs=Closed())
        assert kind(await desk.pre_reboot(G, "c1")) == "not_ready"
        assert not (await fleet.cycle("c1")).committed

    play(story)


def test_a_server_that_stops_ends_its_hooks():
    async def story(fleet):
        hooks = Hooks(takes=1000)
        desk = fleet.desk(programs=hooks)
        assert kind(await desk.pre_reboot(G, "c1")) == "not_ready"
        await desk.close()
        assert hooks.ran == ["pre stopped"]
        assert isinstance(await fleet.daemon().take(claim("n1")), Denied)

    play(story)


def test_a_window_that_closes_while_hooks_run_refuses_and_undoes_them():
    async def story(fleet):
        hooks = Hooks(takes=10)
        night = WindowSet.parse(["02:00 for 1h"], [], "UTC")
        desk = fleet.desk(programs=hooks, window_sets=("night",), known={"night": night})
        desk._local = lambda: fleet.now() + timedelta(minutes=49, seconds=55)
        assert kind(await desk.pre_reboot(G, "c1")) == "window"
        assert await fleet.holders() == ()
        assert hooks.ran == [PRE, STEADY]

    play(story)


def test_a_slot_that_another_server_has_just_committed_is_no_steady_state():
    async def story(fleet):
        hooks = Hooks(takes=20)
        desks = [fleet.desk(programs=hooks) for _ in range(2)]
        assert kind(await desks[0].pre_reboot(G, "c1")) == "not_ready"
        await asyncio.sleep(20)
        slots = desks[1]._slots(G)
        read = slots.read
        desks[1]._slots = lambda _group: slots

        async def read_before_the_commit(client):
            slots.read = read
            cycle = await read(client)
            assert await desks[0].pre_reboot(G, client) is None
            return cycle

        slots.read = read_before_the_commit
        refusal = await desks[1].steady_state(G, "c1")
        assert (await fleet.holders(), kind(refusal)) == (("c1",), "not_ready")
        assert kind(await desks[1].steady_state(G, "c1")) == "not_ready"
        await asyncio.sleep(20)
        assert await desks[1].steady_state(G, "c1") is None
        assert (await fleet.holders(), hooks.ran) == ((), [PRE, STEADY])

    play(story)


class _NoAnswer:
    """A network that answers nothing from a moment on; each call ends after some seconds."""

    def __init__(self, fleet, after: float, takes: float) -> None:
        self._fleet, self._after, self._takes = fleet, after, takes

    async def carry(self, call):
        await asyncio.sleep(0)
        if self._fleet.loop.time() >= self._after:
            await asyncio.sleep(self._takes)
            raise StoreUnavailableError("no endpoint answered")
        return call.apply()


@pytest.mark.slow
@pytest.mark.parametrize("takes", [5, 10, 20])
def test_hooks_of_a_server_without_etcd_end_before_another_server_runs_them(takes):
    async def story(fleet):
        hooks = Hooks(takes=600)
        assert kind(await fleet.desk(_NoAnswer(fleet, 5, takes), programs=hooks).pre_reboot(G, "c1")) == "not_ready"
        desk = fleet.desk(programs=hooks)
        while fleet.loop.time() < 2 * LEASE:
            assert kind(await desk.pre_reboot(G, "c1")) == "not_ready"
            await asyncio.sleep(1)
        assert (hooks.ran, hooks.under_way, hooks.most) == (["pre stopped"], 1, 1)

    play(story)


def test_a_client_whose_hooks_are_undone_is_prepared_again():
    async def story(fleet):
        hooks = Hooks(takes=20)
        desks = [fleet.desk(programs=hooks) for _ in range(2)]
        hooks.failing = {STEADY}
        assert kind(await desks[0].pre_reboot(G, "c1")) == "not_ready"
        await asyncio.sleep(20)
        assert await desks[0].pre_reboot(G, "c1") is None
        assert kind(await desks[0].steady_state(G, "c1")) == "not_ready"
        for desk in desks:
            assert kind(await desk.pre_reboot(G, "c1")) == "not_ready", "they are being undone"
        await asyncio.sleep(20)
        assert (await fleet.holders(), hooks.ran) == (("c1",), [PRE, STEADY])
        assert kind(await desks[1].pre_reboot(G, "c1")) == "not_ready"
        await asyncio.sleep(20)
        assert await desks[0].pre_reboot(G, "c1") is None
        assert (hooks.ran, hooks.most) == ([PRE, STEADY, PRE], 1)

    play(story)


def test_a_client_that_was_never_prepared_may_ask_again_after_a_failed_steady_state():
    async def story(fleet):
        hooks = Hooks(stages=(STEADY_STATE,))
        hooks.failing = {STEADY}
        desk = fleet.desk(programs=hooks)
        assert await desk.pre_reboot(G, "c1") is None
        assert kind(await desk.steady_state(G, "c1")) == "not_ready"
        assert await desk.pre_reboot(G, "c1") is None
        hooks.failing = set()
        assert await desk.steady_state(G, "c1") is None
        assert await fleet.holders() == ()

    play(story)
