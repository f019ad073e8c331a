"""Parts that are wrong in one place, each with the rule that it breaks, and the storm that shows it.

A defect of the product that slips through all other tests is to be caught like these.
"""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from locksmith.agent.facts import Boot, RebootNeed, ShutdownState, Stage, WindowSight
from locksmith.agent.journal import Hooks, JournalEntry
from locksmith.agent.loop import Agent
from locksmith.agent.observe import Observer
from locksmith.agent.perform import Performer
from locksmith.agent.permit import Permit
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Abort, Run, Step
from locksmith.daemon.windows import ConfiguredWindows
from locksmith.errors import StoreUnavailableError
from locksmith.lock import places
from locksmith.lock.admin import LockAdmin
from locksmith.lock.admission_readings import Others
from locksmith.lock.answer import Answer, Denied, Granted
from locksmith.lock.holder import HolderState
from locksmith.lock.orders import OperatorOrders, Ordered
from locksmith.lock.prepared import Prepared
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.past import LastReboot
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.unlocking import Frees
from locksmith.server.hub import Hub
from locksmith.store.cluster import Clusters
from locksmith.store.protocol import Change, Check, Reading
from locksmith_strategies.etcd_lock import EtcdLock
from locksmith_strategies.server import Server
from tests.sim.daemon import Parts
from tests.sim.machine import SimJournal, SimSeen
from tests.sim.older_records import JournalOfNewNames
from tests.sim.plan import Calendars, Faults, Plan
from tests.sim.sim_desk import SimDesk, SimMachineDesk

KINDS = {
    "agent": Agent,
    "observer": Observer,
    "performer": Performer,
    "queue": Queue,
    "strategy": EtcdLock,
    "lock": RebootLock,
    "orders": OperatorOrders,
    "script": LockAdmin,
    "seen": SimSeen,
    "windows": ConfiguredWindows,
    "queued": QueuedLock,
    "journal": SimJournal,
    "desk": SimDesk,
    "machine_desk": SimMachineDesk,
    "server": Server,
    "hub": Hub,
}


class NoWindow(Observer):
    """Looks at everything but the window."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        return replace(seen, window=WindowSight())


class NoLastWindow(Observer):
    """Looks at the window no more once it has committed."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        return replace(seen, window=WindowSight()) if seen.committed_by_this_process else seen


class NoLeast(Observer):
    """Begins a reboot however little of the window is left."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        return replace(seen, settings=replace(seen.settings, min_remaining=timedelta(0)))


class OldWindows(ConfiguredWindows):
    """Reads a set of windows once, and goes by that for ever."""

    def _is_old(self, now: datetime, *, wanted: bool) -> bool:  # noqa: ARG002 - as it is there
        return self._read_at is None


class NoBlackouts(ConfiguredWindows):
    """Goes by its windows, and by no blackout."""

    async def check(self, now: datetime, *, wanted: bool) -> WindowSight:
        sight = await super().check(now, wanted=wanted)
        return replace(sight, windows=replace(sight.windows, blackouts=()) if sight.windows else None)


class NoLastLook(Observer):
    """Once it has seen a wish, believes in it for ever."""

    _needs: tuple[RebootNeed, ...] = ()

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        self._needs = seen.needs or self._needs
        return replace(seen, needs=self._needs, observed_ago=seen.observed_ago * 0)


class NoLookAfterTheCommit(Observer):
    """Reboots on what it saw before its commit, though an operator may have cancelled it by then."""

    async def _ask_triggers(self, boot: Boot) -> None:
        if not self._memory.claim.committed:
            await super()._ask_triggers(boot)


class Late(Observer):
    """Orders its reboot however long ago its commit was."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        return replace(seen, commit_age=timedelta(0))


class LateAtTheLastMoment(Performer):
    """Looks at the age of its commit when it decides, and not when it sends."""

    def _permit(self) -> Permit:
        return nullcontext


class Obliging(Observer):
    """Waits for users for as long as others log in."""

    async def observe(self) -> Snapshot:
        return replace(await super().observe(), warned_for=timedelta(0))


class NoPatience(Observer):
    """Takes a machine that does not say that it goes down for one that stays up."""

    async def observe(self) -> Snapshot:
        return replace(await super().observe(), shutdown=ShutdownState.RUNNING)


