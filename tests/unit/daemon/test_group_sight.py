"""What a machine knows of its group from its checks of the store: which figures, how old, and at what cost."""

import asyncio
import json
import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry

from locksmith.config.model import Config
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.daemon import group_sight
from locksmith.daemon.checked_presence import CHECK_AFTER, HOLD_OFF, CheckedPresence
from locksmith.daemon.group_metrics import FRESH, GroupMetrics
from locksmith.daemon.group_sight import GroupFigures, GroupSight, is_overdue
from locksmith.host.paths import Paths
from locksmith.lock.admin import LockAdmin
from locksmith.lock.guarded import Guarded
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import incident, keys, node, states
from locksmith.lock.records.claim import MANUAL, UNHEALTHY, Claim
from locksmith.lock.records.incident import FIRST, HaltAfter, Incident
from locksmith.lock.records.node import TTL, Node
from locksmith.server.desk import Desk
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.claims import NOW, claim
from tests.builders.desks import NoHooks
from tests.builders.groups import FREEZE
from tests.sim.virtual_time import run

LIMIT = timedelta(minutes=10)
SOON, LONG = timedelta(minutes=5), timedelta(hours=2)
REBOOTING = Node("n2", "n2", "boot", "", "etcd-lock", states.REBOOTING, NOW, written=NOW, lasts=int(TTL + 600))


class Group:
    """A group in memory, and what one machine sees of it."""

    def __init__(self, halt_after: HaltAfter = FIRST, machines: int = 0) -> None:
        self.store = MemoryStore(MemoryServer())
        self.now = NOW
        self.shown: list[GroupFigures] = []
        self.sight = GroupSight("", halt_after, lambda: machines, LIMIT, self.shown.append, clock=lambda: self.now)

    async def check(self, later: timedelta = timedelta()) -> GroupFigures:
        self.now += later
        asked = [keys.semaphore_key(""), *self.sight.keys()]
        self.sight.note(dict(zip(asked, await self.store.read(asked), strict=True)))
        return self.shown[-1]

    async def takes(self, name: str, **more) -> Claim:
        taken = claim(name, **more)
        await RebootLock(self.store, "", clock=lambda: self.now).take(taken)
        return taken

    async def reboots(self, name: str = "n2") -> None:
        taken = await self.takes(name)
        await self.shows(replace(REBOOTING, machine_id=name, since=self.now, written=self.now))
        await RebootLock(self.store, "").commit(taken)

    async def shows(self, shown: Node) -> None:
        key = keys.node_key("", shown.machine_id)
        await self.store.create(key, node.encode(shown), ttl=1e6)

    async def vanishes(self, name: str = "n2") -> None:
        entry = (await self.store.get(keys.node_key("", name))).entry
        assert entry
        await self.store.delete(entry.key, entry.version)


@pytest.fixture
def group() -> Group:
    return Group()


def known(**more) -> GroupFigures:
    return GroupFigures(**{"slots": 1, "held": 0, "frozen": 0, "lost": 0, "overdue": 0, "halted": 0, **more})


async def test_a_group_of_which_nothing_stands_anywhere_has_one_free_slot(group):
    assert await group.check() == known()


async def test_the_slots_and_a_freeze_are_seen(group):
    await LockAdmin(Guarded(group.store, "")).set_max(3)
    await OperatorOrders(group.store, "", clock=lambda: NOW).freeze(FREEZE)
    await group.check()
    await group.takes("mike", kind=MANUAL)
    assert await group.check() == known(slots=3, held=1, frozen=1)


async def test_a_node_that_took_its_slot_and_died_is_overdue_and_then_lost(group):
    await group.check()
    await group.reboots()
    assert await group.check(SOON) == known(held=1)
    assert await group.check(SOON) == known(held=1)
    assert await group.check(timedelta(seconds=1)) == known(held=1, overdue=1)
    await group.vanishes()
    assert await group.check(LIMIT) == known(held=1, lost=1, halted=1)


async def test_a_client_that_does_not_come_back_is_overdue_and_then_lost(group):
    server = MemoryStore(group.store._server)
    config = Config(server=ServerSettings(groups={"": ServedGroup()}))
    desk = Desk(config, Paths(), store=server, programs=NoHooks(), clock=lambda: group.now)
    await group.check()
    assert await desk.pre_reboot("", "c1") is None
    assert await group.check() == known(held=1)
    assert await group.check(timedelta(minutes=14)) == known(held=1)
    assert await group.check(timedelta(minutes=2)) == known(held=1, overdue=1)
    await group.vanishes("c1")
    assert await group.check(timedelta(minutes=15)) == known(held=1, lost=1, halted=1)
    assert await desk.steady_state("", "c1") is None
    assert await group.check() == known()


async def test_an_operator_who_knows_ends_the_halt_and_the_machine_stays_lost(group):
    await group.check()
    await group.reboots()
    await group.check()
    await group.vanishes()
    lock = RebootLock(group.store, "")
    assert (await group.check(LONG)).halted == 1
    state = await lock.guarded.read()
    claimed = state.claims["n2"]
    entry = (await group.store.get(keys.holder_key("", "n2"))).entry
    assert isinstance(claimed, Claim)
    assert entry
    acknowledged = replace(claimed, acknowledged="by alice")
    await group.store.swap(entry.key, claim_record.encode(acknowledged), entry.version)
    assert await group.check() == known(held=1, lost=1)


