"""The loop of notifications on the store in memory: several servers, lost answers, deaths, and a store that is away."""

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from locksmith.config.model import Config
from locksmith.config.notify_model import NotifySettings, Target
from locksmith.errors import StoreUnavailableError
from locksmith.fleet.notice_templates import Templates
from locksmith.fleet.reader import read_group
from locksmith.lock.orders import OperatorOrders
from locksmith.lock.records import keys, notice
from locksmith.lock.records.notice import Ledger
from locksmith.lock.records.order import Order
from locksmith.server import notice_post
from locksmith.server.delivery import Delivery, DeliveryError
from locksmith.server.notice_post import NoticeCounts
from locksmith.server.notify import PERIOD, Notifications
from locksmith.server.outbox import CLAIM_TTL, KEPT, Outbox
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.harness.fault_script import ANSWER_LOST, ARRIVES, DROPPED, FaultScript
from tests.sim.virtual_time import run

START = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
G = "web"


class Fleet:
    """A store, and what servers have sent: the targets take it, unless `refuses` says otherwise."""

    def __init__(self, *targets: Target) -> None:
        self.server = MemoryServer()
        self.sent: list[tuple[str, str]] = []
        self.refuses: set[str] = set()
        self.slow = 0.0
        named = {target.name: target for target in targets or (Target("ops", groups=(G,)),)}
        self.config = Config(notify=NotifySettings(named))
        self.orders = OperatorOrders(self.store(), G, clock=self.now)

    def store(self, faults=None) -> MemoryStore:
        return MemoryStore(self.server, faults)

    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    def notifications(self, faults=None, view=None) -> Notifications:
        counts = NoticeCounts(self.config.notify.targets)
        store = self.store(faults)
        made = Notifications(self.config, store, server="s (1)", clock=self.now, counts=counts, view=view)
        for post in made._posts:
            post._delivery = Recorded(post._target, self)
        return made

    @asynccontextmanager
    async def running(self, number: int = 1):
        servers = [self.notifications() for _ in range(number)]
        tasks = [asyncio.ensure_future(server.run()) for server in servers]
        yield servers
        for server in servers:
            server.stop()
        await asyncio.gather(*tasks)

    async def freeze(self) -> None:
        await self.orders.freeze(Order("alice", self.now().replace(microsecond=0), "why not"))

    @property
    def events(self) -> list[str]:
        return [one.rpartition("-")[0] for _, one in self.sent]


class Recorded(Delivery):
    """Notes what is sent, and sends nothing: here time is virtual, and a thread's is not."""

    def __init__(self, target: Target, fleet: Fleet) -> None:
        super().__init__(target, Templates())
        self._fleet = fleet

    async def send(self, told) -> None:
        await asyncio.sleep(self._fleet.slow)
        if self.target.name in self._fleet.refuses:
            raise DeliveryError("refused")
        self._fleet.sent.append((self.target.name, told.id))


@pytest.mark.slow
def test_five_servers_send_each_event_once_to_each_target():
    async def story(_):
        fleet = Fleet(Target("ops", groups=(G,)), Target("chat"), Target("other", groups=("db",)))
        async with fleet.running(5):
            for _ in range(3):
                await fleet.freeze()
                await asyncio.sleep(100)
                await fleet.orders.thaw()
                await asyncio.sleep(100)
        assert Counter(name for name, _ in fleet.sent) == {"ops": 6, "chat": 6}
        assert [one for name, one in fleet.sent if name == "ops"] == [one for name, one in fleet.sent if name == "chat"]
        assert len(set(fleet.sent)) == 12

    run(story)


@pytest.mark.slow
def test_while_nothing_happens_nothing_is_written():
    async def story(_):
        fleet = Fleet()
        await fleet.freeze()
        async with fleet.running(2):
            await asyncio.sleep(100)
            before = fleet.server.revision
            await asyncio.sleep(1000)
            assert fleet.server.revision == before

    run(story)