class NoSettling(Observer):
    """Gives up at once when a reboot that was asked for cannot be seen yet."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        return replace(seen, settings=replace(seen.settings, settle=seen.settings.settle * 0))


class NoMemory(Performer):
    """Asks for permission without writing its claim down first: a crash forgets it."""

    async def _request(self, entry) -> None:
        answer = await self._strategies.at(self._target).request(entry.claim)
        self._ports.journal.begin(entry)
        self._memory.follow(entry)
        self._memory.claim.answer = answer


class ForgetsTooEarly(Performer):
    """Clears its journal before the slot is given back."""

    async def _abort(self, entry, step: Abort, snapshot: Snapshot) -> None:
        self._ports.journal.clear(entry.claim.nonce)
        await super()._abort(entry, step, snapshot)


class DryRunReboots(Observer):
    """Does not look whether it is a dry run."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        return replace(seen, settings=replace(seen.settings, dry_run=False))


class RehearsesInEarnest(Performer):
    """Runs its hooks where it was to rehearse them."""

    async def perform(self, step: Step, snapshot: Snapshot) -> None:
        if isinstance(step, Run) and step.stage is Stage.REHEARSAL and self._ports.stages is not None:
            await self._ports.stages.run(Stage.PREPARE, await self._new_entry(snapshot))
        await super().perform(step, snapshot)


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
        await self._lock.release(claim.committed(), fence_pending=False, why="hasty")
        return answer


class Rude(EtcdLock):
    """Frees its id of whatever claim stands there."""

    async def request(self, claim: Claim) -> Answer:
        holder_state = (await self._lock.lock.read()).claims.get(claim.holder)
        if isinstance(holder_state, Claim) and holder_state.kind != REBOOT:
            await LockAdmin(self._lock.lock.guarded).unlock(claim.holder)
        return await super().request(claim)


class Generous(EtcdLock):
    """Makes itself a slot where there is none."""

    async def request(self, claim: Claim) -> Answer:
        state = await self._lock.lock.read()
        if state.semaphore.available <= 0:
            await LockAdmin(self._lock.lock.guarded).set_max(state.semaphore.max + 1)
        return await super().request(claim)


class NoSettledTake(EtcdLock):
    """Gives up a take whose answer was lost without making sure that it can't win later."""

    async def abort(self, claim: Claim, reason: str) -> None:
        await self._lock.release(claim, fence_pending=False, why=reason)

    async def complete(self, claim: Claim) -> None:
        await self._lock.release(claim, fence_pending=False, why="rebooted")


class NoLine(Queue):
    """Takes itself for the first, whichever machine is before it."""

    async def _observe_all(self, place):
        view = await super()._observe_all(place)
        return replace(view, queued=replace(view.queued, position=1), ahead=())


class Apart(Queue):
    """Is left after the take: in one write with it, a place that is gone stops a late take too."""

    def entries(self, claim: Claim) -> tuple[()]:  # noqa: ARG002 - the line's own
        return ()


class KeepsItsPlace(QueuedLock):
    """Stays first in the queue, whatever keeps it from taking a slot."""

    async def _binds_this_machine_alone(self, error) -> bool:  # noqa: ARG002 - as it is there
        return False

    async def _attempt(self, claim, leaving=(), prepared=None, position=1) -> bool:
        try:
            return await super()._attempt(claim, leaving, prepared, position)
        finally:
            self._absence = None


class TrustsLeases(Queue):
    """Takes a place for its machine's until its lease ends."""

    async def _clear(self, before) -> bool:  # noqa: ARG002 - as it is there
        return False


class NeverNear(Queue):
    """Far back it believes what it saw once, for ever."""

    def _view_of(self, sight, at):
        view = super()._view_of(sight, at)
        return view if view.before or view.queued.position == 1 else replace(view, ends=float("inf"))


class Forgetful(Queue):
    """Makes another place after a restart, whatever there is."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._places._take_over = self._another  # type: ignore[method-assign]

    async def _another(self, claim, ticket, _place):
        await self._store.delete(ticket.key, ticket.version)
        return (await self._places._enter(claim))[0]


class WaitsForOlder(Queue):
    """Waits for the places of older versions too, which wait for its own."""

    def _view_of(self, sight, at):
        view = super()._view_of(sight, at)
        if view.queued.position == 1 and (older := self._sight.older):  # type: ignore[attr-defined]
            return replace(view, ahead=tuple(older[:1]), queued=replace(view.queued, position=2))
        return view

    async def _observe_all(self, place):
        listing = await self._store.list(keys.waiters_prefix(self._group))
        self._sight.older = [e for e in listing.entries if places.number_of(e.key) is None]  # type: ignore[attr-defined]
        return await super()._observe_all(place)


class EndlessOrders(RebootLock):
    """Obeys an order until its lease ends, and no earlier."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._admission._left = lambda *_args: None  # type: ignore[method-assign]