async def test_a_machine_that_came_up_sick_halts_its_group(group):
    await group.check()
    await group.reboots()
    await RebootLock(group.store, "").report_failure(claim("n2"), UNHEALTHY, "web.service has failed")
    assert await group.check() == known(held=1)
    assert await group.check(SOON) == known(held=1, halted=1)


async def test_a_slot_that_expired_halts_until_an_operator_knows(group):
    noted = incident.encode([Incident(claim("n2"), incident.EXPIRED, "it was lost")])
    await group.store.create(keys.incidents_key(""), noted)
    assert await group.check() == known(halted=1)


async def test_a_machine_that_has_just_got_its_slot_is_not_lost(group):
    await group.check()
    await group.takes("n2", since=NOW, taken=NOW)
    await group.check()
    assert await group.check(SOON) == known(held=1)
    assert (await group.check(LONG)).lost == 1


async def test_the_holders_at_the_start_are_not_known_until_they_are_read():
    group = Group()
    await group.reboots()
    first = await group.check()
    assert (first.slots, first.held) == (1, 1)
    assert all(map(math.isnan, (first.lost, first.overdue, first.halted)))
    assert group.sight.hurries
    assert await group.check() == known(held=1)
    assert not group.sight.hurries


async def test_many_holders_at_the_start_of_a_large_group_are_read_in_turn_without_hurry():
    group = Group(machines=30_000)
    await LockAdmin(Guarded(group.store, "")).set_max(20)
    names = [f"n{number}" for number in range(2, 12)]
    for name in names:
        await group.reboots(name)
    await group.check()
    assert group.sight.hurries
    counted = []
    for _ in range(3):
        assert len(group.sight.keys()) == 2 + 2 * group_sight.IN_LARGE
        counted.append((await group.check()).lost)
        assert not group.sight.hurries
    assert [math.isnan(lost) for lost in counted] == [True, True, False]


async def test_what_was_read_is_no_alarm_later_until_it_is_read_again():
    group = Group(machines=30_000)
    await LockAdmin(Guarded(group.store, "")).set_max(20)
    await group.check()
    for number in range(2, 12):
        await group.reboots(f"n{number}")
    for _ in range(3):
        await group.check()
    figures = await group.check(LIMIT + SOON)
    assert figures.overdue == group_sight.IN_LARGE


async def test_what_is_wrong_is_read_first_so_that_its_end_is_seen():
    group = Group(machines=30_000)
    await LockAdmin(Guarded(group.store, "")).set_max(20)
    await group.check()
    for number in range(2, 12):
        await group.takes(f"n{number}")
    await group.shows(replace(REBOOTING, machine_id="n1", since=group.now, written=group.now))
    lock = RebootLock(group.store, "", clock=lambda: group.now)
    await lock.take(claim("n1"))
    await lock.commit(claim("n1"))
    group.now += LIMIT + timedelta(minutes=1)
    while (await group.check()).overdue == 0:
        assert len(group.shown) < 20
    entry = (await group.store.get(keys.node_key("", "n1"))).entry
    assert entry
    well = replace(REBOOTING, machine_id="n1", state=states.VERIFYING, written=group.now)
    await group.store.update(entry, node.encode(well), 1e6)
    assert (await group.check()).overdue == 0


async def test_who_has_its_slot_for_longer_is_read_before_who_has_just_got_it(group):
    await LockAdmin(Guarded(group.store, "")).set_max(20)
    await group.check()
    earlier, later = [f"n{number}" for number in range(2, 6)], [f"n{number}" for number in range(6, 10)]
    for names in (earlier, later):
        for name in names:
            await group.takes(name)
        await group.check()
    assert set(group.sight.keys()[2:6]) == {keys.holder_key("", one) for one in earlier}


async def test_of_many_holders_each_has_its_turn(group, monkeypatch):
    monkeypatch.setattr(group_sight, "IN_LARGE", 2)
    await group.check()
    await LockAdmin(Guarded(group.store, "")).set_max(5)
    names = [f"n{number}" for number in range(2, 7)]
    for name in names:
        await group.reboots(name)
    for name in names:
        await group.vanishes(name)
    await group.check()
    asked = set()
    for _ in range(4):
        named = group.sight.keys()
        asked |= {key for key in named if "/holders/" in key}
        await group.check(LONG)
    assert asked == {keys.holder_key("", name) for name in names}
    assert (await group.check()).lost == 5


@pytest.mark.slow
async def test_more_holders_than_a_request_takes_fit_into_one():
    group = Group(machines=1000)
    await LockAdmin(Guarded(group.store, "")).set_max(300)
    for number in range(150):
        await group.takes(f"m{number}")
    await group.check()
    assert len(group.sight.keys()) == 2 + 2 * group_sight.AT_ONCE