def test_what_happens_while_no_server_runs_is_told_by_the_next_one():
    async def story(_):
        fleet = Fleet()
        async with fleet.running():
            await fleet.freeze()
            await asyncio.sleep(100)
        await fleet.orders.thaw()
        await asyncio.sleep(KEPT * 3)
        async with fleet.running():
            await asyncio.sleep(100)
        assert fleet.events == ["frozen", "thawed"]

    run(story)


def test_a_target_that_refuses_is_tried_again_and_then_given_up_alone(caplog, monkeypatch):
    backoff = (30.0, 60.0, 120.0)
    monkeypatch.setattr(notice_post, "BACKOFF", backoff)

    async def story(_):
        fleet = Fleet(Target("bad", groups=(G,)), Target("good", groups=(G,)))
        fleet.refuses = {"bad"}
        async with fleet.running(2) as servers:
            await fleet.freeze()
            await asyncio.sleep(100)
            assert fleet.events == ["frozen"]
            await asyncio.sleep(sum(backoff) * 2 + 100)
            fleet.refuses = set()
            await asyncio.sleep(sum(backoff))
            counted: Counter[tuple[str, str]] = Counter()
            for server in servers:
                counted.update(server._posts[0]._counts._counts)
            await fleet.orders.thaw()
            await asyncio.sleep(100)
        assert Counter(fleet.sent).total() == 3
        assert counted["bad", "failed"] == len(backoff) + 1
        assert (counted["bad", "given_up"], counted["good", "sent"]) == (1, 1)

    with caplog.at_level(logging.WARNING):
        run(story)
    said = [record.getMessage() for record in caplog.records]
    assert sum("tried again in" in line for line in said) <= 2  # one for each server
    assert sum(f"after {len(backoff) + 1} tries: refused" in line for line in said) == 1


def test_a_view_that_is_older_than_the_ledger_ends_nothing():
    """A mirror may lag: it must not make a freeze seem thawed."""

    async def story(_):
        fleet = Fleet()
        old = await read_group(fleet.store(), G)

        async def lagging(_group):
            return old

        await fleet.freeze()
        fresh, late = fleet.notifications(), fleet.notifications(view=lagging)
        for _ in range(3):
            await fresh.cycle()
            await late.cycle()
        assert [one.event for one in await Outbox(fleet.store(), G, "s").pending()] == ["frozen"]

    run(story)


def test_of_two_servers_that_compare_at_once_one_writes():
    async def story(_):
        fleet = Fleet()
        await fleet.freeze()
        other = fleet.notifications()

        async def meanwhile(group):
            await other.cycle()
            return await read_group(fleet.store(), group)

        slower = fleet.notifications(view=meanwhile)
        await slower.cycle()
        assert len(await Outbox(fleet.store(), G, "s").pending()) == 1
        assert slower._posts[0]._pending[G] != ()  # and both know what there is to send

    run(story)


@pytest.mark.slow
def test_an_answer_that_is_lost_after_the_send_does_not_repeat_it():
    async def story(_):
        for lost in range(8):
            fleet, faults = Fleet(), FaultScript([ARRIVES] * lost + [ANSWER_LOST, DROPPED])
            await fleet.freeze()
            unlucky, other = fleet.notifications(faults), fleet.notifications()
            tasks = [asyncio.ensure_future(one.run()) for one in (unlucky, other)]
            await asyncio.sleep(CLAIM_TTL * 4)
            for one in (unlucky, other):
                one.stop()
            await asyncio.gather(*tasks)
            assert fleet.events == ["frozen"], lost

    run(story)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_servers_that_die_lose_nothing_and_repeat_at_most_what_they_sent_last(seed):
    async def story(_):
        rng, fleet, deaths, events = Random(seed), Fleet(), 0, []
        fleet.slow = 5.0
        tasks = [asyncio.ensure_future(fleet.notifications().run()) for _ in range(2)]
        for event in ("frozen", "thawed") * 4:
            await (fleet.freeze() if event == "frozen" else fleet.orders.thaw())
            events.append(event)
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(rng.uniform(0, PERIOD + 6))
                tasks.pop(rng.randrange(len(tasks))).cancel()
                deaths += 1
                tasks.append(asyncio.ensure_future(fleet.notifications().run()))
            await asyncio.sleep(CLAIM_TTL + 3 * PERIOD)
        found = list(dict.fromkeys(one for _, one in fleet.sent))
        assert [one.rpartition("-")[0] for one in found] == events
        assert len(fleet.sent) - len(found) <= deaths
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(story)