class ShortOrders(RebootLock):
    """Takes the age of an order for what its own clock makes of it, and that is ahead."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._admission._unchanged.stood = lambda *_args: 1e6  # type: ignore[method-assign]


class Sleepy(Queue):
    """Never hears that the one before it has gone."""

    async def wait(self, view):
        await asyncio.sleep(view.ends - view.at)
        return False


class NoCheckup(Observer):
    """Takes every machine that has booted for a healthy one."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        if seen.stage is None or seen.stage.stage is not Stage.HEALTH:
            return seen
        return replace(seen, stage=replace(seen.stage, problems=()))


class NoHooks(Observer):
    """Takes the hooks before the reboot for done."""

    async def observe(self) -> Snapshot:
        return replace(await super().observe(), prepared=True)


class NoUndoing(Observer):
    """Forgets its hooks when it gives up."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        entry = seen.journal.entry
        if entry is None or entry.hooks not in {Hooks.BEGUN, Hooks.PREPARED} or entry.boot != seen.boot:
            return seen
        hooked = replace(entry, hooks=Hooks.NONE)
        return replace(seen, journal=replace(seen.journal, entry=hooked))


class NoGates(Observer):
    """Does not ask whether a user or a program blocks."""

    async def _ask_gates(self, _entry):
        return ()


class Unadmitted(RebootLock):
    """Knows neither freeze nor halt."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)

        async def nothing(*_args, **_kwargs) -> Others:
            return Others()

        self._admission.check = nothing  # type: ignore[method-assign]


class Untouched(OperatorOrders):
    """Orders without a touch: what was decided before them still wins."""

    async def freeze(self, order, ttl=None, *, legacy=False, keep_longer=False, shown=None):  # noqa: ARG002 - part of the interface
        before = await self._put(keys.freeze_key(self._group), "freeze", order, ttl, legacy=legacy)
        return Ordered(before, await self.admin.read())


class Amnesia(Observer):
    """Does not know what it has rebooted for."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        return replace(seen, journal=replace(seen.journal, done=None))


class ShortMemory(Observer):
    """Knows the last thing only that it has rebooted for, and no trigger."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        done = seen.journal.done
        return replace(seen, journal=replace(seen.journal, earlier=(), done=done and LastReboot(done.version, done.at)))


class Tireless(Observer):
    """Counts no reboots."""

    async def observe(self) -> Snapshot:
        seen = await super().observe()
        return replace(seen, settings=replace(seen.settings, max_per_day=0))


class NoFinish(Observer):
    """Takes the hooks behind the reboot for done."""

    async def observe(self) -> Snapshot:
        return replace(await super().observe(), finished=True)


class Fragile(Agent):
    """Ends with its first error."""

    async def _cycle(self) -> bool:
        ended = await super()._cycle()
        if self._failures:
            raise RuntimeError("the loop has had enough")
        return ended


class NoMark(SimSeen):
    """Believes a store that knows less than it has seen."""

    def went_back(self, resumed) -> str:
        super().went_back(resumed)
        return ""


class OnlyTakes(SimSeen):
    """Compares the revision where it takes a slot, and steps over it everywhere else."""

    def answered(self, position, known, *, linearizable=True) -> None:
        self._latest = position
        if position.revision > self._seen.revision:
            super().answered(position, known, linearizable=linearizable)

    def followed(self, entry, known, *, part) -> None:
        super().followed(entry, known, part=None if part is False else part)

    def went_back(self, resumed) -> str:
        super().answered(self._latest, self.sending())
        return super().went_back(resumed)


class NoHistory(SimSeen):
    """Compares revisions alone: a store that has grown past them is believed."""

    def followed(self, entry, known, *, part) -> None:
        super().followed(entry, known, part=None if part is False else part)


class Forgiving(NoHistory):
    """Writes no verdict down: the next start of the daemon believes the store again."""

    def _fields(self, seen):
        return super()._fields(replace(seen, back=None, why=""))


class AnyCluster(Clusters):
    """Takes every cluster for its own."""

    def heard(self, url: str, cluster: str) -> None:
        if not self.own:
            super().heard(url, cluster)


