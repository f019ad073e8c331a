"""The simulation can see: each rule is broken on purpose, by a part that is wrong in one place, and must be noticed."""

import asyncio
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from locksmith import keys
from locksmith.agent import Agent
from locksmith.brakes import Others
from locksmith.fleet import REBOOT, Claim
from locksmith.operator_orders import OperatorOrders, Ordered
from locksmith.queue import Queue
from locksmith.rebootlock import RebootLock
from locksmith.snapshot import Answer, Boot, Errand, Granted, Hooks, ShutdownState, Snapshot, WindowSight, Wish
from locksmith.steps import Withdraw
from locksmith.window_source import ConfiguredWindows
from locksmith_strategies.etcd_lock import EtcdLock
from tests.sim.daemon import Parts
from tests.sim.fleet import simulate
from tests.sim.plan import Calendars, Faults, Plan, plan
from tests.sim.story import BrokenRuleError

KINDS = {
    "agent": Agent,
    "queue": Queue,
    "strategy": EtcdLock,
    "lock": RebootLock,
    "orders": OperatorOrders,
    "windows": ConfiguredWindows,
}

SEEDS = range(60)
"""A broken part has to be noticed within these."""


class NoWindow(Agent):
    """Looks at everything but the window."""

    async def _observe(self) -> Snapshot:
        seen = await super()._observe()
        return replace(seen, window=WindowSight())


class NoLeast(Agent):
    """Begins a reboot however little of the window is left."""

    async def _observe(self) -> Snapshot:
        seen = await super()._observe()
        return replace(seen, settings=replace(seen.settings, least=timedelta(0)))


class OldWindows(ConfiguredWindows):
    """Reads a set of windows once, and goes by that for ever."""

    def _is_old(self, now: datetime, *, wanted: bool) -> bool:  # noqa: ARG002 - as it is there
        return self._read_at is None


class NoBlackouts(ConfiguredWindows):
    """Goes by its windows, and by no blackout."""

    async def look(self, now: datetime, *, wanted: bool) -> WindowSight:
        sight = await super().look(now, wanted=wanted)
        return replace(sight, windows=replace(sight.windows, blackouts=()) if sight.windows else None)


class NoLastLook(Agent):
    """Once it has seen a wish, believes in it for ever."""

    _wishes: tuple[Wish, ...] = ()

    async def _observe(self) -> Snapshot:
        seen = await super()._observe()
        self._wishes = seen.wishes or self._wishes
        return replace(seen, wishes=self._wishes, look_age=seen.look_age * 0)


class NoLookAfterTheCommit(Agent):
    """Reboots on what it saw before its commit, though somebody may have called it off until then."""

    async def _look(self, boot: Boot) -> None:
        if not self._progress.committed:
            await super()._look(boot)


class NoPatience(Agent):
    """Takes a machine that does not say that it goes down for one that stays up."""

    async def _observe(self) -> Snapshot:
        return replace(await super()._observe(), shutdown=ShutdownState.RUNNING)


class NoSettling(Agent):
    """Gives up at once when a reboot that was asked for cannot be seen yet."""

    async def _observe(self) -> Snapshot:
        seen = await super()._observe()
        return replace(seen, settings=replace(seen.settings, settle=seen.settings.settle * 0))


class NoMemory(Agent):
    """Asks for permission without writing its claim down first: a crash forgets it."""

    async def _request(self, entry) -> None:
        answer = await self._strategy(self._target).request(entry.claim)
        self._around.journal.begin(entry)
        self._follow(entry)
        self._progress.answer = answer


class ForgetsTooEarly(Agent):
    """Clears its journal before the slot is given back."""

    async def _withdraw(self, entry, step: Withdraw, snapshot: Snapshot) -> None:
        self._around.journal.clear(entry.claim.nonce)
        await super()._withdraw(entry, step, snapshot)


class DryRunReboots(Agent):
    """Does not look whether it is a dry run."""

    async def _observe(self) -> Snapshot:
        seen = await super()._observe()
        return replace(seen, settings=replace(seen.settings, dry_run=False))


class NoCommit(EtcdLock):
    """Reboots on an old permission."""

    async def commit(self, claim: Claim) -> Answer:  # noqa: ARG002 - part of the interface
        return Granted()