async def test_a_share_of_an_unknown_number_of_machines_is_unknown():
    percent = HaltAfter(percent=Decimal(5))
    counted, uncounted = Group(percent, machines=100), Group(percent)
    for one in (counted, uncounted):
        assert (await one.check()).halted == 0
        await one.reboots()
        await one.check()
        await one.vanishes()
        await one.check(LONG)
    assert counted.shown[-1].halted == 0
    assert math.isnan(uncounted.shown[-1].halted)


@pytest.mark.parametrize("key", [keys.semaphore_key(""), keys.incidents_key("")])
async def test_what_cannot_be_read_is_unknown_and_no_error(group, key):
    await group.store.create(key, b"{")
    assert all(map(math.isnan, vars_of(await group.check())))


@pytest.mark.parametrize("kind", ["holder_key", "node_key"])
async def test_a_record_that_cannot_be_read_says_nothing(group, kind):
    await group.check()
    await group.reboots()
    key = getattr(keys, kind)("", "n2")
    entry = (await group.store.get(key)).entry
    await group.store.swap(key, b"{", entry.version, ttl=1e6)
    await group.check()
    assert await group.check(LONG) == known(held=1)


@pytest.mark.parametrize("changes", [{"lasts": 10**30}, {"lasts": -(10**30)}, {"since": "0001-01-01T00:00:00+14:00"}])
async def test_no_record_of_another_machine_ends_the_loop(group, changes):
    await group.check()
    await group.reboots()
    entry = (await group.store.get(keys.node_key("", "n2"))).entry
    assert entry
    hostile = json.dumps({**json.loads(entry.value), **changes}).encode()
    await group.store.update(entry, hostile, 1e6)
    await group.check(SOON)
    assert (await group.check(SOON)).lost in {0, 1} or math.isnan(group.shown[-1].lost)


@pytest.mark.parametrize(
    ("machine", "after", "overdue"),
    [
        (REBOOTING, 599, False),
        (REBOOTING, 601, True),
        (replace(REBOOTING, lasts=int(TTL)), 601, True),
        (replace(REBOOTING, lasts=int(TTL + 1200)), 601, False),
        (replace(REBOOTING, state=states.STUCK), 1, True),
        (replace(REBOOTING, state=states.VERIFYING), 3600, False),
    ],
    ids=["in time", "later", "without its own limit", "with a longer limit", "stuck", "up again"],
)
def test_overdue_is_longer_than_the_limit(machine, after, overdue):
    assert is_overdue(machine, NOW + timedelta(seconds=after), LIMIT) is overdue


def vars_of(figures: GroupFigures) -> list[float]:
    return [getattr(figures, name) for name in GroupFigures.__slots__]


class Counting(MemoryStore):
    """Counts its requests."""

    def __init__(self) -> None:
        super().__init__(MemoryServer())
        self.reads: list[float] = []

    async def read(self, keys):
        self.reads.append(asyncio.get_running_loop().time())
        return await super().read(keys)


class Silent:
    """A presence and a mark that say nothing."""

    clone = verdict = split = ""

    async def show(self, now: Node) -> None:
        pass

    def went_back(self, _resumed) -> str:
        return ""

    def keep(self) -> None:
        pass


@pytest.mark.parametrize(
    ("held", "moments"), [(False, [0, CHECK_AFTER, 2 * CHECK_AFTER]), (True, [0, HOLD_OFF, HOLD_OFF + CHECK_AFTER])]
)
def test_the_figures_cost_a_machine_at_rest_no_request_of_their_own(held, moments):
    async def story(_loop):
        store = Counting()
        if held:
            await RebootLock(MemoryStore(store._server), "").take(claim("n2"))
        sight = GroupSight("", FIRST, int, LIMIT, lambda _figures: None)
        silent: object = Silent()
        presence = CheckedPresence(silent, store, "", silent, sight=sight)  # type: ignore[arg-type]
        idle = Node("n1", "n1", "boot", "", "etcd-lock", states.IDLE, NOW)
        for _ in range(int(2 * CHECK_AFTER) // 10 + 1):
            await presence.show(idle)
            await asyncio.sleep(10)
        assert store.reads == moments

    run(story)


class Scrape:
    """The figures as Prometheus reads them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.now = 1000.0
        self.metrics = GroupMetrics(self.registry, "web", lambda: self.now)

    def __getitem__(self, name: str) -> float:
        value = self.registry.get_sample_value(f"locksmith_group_{name}", {"group": "web"})
        assert value is not None
        return value


def test_every_figure_of_a_group_is_there_before_the_first_check():
    scrape = Scrape()
    names = ("max", "held", "queued", "lost", "overdue", "halted", "frozen")
    assert all(math.isnan(scrape[name]) for name in names)
    assert scrape["seen_timestamp_seconds"] == 0


def test_figures_that_are_too_old_are_unknown_again():
    scrape = Scrape()
    scrape.metrics.show(known(lost=1))
    scrape.now += FRESH - 1
    assert (scrape["lost"], scrape["max"], scrape["seen_timestamp_seconds"]) == (1, 1, 1000)
    scrape.now += 1
    assert math.isnan(scrape["lost"])
    assert scrape["seen_timestamp_seconds"] == 1000