class Astray(NoHistory):
    """Believes whichever cluster answers."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        own = self.clusters
        self.clusters = AnyCluster(own.own, own.at, strict=False, adopted=self._adopt)


class NeverDrops(Performer):
    """Asks the store of each claim to release it, also one that never answered."""

    def _holds_nothing(self, entry: JournalEntry) -> bool:  # noqa: ARG002 - as it is there
        return False


class ForgetsThatItAsks(SimSeen):
    """Takes a slot with a claim of which its journal says that none was asked for."""

    def asking(self, *, slot: bool = True) -> None:
        pass


class NamesNoCluster(SimSeen):
    """Writes into its journal no cluster of a claim, so the claim is released at its old endpoints alone."""

    def cluster_of(self, api, endpoints) -> str:  # noqa: ARG002 - as it is there
        return ""


class Recent(HolderState):
    """Takes every journal for as young as the store."""

    def refuse_older(self, claim: Claim) -> None:
        pass


class NoOlderJournals(RebootLock):
    """Believes what the disk says, however old that is."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        read = self._own.holder_state_in

        def recent(*args) -> Recent:
            found = read(*args)
            return Recent(found.holder, found.semaphore, found.reading, found.record, found.claim)

        self._own.holder_state_in = recent  # type: ignore[method-assign, assignment]


class NoGroupMemory(RebootLock):
    """Does not ask the group what this machine has rebooted for."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._admission.refuse_repeat = lambda *_args: None  # type: ignore[method-assign]


class NoOrphans(RebootLock):
    """Does not see that another machine has forgotten its claim."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        read = self._admission._others

        async def others(*args) -> Others:
            found = await read(*args)
            nodes = {name: node and replace(node, claim=None) for name, node in found.present.items()}
            return replace(found, present=nodes)

        self._admission._others = others  # type: ignore[method-assign, assignment]


class Vanishing(Agent):
    """Ends its presence whenever its daemon stops."""

    def _holds_nothing(self) -> bool:
        return True


class Quiet(Agent):
    """Does not report that it cannot observe itself."""

    async def _answer_for_claim(self, failure: str, snapshot: Snapshot | None) -> None:
        pass


class Stubborn(Observer):
    """Waits for its disk, with the slot in its hand."""

    async def observe(self) -> Snapshot:
        return replace(await super().observe(), failed_writes=0)


class Roomy(Semaphore):
    """Always has one more slot."""

    def take(self, holder: str, _position: int = 1) -> Semaphore:
        return Semaphore(self.max, tuple(sorted({*self.holders, holder})))


class NoMax(RebootLock):
    """Takes a slot whether or not one is free."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        read = self._own.holder_state_in

        def roomy(*args) -> HolderState:
            found = read(*args)
            return replace(found, semaphore=Roomy(found.semaphore.max, found.semaphore.holders))

        self._own.holder_state_in = roomy  # type: ignore[method-assign, assignment]


class AllAtOnce(RebootLock):
    """Reads the records of all other holders, and their machines' presence, in one transaction."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)

        async def check(*args, **_held_and_last) -> Others:
            claim, now, _read = args
            ids = [one for one in now.semaphore.holders if one != claim.holder]
            await self.guarded.store.read(
                [now.reading.entry.key, *(key(self.guarded.group, one) for one in ids for key in BOTH)]
            )
            return Others()

        self._admission.check = check  # type: ignore[method-assign]


BOTH = (keys.holder_key, keys.node_key)


class Unchecked(Prepared):
    """Is not checked in the swap."""

    def checks(self, _written, _others) -> list[Check]:
        return []


class Trusting(RebootLock):
    """Takes a slot by what it has read before its wait, whether or not that still stands so. It hears late of a change.

    Where it is only late, all is well: the swap is refused.
    """

    async def wait(self, after, limit, key="", slots=None) -> Change | None:
        change = await super().wait(after, limit, key, slots)
        if change is not None and not key:
            await asyncio.sleep(0.8)
            return Change(await self.peek())
        return change

    async def take(self, claim, leaving=(), prepared=None, position=1) -> bool:
        if prepared is not None:
            prepared = Unchecked(**{part.name: getattr(prepared, part.name) for part in fields(prepared)})
        return await super().take(claim, leaving, prepared, position)


class Overwriting(RebootLock):
    """Releases its slot from what it wrote last, whatever the semaphore has become since."""

    async def _release_known(self, work, known, *, rebooted) -> Claim | None:
        now = known.holder_state
        entry = (await self.peek()).entry
        if entry is not None:
            record = await self.guarded.store.get(self.guarded.record_key(work.claim.holder))
            known = replace(
                known, holder_state=replace(now, reading=Reading(entry, entry.version), record=record.entry)
            )
        return await super()._release_known(work, known, rebooted=rebooted)


class Jumping(Queue):
    """Takes the place before its own for gone as soon as that is written."""

    async def wait(self, view):
        done = await super().wait(view)
        if done and view.before is not None:
            self._view = view.moved_up()
        return done