class NoTake(EtcdLock):
    """Grants what it has not asked for, and commits what it does not hold."""

    async def request(self, claim: Claim) -> Answer:  # noqa: ARG002 - part of the interface
        return Granted()

    async def commit(self, claim: Claim) -> Answer:  # noqa: ARG002 - part of the interface
        return Granted()


class Hasty(EtcdLock):
    """Gives its slot back as soon as it is past the point of no return."""

    async def commit(self, claim: Claim) -> Answer:
        answer = await super().commit(claim)
        await self._lock.give_back(claim, settle=False, why="hasty")
        return answer


class Rude(EtcdLock):
    """Frees its id of whatever claim stands there."""

    async def request(self, claim: Claim) -> Answer:
        standing = (await self._lock.lock.read()).claims.get(claim.holder)
        if isinstance(standing, Claim) and standing.kind != REBOOT:
            await self._lock.lock.unlock(claim.holder)
        return await super().request(claim)


class Generous(EtcdLock):
    """Makes itself a slot where there is none."""

    async def request(self, claim: Claim) -> Answer:
        state = await self._lock.lock.read()
        if state.semaphore.available <= 0:
            await self._lock.lock.set_max(state.semaphore.max + 1)
        return await super().request(claim)


class NoSettledTake(EtcdLock):
    """Gives up a take whose answer was lost without making sure that it can't win later."""

    async def withdraw(self, claim: Claim, reason: str) -> None:
        await self._lock.give_back(claim, settle=False, why=reason)

    async def complete(self, claim: Claim) -> None:
        await self._lock.give_back(claim, settle=False, why="rebooted")


class NoLine(Queue):
    """Takes itself for the first, whoever stands before it."""

    async def _look_around(self, place):
        look = await super()._look_around(place)
        return replace(look, line=replace(look.line, position=1), before=None)


class Apart(Queue):
    """Is left after the take: in one write with it, a place that is gone stops a late take too."""

    def place(self, claim: Claim) -> None:  # noqa: ARG002 - the line's own
        return None


class Sleepy(Queue):
    """Never hears that the one before it has gone."""

    async def wait(self, look):
        await asyncio.sleep(look.ends - look.at)
        return False


class NoCheckup(Agent):
    """Takes every machine that has booted for a healthy one."""

    async def _observe(self) -> Snapshot:
        seen = await super()._observe()
        if seen.errand is None or seen.errand.errand is not Errand.HEALTH:
            return seen
        return replace(seen, errand=replace(seen.errand, problems=()))


class NoHooks(Agent):
    """Takes the hooks before the reboot for done."""

    async def _observe(self) -> Snapshot:
        return replace(await super()._observe(), prepared=True)


class NoUndoing(Agent):
    """Forgets its hooks when it gives up."""

    async def _observe(self) -> Snapshot:
        seen = await super()._observe()
        entry = seen.journal.entry
        if entry is None or entry.hooks not in {Hooks.BEGUN, Hooks.PREPARED} or entry.boot != seen.boot:
            return seen
        hooked = replace(entry, hooks=Hooks.NONE)
        return replace(seen, journal=replace(seen.journal, entry=hooked))


class NoGates(Agent):
    """Does not ask whether somebody blocks."""

    async def _ask_gates(self, _entry):
        return ()