def test_a_ledger_that_cannot_be_read_is_logged_and_holds_up_no_other_group(caplog):
    async def story(_):
        fleet = Fleet(Target("ops", groups=("broken", G)))
        await fleet.store().create(keys.ledger_key("broken"), b"{}x")
        await fleet.freeze()
        async with fleet.running():
            await asyncio.sleep(100)
        assert fleet.events == ["frozen"]
        entry = (await fleet.store().get(keys.ledger_key("broken"))).entry
        assert entry is not None
        assert entry.value == b"{}x"

    run(story)
    assert "what is new of group broken cannot be told now" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_store_that_is_away_is_logged_seldom_and_read_again(caplog):
    class Away:
        down = True

        async def carry(self, call):
            await asyncio.sleep(0)
            if self.down:
                raise StoreUnavailableError("no endpoint answers")
            return call.apply()

    async def story(_):
        fleet, away = Fleet(), Away()
        await fleet.freeze()
        server = fleet.notifications(away)
        task = asyncio.ensure_future(server.run())
        await asyncio.sleep(3600)
        away.down = False
        await asyncio.sleep(100)
        server.stop()
        await task
        assert fleet.events == ["frozen"]

    run(story)
    assert 0 < len(caplog.records) <= 16


def test_a_claim_that_came_too_late_is_not_sent(monkeypatch):
    """The server was frozen between the claim and its answer: another server may have sent meanwhile."""

    async def story(_):
        fleet = Fleet()
        await fleet.freeze()
        server = fleet.notifications()
        claim = Outbox.claim

        async def slow(self, *given):
            found = await claim(self, *given)
            await asyncio.sleep(CLAIM_TTL)
            return found

        monkeypatch.setattr(Outbox, "claim", slow)
        task = asyncio.ensure_future(server.run())
        await asyncio.sleep(CLAIM_TTL + 2 * PERIOD)
        assert fleet.sent == []
        monkeypatch.undo()
        await asyncio.sleep(CLAIM_TTL + 2 * PERIOD)
        assert fleet.events == ["frozen"]
        server.stop()
        await task

    run(story)


def test_groups_are_listed_only_if_a_target_wants_all():
    async def story(_):
        fleet = Fleet(Target("ops", groups=(G,)))
        for group in ("", "db", "web"):
            await OperatorOrders(fleet.store(), group).freeze(Order("alice", START))
        named, every = fleet.notifications(), None
        assert await named._groups() == (G,)
        fleet.config = replace(fleet.config, notify=NotifySettings({"ops": Target("ops")}))
        every = fleet.notifications()
        assert await every._groups() == ("", "db", "web")

    run(story)


def test_the_metric_has_every_target_and_outcome():
    counts = NoticeCounts(["ops", "chat"])
    counts.count("ops", "sent")
    [family] = counts.collect()
    assert family.name == "locksmith_server_notices"
    found = {tuple(one.labels.values()): one.value for one in family.samples}
    assert found == {
        (name, how): float((name, how) == ("ops", "sent")) for name in ("ops", "chat") for how in notice_post.OUTCOMES
    }


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"told": {"lost": 3}}', b'{"told": {"lost": {"a": [1]}}}', b'{"last": {"lost": 1}}']
)
def test_a_ledger_is_read_or_refused(raw):
    if raw == b"{}":
        assert notice.decode_ledger(raw, "key") == Ledger()
    else:
        with pytest.raises(Exception, match="not a ledger of notices"):
            notice.decode_ledger(raw, "key")