class Greedy(RebootLock):
    """Makes the claim that it finds on its own id its own."""

    async def take(self, claim: Claim, leaving=(), prepared=None, position=1) -> bool:
        holder_state = await self.guarded.holder_state(claim.holder)
        if holder_state.listed and holder_state.claim is not None and holder_state.claim.kind != REBOOT:
            await self.guarded.rewrite(holder_state, claim)
        return await super().take(claim, leaving, prepared, position)


class Mistaken(EtcdLock):
    """Takes a slot for the machine that is one place further."""

    async def request(self, claim: Claim) -> Answer:
        await self._lock.lock.take(replace(claim, holder=f"{claim.holder}0"))
        return await super().request(claim)


class Helpful(EtcdLock):
    """Frees the slot of another machine, if none is free."""

    async def request(self, claim: Claim) -> Answer:
        state = await self._lock.lock.read()
        for holder in state.semaphore.holders if state.semaphore.available <= 0 else ():
            if holder != claim.holder:
                await LockAdmin(self._lock.lock.guarded).unlock(holder)
        return await super().request(claim)


class Blunt(LockAdmin):
    """Frees the slot of any claim, whatever a script may free."""

    async def unlock(self, holder, shown=None, frees=Frees.ANY):  # noqa: ARG002 - part of the interface
        return await super().unlock(holder, shown)


class Bare(EtcdLock):
    """Loses the record of its claim, and gives back what stands there without one."""

    async def request(self, claim: Claim) -> Answer:
        answer = await super().request(claim)
        lock = self._lock.lock
        record = (await lock.guarded.store.get(keys.holder_key("", claim.holder))).entry
        if record is not None:
            await lock.guarded.store.delete(record.key, record.version)
            await lock.release_legacy(claim.holder)
        return answer


class Impatient(EtcdLock):
    """Goes without a slot where it would have to wait."""

    async def request(self, claim: Claim) -> Answer:
        await super().request(claim)
        return Granted()

    async def commit(self, claim: Claim) -> Answer:
        await super().commit(claim)
        return Granted()


class Refusing(EtcdLock):
    """Never finds that it may."""

    async def request(self, claim: Claim) -> Answer:  # noqa: ARG002 - part of the interface
        return Denied("slot", "no")

    async def changed(self, limit: float) -> bool:
        await asyncio.sleep(limit)
        return False


class Clinging(EtcdLock):
    """Cannot give back."""

    async def complete(self, claim: Claim) -> None:  # noqa: ARG002 - part of the interface
        raise StoreUnavailableError("not now")


def losing(drawn: Plan) -> Plan:
    """What it takes is so rare that it needs a storm of its own."""
    return replace(drawn, faults=Faults(lost_swap=0.5, rack_failure=0.8))


def slow(drawn: Plan) -> Plan:
    """What takes a write that is under way for seconds, and an operator who is busy."""
    faults, always = Faults(slow_store=0.6), (None,) * drawn.machines
    return replace(
        drawn, faults=faults, operator_acts=60, only=("freeze", "thaw"), slots=4, busy=5.0, windows=always, hooks=False
    )


def calm(drawn: Plan) -> Plan:
    """What only a quiet day shows."""
    return replace(drawn, faults=Faults(), go_nodes=0, operator_acts=0, spacing=0.0)


def scripted(drawn: Plan) -> Plan:
    """What takes units that stop all the time, on machines that come up sick."""
    return replace(
        drawn, windows=(None,) * drawn.machines, busy=5.0, stepwise=False, faults=Faults(sick=0.5, scripts=40)
    )


def tight(drawn: Plan) -> Plan:
    """What takes windows that have nearly closed when an update comes."""
    windows = tuple(f"00:{2 * number:02} for 6m" for number in range(drawn.machines))
    return replace(drawn, windows=windows, hooks=True, calendars=Calendars(least=240.0))


def moving(drawn: Plan) -> Plan:
    """What takes an operator who moves the fleet's window all the time."""
    return replace(drawn, operator_acts=60, calendars=Calendars(fleet_set=True))


def black(drawn: Plan) -> Plan:
    """What takes a blackout over most of the storm."""
    return replace(drawn, windows=(None,) * drawn.machines, calendars=Calendars(blackout=(1, 13)))


def restored(drawn: Plan) -> Plan:
    """What takes a store that goes back, and no operator who says that it is to be believed."""
    return replace(drawn, windows=(None,) * drawn.machines, busy=5.0, faults=Faults(restores=1), operator_acts=0)