class Unbraked(RebootLock):
    """Knows neither freeze nor halt."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)

        async def nothing(*_args, **_kwargs) -> Others:
            return Others()

        self._brakes.judge = nothing  # type: ignore[method-assign]


class Untouched(OperatorOrders):
    """Orders without a touch: what was decided before them still wins."""

    async def freeze(self, order, ttl=None, *, fence=False):
        before = await self._put(keys.freeze_key(self._group), "freeze", order, ttl, fence=fence)
        return Ordered(before, await self.lock.read())


BROKEN = [
    (NoCheckup, "before it was healthy"),
    (NoHooks, "is not drained"),
    (NoUndoing, "still drained"),
    (NoGates, "its shutdown is blocked"),
    (Unbraked, "the group is frozen"),
    (Unbraked, "the group is halted"),
    (NoWindow, "outside its window"),
    (NoLastLook, "nothing wants it to"),
    (NoLookAfterTheCommit, "nothing wants it to"),
    (NoPatience, "before it had rebooted"),
    (NoSettling, "before it had rebooted"),
    (NoMemory, "still held"),
    (ForgetsTooEarly, "still held"),
    (DryRunReboots, "in a dry run"),
    (NoCommit, "past its point of no return"),
    (NoTake, "without holding a slot"),
    (Hasty, "without holding a slot"),
    (Rude, "undid the manual claim"),
    (Generous, "changed max"),
    (NoLine, "out of turn"),
]


def losing(drawn: Plan) -> Plan:
    """What it takes is so rare that it needs a storm of its own."""
    return replace(drawn, faults=Faults(lost_swap=0.5, rack_failure=0.8))


def slow(drawn: Plan) -> Plan:
    """What takes a write that is under way for seconds, and an operator who is busy."""
    return replace(drawn, faults=Faults(slow_store=0.5), operator_acts=40, slots=2)


def calm(drawn: Plan) -> Plan:
    """What only a quiet day shows."""
    return replace(drawn, faults=Faults(), go_nodes=0, operator_acts=0, spacing=0.0)


def tight(drawn: Plan) -> Plan:
    """What takes windows that have nearly closed when an update comes."""
    windows = tuple((2 * number, 6) for number in range(drawn.machines))
    return replace(drawn, windows=windows, hooks=True, calendars=Calendars(least=240.0))


def moving(drawn: Plan) -> Plan:
    """What takes an operator who moves the fleet's window all the time."""
    return replace(drawn, operator_acts=60, calendars=Calendars(fleet_set=True))


def black(drawn: Plan) -> Plan:
    """What takes a blackout over most of the storm."""
    return replace(drawn, windows=(None,) * drawn.machines, calendars=Calendars(blackout=(1, 13)))


def as_drawn(drawn: Plan) -> Plan:
    """What any seed shows."""
    return drawn


@pytest.mark.parametrize(
    ("part", "rule", "shape"),
    [
        *((part, rule, as_drawn) for part, rule in BROKEN),
        (NoSettledTake, "still held", losing),
        (Untouched, "the group is frozen", slow),
        (Sleepy, "stays free", calm),
        (NoLeast, "too little of its window left", tight),
        (OldWindows, "outside its window", moving),
        (NoBlackouts, "outside its window", black),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_broken_part_is_noticed(part, rule, shape):
    parts = next(Parts(**{name: part}) for name, kind in KINDS.items() if issubclass(part, kind))
    if shape is losing:
        parts = replace(parts, queue=Apart)
    noticed = []
    for seed in SEEDS:
        try:
            simulate(shape(plan(seed)), parts)
        except BrokenRuleError as error:
            noticed.append(error.rule)
            if rule in error.rule:
                return
    pytest.fail(f"not noticed, but {noticed}" if noticed else "not noticed")


def test_a_seed_tells_the_same_story_again():
    for seed in (3, 11, 22):
        assert simulate(plan(seed)).lines == simulate(plan(seed)).lines


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_tells_the_same_story_in_another_process(hash_seed):
    """Neither where things lie in memory nor how strings are hashed may decide anything."""
    command = [sys.executable, "-c", "from tests.sim.test_sight import digest; digest()"]
    done = subprocess.run(
        command, capture_output=True, check=True, timeout=60, env={**os.environ, "PYTHONHASHSEED": hash_seed}
    )
    assert done.stdout.decode() == fingerprint()


def fingerprint() -> str:
    lines = [line for seed in (3, 11, 22) for line in simulate(plan(seed)).lines]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest() -> None:
    os.write(1, fingerprint().encode())


def test_a_failure_tells_the_rule_the_last_events_and_how_to_replay_it():
    with pytest.raises(BrokenRuleError) as caught:
        simulate(plan(1), Parts(strategy=NoTake))
    told = str(caught.value)
    assert "without holding a slot" in told.splitlines()[0]
    assert "orders its reboot" in told
    assert "replay: LOCKSMITH_SIM_SEED=1 .venv/bin/pytest tests/sim" in told