def restored_while_idle(drawn: Plan) -> Plan:
    """What takes a store that goes back while machines want nothing of it, and that others write to a lot then."""
    faults = Faults(restores=2, traffic=3000)
    return replace(drawn, windows=(None,) * drawn.machines, busy=200.0, faults=faults, operator_acts=0)


def restored_and_restarted(drawn: Plan) -> Plan:
    """What takes daemons that are started again after that."""
    faults = Faults(restores=2, traffic=3000, restarts=30)
    return replace(drawn, windows=(None,) * drawn.machines, busy=60.0, faults=faults, operator_acts=0)


def rolled_back(drawn: Plan) -> Plan:
    """What takes updates that do not last, and an operator who looks after each of them."""
    return replace(drawn, windows=(None,) * drawn.machines, busy=5.0, faults=Faults(rollback=0.8))


def old_disks(drawn: Plan) -> Plan:
    """What takes disks that come up as they were some time ago."""
    faults = Faults(disk_rollback=0.8, power_cuts=8)
    return replace(drawn, windows=(None,) * drawn.machines, busy=5.0, faults=faults, operator_acts=0, go_nodes=0)


def insatiable(drawn: Plan) -> Plan:
    """What takes triggers that want a reboot for ever, and little else."""
    return replace(disturbed(drawn, Faults(insatiable=1.0)), busy=0.0)


def insatiable_without_disks(drawn: Plan) -> Plan:
    """What takes the same on machines that come up with nothing in /var/lib/locksmith."""
    faults = Faults(insatiable=1.0, disk_lost=0.5, power_cuts=40)
    return replace(insatiable(drawn), faults=faults, busy=5.0)


def lost_disks(drawn: Plan) -> Plan:
    """What takes machines that come up with an empty state, free slots in addition to theirs, and no operator."""
    shaped = old_disks(replace(drawn, machines=8, slots=6))
    return replace(shaped, faults=Faults(disk_lost=0.3), busy=0.0)


def full_disks(drawn: Plan) -> Plan:
    """What takes disks that take no writes, and hooks to write down."""
    return replace(old_disks(drawn), faults=Faults(full_disks=20), hooks=True)


def without_a_bus(drawn: Plan) -> Plan:
    """What takes machines that cannot look at themselves after their boot."""
    return replace(old_disks(drawn), faults=Faults(no_bus=0.7))


def stalling(drawn: Plan) -> Plan:
    """What takes daemons that stand still after their commit, or have no bus then."""
    return replace(drawn, windows=(None,) * drawn.machines, busy=5.0, faults=Faults(stalled=0.3))


def sociable(drawn: Plan) -> Plan:
    """What takes users who log in without end, and nothing else that goes wrong."""
    quiet = replace(calm(drawn), windows=(None,) * drawn.machines, calendars=Calendars())
    return replace(quiet, faults=Faults(logins=0.9))


def crowded(drawn: Plan) -> Plan:
    """What takes machines that all want the one slot."""
    return replace(drawn, machines=5, slots=1, windows=(None,) * 5, busy=5.0, faults=Faults(), go_nodes=0)


def many(drawn: Plan) -> Plan:
    """What takes more holders than one transaction has keys for: a slot for each, and a window all of them wait for."""
    opens, quiet = ("00:05 for 2h",) * 100, replace(calm(drawn), go_nodes=1, busy=0.0, calendars=Calendars())
    return replace(quiet, machines=100, slots=100, windows=opens, hooks=True)


def disturbed(drawn: Plan, faults: Faults) -> Plan:
    """What takes a queue that is never empty, with nothing wrong but what befalls it."""
    return replace(
        drawn,
        machines=4,
        slots=2,
        windows=(None,) * 4,
        busy=5.0,
        spacing=0.0,
        faults=faults,
        go_nodes=0,
        operator_acts=0,
        only=("freeze",),
        hooks=False,
        calendars=Calendars(),
    )


def several(drawn: Plan) -> Plan:
    """What takes several machines with a slot that are held back, and give it back, while others take slots."""
    shaped = replace(often_frozen(drawn), machines=6, windows=(None,) * 6, slots=3, hooks=True)
    return replace(shaped, faults=Faults(cancelled=0.3))


def astray(drawn: Plan) -> Plan:
    """What takes machines whose endpoints lead to another cluster, while others are down."""
    return replace(disturbed(drawn, Faults(astray=12)), slots=1)


def alone_astray(drawn: Plan) -> Plan:
    """What takes a machine that wants nothing, and that is led astray."""
    return replace(disturbed(drawn, Faults(astray=1)), machines=1, windows=(None,), busy=0.0)


def misdirected(drawn: Plan) -> Plan:
    """What takes machines whose endpoint is wrong for a while."""
    return disturbed(drawn, Faults(misdirected=12))


def unable(drawn: Plan) -> Plan:
    """What takes machines that cannot take a slot, for reasons of their own."""
    return disturbed(drawn, Faults(unable=4, ahead=1))


def deserted(drawn: Plan) -> Plan:
    """What takes a machine that goes for good, and leaders that change all the time."""
    return replace(disturbed(drawn, Faults(elections=1)), slots=1)


def copied(drawn: Plan) -> Plan:
    """What takes a keyspace without leases."""
    return replace(disturbed(drawn, Faults(copies=1)), slots=1)


def upgraded(drawn: Plan) -> Plan:
    """What takes machines of two versions."""
    return replace(disturbed(drawn, Faults(older=0.5)), slots=1)


def upgraded_while_sick(drawn: Plan) -> Plan:
    """What takes daemons that are upgraded when their reboot has gone wrong, and no operator."""
    faults = Faults(older=1.0, sick=0.8, restarts=40)
    return replace(disturbed(drawn, faults), busy=0.0)


def long_queue(drawn: Plan) -> Plan:
    """What takes more machines than watch the one before."""
    quiet = replace(calm(drawn), busy=0.0, calendars=Calendars(), stepwise=False)
    return replace(quiet, machines=40, slots=1, windows=("00:05 for 2h",) * 40)


def restarted(drawn: Plan) -> Plan:
    """What takes daemons that are killed while they wait."""
    return replace(crowded(drawn), faults=Faults(crash=0.02), stepwise=False)


def often_restarted(drawn: Plan) -> Plan:
    """What takes daemons that are stopped while their machines hold slots."""
    return replace(crowded(drawn), faults=Faults(restarts=60), slots=5, hooks=True)


def frozen(drawn: Plan) -> Plan:
    """What takes an operator who freezes for two minutes, and leaders that change all the time."""
    return replace(disturbed(drawn, Faults(elections=1)), operator_acts=1)


def must_release(drawn: Plan) -> Plan:
    """What takes people who call a reboot off at the last moment."""
    return disturbed(drawn, Faults(cancelled=0.3))


def often_frozen(drawn: Plan) -> Plan:
    """What takes an operator who freezes and thaws again and again."""
    drawn = disturbed(drawn, Faults())
    return replace(drawn, slots=1, stepwise=False, operator_acts=300, only=("freeze", "thaw"))


def patient(drawn: Plan) -> Plan:
    """What takes machines that stay in the queue while a slot is held, and others that hold it for long."""
    return replace(disturbed(drawn, Faults()), slots=1, stepwise=False, hooks=True)


def drained(drawn: Plan) -> Plan:
    """What takes machines with hooks, and nothing that keeps them from a reboot."""
    return replace(calm(drawn), hooks=True, windows=(None,) * drawn.machines)


def by_hand(drawn: Plan) -> Plan:
    """What takes an operator who locks machines by hand."""
    return replace(drawn, operator_acts=60, busy=5.0)


def as_drawn(drawn: Plan) -> Plan:
    """What any seed shows."""
    return drawn


@dataclass(frozen=True)
class Broken:
    """A broken part, words of the rule that it breaks, and what makes a plan show it."""

    part: type
    rule: str
    shape: Callable[[Plan], Plan] = as_drawn
    apart: bool = False
    """With a line that is left after the take."""
    also: type | None = None
    """Another part that is wrong too, where either alone is made up for by the other."""
    seed: int = 0
    """A seed that showed it when it was written: tried first, so that those which show nothing need not be played."""

    @property
    def parts(self) -> Parts:
        """What a daemon with it is made of."""
        kind = next(name for name, kind in KINDS.items() if issubclass(self.part, kind))
        others: dict[str, Any] = {
            name: self.also for name, kind in KINDS.items() if self.also and issubclass(self.also, kind)
        }
        return Parts(**{**others, **({"queue": Apart} if self.apart else {}), kind: self.part})


BROKEN = [
    # The slots
    Broken(NoMax, "took a slot although"),
    Broken(Generous, "changed max"),
    Broken(Mistaken, "took a slot for"),
    Broken(NoLine, "out of turn"),
    Broken(Jumping, "out of turn", patient),
    Broken(Overwriting, "gave back the slot of", several),
    Broken(NoMark, "has seen more of the store", restored, seed=12),
    Broken(OnlyTakes, "has seen a semaphore that the store has lost", restored_while_idle),
    Broken(NoHistory, "has seen a semaphore that the store has lost", restored_while_idle),
    Broken(Forgiving, "an answer told it", restored_and_restarted),
    Broken(Astray, "are down at once", astray),
    Broken(Astray, "wrote to another cluster", alone_astray, seed=5),
    Broken(Helpful, "gave back the slot of"),
    Broken(Blunt, "which is present and not through its reboot", scripted),
    Broken(Bare, "without a record"),
    Broken(Rude, "undid the manual claim", seed=3),
    Broken(Greedy, "wrote over the manual claim", by_hand, seed=5),
    Broken(NoPatience, "before it had rebooted", seed=11),
    Broken(NoSettling, "before it had rebooted"),
    Broken(NoCheckup, "before it was healthy", seed=17),
    Broken(NoFinish, "before its hooks had brought it back", seed=1),
    Broken(NoOlderJournals, "its disk was rolled back", old_disks),
    Broken(Quiet, "does not tell its group", without_a_bus),
    Broken(JournalOfNewNames, "and not why", upgraded_while_sick),
    Broken(Stubborn, "does not tell its group", full_disks),
    # The order to reboot
    Broken(DryRunReboots, "reboots in a dry run", seed=11),
    Broken(RehearsesInEarnest, "drains itself in a dry run", drained, seed=5),
    Broken(NoLastLook, "nothing wants it to", seed=2),
    Broken(NoLookAfterTheCommit, "nothing wants it to", must_release, seed=1),
    Broken(Amnesia, "reboots once more", rolled_back, also=NoGroupMemory),
    Broken(NoGroupMemory, "reboots once more", old_disks),
    Broken(ShortMemory, "reboots again for what", insatiable, also=NoGroupMemory),
    Broken(Tireless, "more often in a day", insatiable, also=NoGroupMemory, seed=1),
    Broken(NoGroupMemory, "more often in a day", insatiable_without_disks, seed=23),
    Broken(NoOrphans, "has forgotten its claim", lost_disks),
    Broken(NoWindow, "outside its window"),
    Broken(NoLastWindow, "outside its window"),
    Broken(OldWindows, "outside its window", moving, seed=5),
    Broken(NoBlackouts, "outside its window", black),
    Broken(NoLeast, "too little of its window left", tight),
    Broken(Late, "long after its commit", stalling, also=LateAtTheLastMoment),
    Broken(LateAtTheLastMoment, "long after its commit", stalling),
    Broken(NoGates, "its shutdown is blocked", seed=1),
    Broken(NoHooks, "is not drained", seed=1),
    Broken(Unadmitted, "the group is frozen", seed=13),
    Broken(Untouched, "the group is frozen", slow),
    Broken(Trusting, "takes a slot although the group is frozen", often_frozen),
    Broken(Unadmitted, "the group is halted", seed=5),
    Broken(NoCommit, "past its point of no return"),
    Broken(NoTake, "past its point of no return"),
    Broken(Impatient, "are down at once", crowded),
    Broken(Hasty, "past its point of no return"),
    # What has to come to its end
    Broken(Obliging, "for longer than its users may", sociable, seed=3),
    Broken(Refusing, "still waits", crowded),
    Broken(Clinging, "still has a claim", crowded),
    Broken(NoMemory, "still held", seed=5),
    Broken(ForgetsTooEarly, "still held", seed=3),
    Broken(NoSettledTake, "still held", losing, apart=True, seed=2),
    Broken(NoUndoing, "still drained", seed=9),
    Broken(NeverDrops, "still has a claim", misdirected),
    Broken(ForgetsThatItAsks, "still held", misdirected),
    Broken(NamesNoCluster, "still has a claim", misdirected),
    Broken(Sleepy, "stays free", calm, seed=6),
    Broken(AllAtOnce, "asks the store for too much at once", many),
    Broken(Sleepy, "stays free for", calm, seed=6),
    Broken(KeepsItsPlace, "stays free although", unable, seed=3),
    Broken(TrustsLeases, "stays free although", deserted, seed=3),
    Broken(TrustsLeases, "stays free although", copied, seed=3),
    Broken(NeverNear, "stays free for", long_queue, seed=3),
    Broken(WaitsForOlder, "stays free although", upgraded, seed=6),
    Broken(Forgetful, "stands twice", restarted),
    Broken(Vanishing, "ends its presence while it holds a slot", often_restarted),
    Broken(EndlessOrders, "stays free although", frozen, seed=4),
    Broken(ShortOrders, "ended an order before its time", frozen, seed=4),
    Broken(Fragile, "ended by itself"),
]
