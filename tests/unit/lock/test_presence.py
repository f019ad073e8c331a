"""A machine's presence, on the store in memory and on made-up time: what is written when, and how a twin is found."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.errors import HostError, StoreUnavailableError
from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock.presence import BURST, CLONE_MEMORY, HOLD_OFF, KEEP_AFTER, PER_SECOND, Presence
from locksmith.lock.records import keys, node
from locksmith.lock.records.node import TTL, Node
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.meter import Meter
from tests.builders.nodes import IDLE, NOW, WAITING, Boots, Registry, days_pass
from tests.sim.virtual_time import run


def play(story):
    return run(lambda _loop: story(Registry()))


def test_what_a_machine_does_is_written_when_it_changes():
    async def story(registry):
        presence = registry.presence()
        await presence.show(IDLE)
        assert registry.record == IDLE
        await presence.show(WAITING)
        assert registry.record == WAITING

    play(story)


def test_since_is_when_the_state_began_whatever_else_changes():
    async def story(registry):
        presence = registry.presence()
        await presence.show(WAITING)
        await presence.show(replace(WAITING, need_version="2.0", since=NOW + timedelta(hours=1)))
        assert registry.record == replace(WAITING, need_version="2.0")

    play(story)


@pytest.mark.slow
def test_an_idle_machine_costs_at_most_one_request_in_five_minutes():
    async def story(registry):
        presence = registry.presence()
        await presence.show(IDLE)
        registry.calls.clear()
        await days_pass(presence, IDLE, 86400)
        assert set(registry.calls) == {"renew"}
        assert len(registry.calls) <= 86400 / KEEP_AFTER
        assert registry.record == IDLE

    play(story)


def test_a_machine_that_says_nothing_is_gone_after_a_while():
    async def story(registry):
        await registry.presence().show(IDLE)
        await asyncio.sleep(TTL - 1)
        assert registry.read() == IDLE
        await asyncio.sleep(2)
        assert registry.read() is None

    play(story)


def test_a_daemon_that_starts_while_no_write_works_leaves_the_record_as_it_is():
    async def story(registry):
        await registry.presence().show(IDLE)
        registry.full = True
        with pytest.raises(StoreUnavailableError):
            await registry.presence().show(WAITING)
        assert registry.record == IDLE

    play(story)


def test_before_it_goes_down_it_is_written_to_last_as_long_as_a_reboot_may_take():
    async def story(registry):
        presence = registry.presence()
        await presence.show(IDLE)
        await presence.confirm(replace(IDLE, state="rebooting"), 600)
        await asyncio.sleep(TTL + 599)
        assert registry.record.state == "rebooting"
        await asyncio.sleep(2)
        assert registry.read() is None

    play(story)


def test_a_record_that_expired_while_the_store_was_away_is_written_again():
    async def story(registry):
        presence = registry.presence()
        await presence.show(IDLE)
        await asyncio.sleep(2 * TTL)
        assert registry.read() is None
        await presence.show(IDLE)
        assert registry.record == IDLE
        assert not presence.clone

    play(story)


def test_what_flutters_is_written_when_it_rests():
    async def story(registry):
        presence = registry.presence()
        for number in range(100):
            await presence.show(replace(WAITING, reason=str(number)))
            await asyncio.sleep(0.2)
        assert registry.calls.count("update") <= 100 * 0.2 * PER_SECOND + BURST
        await asyncio.sleep(1 / PER_SECOND)
        await presence.show(WAITING)
        assert registry.record == WAITING

    play(story)


def test_a_reboot_is_no_twin():
    async def story(registry):
        boots = Boots()
        for boot in range(5):
            presence = registry.presence(boots)
            state = replace(IDLE, boot_id=f"boot-{boot}")
            await days_pass(presence, state, 1000)
            await presence.confirm(replace(state, state="rebooting"), 600)
            assert not presence.clone
        assert not registry.record.clone

    play(story)


def test_a_restart_of_the_daemon_is_no_twin():
    async def story(registry):
        boots = Boots()
        for _ in range(5):
            presence = registry.presence(boots)
            await days_pass(presence, IDLE, 1000)
            assert not presence.clone

    play(story)


def test_an_idle_twin_is_found_by_both_and_forgotten_when_it_is_gone():
    async def story(registry):
        first, second = registry.presence(), registry.presence()
        one, other = IDLE, replace(IDLE, boot_id="boot-of-the-copy", hostname="copy")
        tasks = [
            asyncio.ensure_future(days_pass(first, one, 1e9)),
            asyncio.ensure_future(days_pass(second, other, 1e9)),
        ]
        await asyncio.sleep(3 * KEEP_AFTER)
        assert first.clone == "copy (boot boot-of-the-copy)"
        assert second.clone == "n1 (boot boot-1)"
        registry.calls.clear()
        await asyncio.sleep(10 * KEEP_AFTER)
        assert first.clone
        assert second.clone
        assert len(registry.calls) <= 2 * 10 * 5  # five calls each, at each turn: they do not fight over the key
        tasks[1].cancel()
        await asyncio.sleep(CLONE_MEMORY + 2 * KEEP_AFTER)
        assert not first.clone
        assert not registry.record.clone
        tasks[0].cancel()

    play(story)


@pytest.mark.parametrize("hostname", ["n1", "copy"])
def test_a_twin_that_would_reboot_is_found_at_the_point_of_no_return_at_the_latest(hostname):
    async def story(registry):
        first, second = registry.presence(), registry.presence()
        other = replace(IDLE, boot_id="boot-of-the-copy", hostname=hostname)
        await first.show(IDLE)
        await second.show(other)
        await first.confirm(replace(IDLE, state="rebooting"), 600)
        assert first.clone
        await second.confirm(replace(other, state="rebooting"), 600)
        assert second.clone

    play(story)


def test_a_daemon_that_restarts_learns_of_its_twin_from_what_that_has_written():
    async def story(registry):
        first, second = registry.presence(), registry.presence()
        other = replace(IDLE, boot_id="boot-of-the-copy")
        await first.show(IDLE)
        await second.show(other)
        await asyncio.sleep(KEEP_AFTER)
        await first.show(IDLE)
        assert first.clone
        restarted = registry.presence()
        await restarted.confirm(replace(other, state="rebooting"), 600)
        assert restarted.clone

    play(story)


def test_a_record_that_cannot_be_read_is_written_anew():
    async def story(registry):
        await MemoryStore(registry.server).create(keys.node_key("web", "m1"), b"rubbish", ttl=TTL)
        presence = registry.presence()
        await presence.show(IDLE)
        assert registry.record == IDLE
        assert not presence.clone

    play(story)


def test_a_record_of_a_boot_that_this_machine_has_never_seen_is_a_twins():
    async def story(registry):
        first, second = registry.presence(Boots()), registry.presence(Boots("boot-before"))
        await first.confirm(IDLE, 0)
        assert not first.clone
        await second.confirm(replace(IDLE, boot_id="boot-of-the-copy", hostname="copy"), 0)
        assert second.clone == "n1 (boot boot-1)"
        assert registry.record.clone_boot == "boot-1"

    play(story)


HERE = replace(IDLE, boot_id="boot-2", instance="run-2", hardware="abc")


@pytest.mark.parametrize(
    ("other", "known", "clone"),
    [
        (replace(HERE, instance=""), (), False),
        (replace(HERE, instance="run-1", hardware=""), (), True),
        (replace(HERE, instance="run-1", hardware=""), ("boot-2/run-1",), False),
        (replace(HERE, boot_id="boot-1", instance="run-1"), ("boot-1/run-1",), False),
        (replace(HERE, boot_id="boot-1", instance="run-1"), ("boot-1/run-0",), True),
        (replace(HERE, boot_id="boot-1", instance="run-1", hardware="xyz"), ("boot-1/run-1",), True),
        (replace(HERE, boot_id="boot-1", instance="run-1"), (), False),
        (replace(HERE, boot_id="boot-1", instance="run-1", hardware="xyz"), (), True),
        (replace(HERE, boot_id="boot-1", instance="run-1", hardware=""), (), True),
    ],
    ids=[
        "this run, written by an earlier version",
        "another container of the same boot, id and host name",
        "this container, before it was restarted",
        "this machine's last boot",
        "a boot of another machine",
        "a copied disk that knows the original's boots",
        "this machine's last boot, and its files were lost",
        "another machine's, and this one's files were lost",
        "who knows whose, and this one's files were lost",
    ],
)
def test_whose_a_record_is(other, known, clone):
    async def story(registry):
        await registry.presence().show(other)
        presence = registry.presence(Boots(*known))
        await presence.show(HERE)
        assert bool(presence.clone) is clone
        assert registry.record.hardware == "abc"

    play(story)


class BrokenDisk:
    """What a machine remembers whose disk is gone."""

    def known(self) -> list[str]:
        raise HostError("/var/lib/locksmith/shown-boots cannot be read: Input/output error")

    def add(self, run: str) -> None:
        raise HostError(f"/var/lib/locksmith/shown-boots cannot be written for {run}: No space left on device")


class FullMark(SeenRevision):
    """A mark of the store that cannot be written down."""

    def keep(self) -> None:
        raise HostError(f"{self.path} cannot be written: No space left on device")


def test_a_disk_that_is_gone_keeps_no_machine_from_showing_itself(caplog):
    async def story(registry):
        store = MemoryStore(registry.server, registry)
        await registry.presence().show(HERE)
        presence = Presence(store, "web", "m1", BrokenDisk(), mark=FullMark(Paths(), 3, ["memory"]))
        sick = replace(HERE, boot_id="boot-3", instance="run-3", state="unhealthy")
        await presence.show(sick)
        assert registry.record == sick
        assert not presence.clone
        await presence.show(replace(sick, reason="web.service has failed"))

    play(story)
    assert len({record.message for record in caplog.records}) == len(caplog.records) == 3


def test_after_a_failure_nothing_is_tried_for_a_while():
    async def story(registry):
        presence = registry.presence()
        registry.down = True
        for _ in range(20):
            with contextlib.suppress(StoreUnavailableError):
                await presence.show(IDLE)
            await asyncio.sleep(1)
        assert registry.calls == ["get"]
        registry.down = False
        await asyncio.sleep(HOLD_OFF)
        await presence.show(IDLE)
        assert registry.record == IDLE

    play(story)


def test_a_machine_with_a_slot_writes_its_record_where_others_prolong_it():
    """A lease may be started again by each election: only a write shows that the machine is there."""

    async def story(registry):
        presence = registry.presence()
        verifying = replace(IDLE, state="verifying", written=NOW, lasts=int(TTL))
        await presence.show(verifying)
        registry.calls.clear()
        seen = set()
        for minute in range(60):
            await presence.show(replace(verifying, written=NOW + timedelta(minutes=minute)))
            seen.add(registry.record.written)
            await asyncio.sleep(60)
        assert set(registry.calls) == {"update"}
        assert 3600 / KEEP_AFTER - 1 <= len(seen) <= 3600 / KEEP_AFTER + 1

    play(story)


def test_before_the_point_of_no_return_it_says_how_long_that_counts():
    async def story(registry):
        await registry.presence().confirm(replace(IDLE, written=NOW, lasts=int(TTL)), 600)
        assert registry.record.lasts == TTL + 600
        assert not registry.record.has_expired(NOW + timedelta(seconds=TTL + 600))
        assert registry.record.has_expired(NOW + timedelta(seconds=TTL + 700))

    play(story)


def test_while_it_goes_down_no_later_word_makes_that_shorter():
    async def story(registry):
        going_down = replace(IDLE, state="rebooting", written=NOW, lasts=int(TTL + 600))
        await registry.presence().show(going_down)
        await asyncio.sleep(TTL + 590)
        assert registry.read() is not None
        await asyncio.sleep(20)
        assert registry.read() is None

    play(story)


def strip(server: MemoryServer) -> None:
    """Take every lease away, as a copy of the keyspace does."""
    server._entries = {key: replace(entry, lease=0) for key, entry in server._entries.items()}
    server._deadlines.clear()


def test_in_a_copied_keyspace_a_machine_writes_itself_again_and_removes_who_is_gone():
    async def story(registry):
        presence, store = registry.presence(), MemoryStore(registry.server)
        await presence.show(IDLE)
        for name in ("gone", "holder"):
            await store.create(keys.node_key("web", name), node.encode(replace(IDLE, machine_id=name)), ttl=TTL)
        await store.create(keys.semaphore_key("web"), b'{"semaphore":0,"max":1,"holders":["holder"]}')
        strip(registry.server)
        await days_pass(presence, IDLE, KEEP_AFTER + 60)
        left = registry.server.list(keys.nodes_prefix("web"), 0, None).entries
        assert {(entry.key.rpartition("/")[2], bool(entry.lease)) for entry in left} == {
            ("m1", True),
            ("holder", False),
        }

    play(story)


def test_in_a_large_group_news_are_put_off_and_the_loop_is_woken_when_it_is_time():
    async def main(_loop):
        server, woken = MemoryServer(), asyncio.Event()
        presence = Presence(MemoryStore(server), "web", "m1", spread=lambda: wide)
        presence.listen(woken.set)
        wide = 0.0
        await presence.show(IDLE)
        wide, began = 100.0, asyncio.get_running_loop().time()
        await presence.show(WAITING)
        assert shown(server) == IDLE
        await woken.wait()
        assert 0 < asyncio.get_running_loop().time() - began < wide
        await presence.show(replace(WAITING, code="queue"))
        assert shown(server).code == "queue"

    run(main)


def test_news_that_came_to_nothing_leave_the_next_ones_their_own_time():
    async def main(_loop):
        server, clock = MemoryServer(), asyncio.get_running_loop().time
        presence = Presence(MemoryStore(server), "web", "m1", spread=lambda: wide)
        wide = 0.0
        await presence.show(IDLE)
        wide = 100.0
        held = []
        for _ in range(30):
            await presence.show(WAITING)
            await presence.show(IDLE)
            await asyncio.sleep(60)
            await presence.show(WAITING)
            held.append(shown(server) == IDLE)
            await presence.show(IDLE)
        assert sum(held) > 25, "news that came to nothing do not count as put off"
        assert clock() == 30 * 60

    run(main)


def test_news_that_could_not_be_written_are_put_off_for_longer():
    async def main(_loop):
        registry, clock = Registry(), asyncio.get_running_loop().time
        presence = Presence(MemoryStore(registry.server, registry), "web", "m1", spread=lambda: 30.0)
        registry.down = True
        while True:
            with contextlib.suppress(StoreUnavailableError):
                await presence.show(IDLE)
            if registry.calls:
                break
            await asyncio.sleep(1)
        registry.down, failed = False, clock()
        while registry.read() is None:
            await asyncio.sleep(1)
            await presence.show(IDLE)
        assert clock() - failed > HOLD_OFF + 1, "no machine comes right after the pause, when all others come"

    run(main)


def test_each_record_of_this_machine_where_there_was_none_of_this_run_is_counted():
    async def story(registry):
        presence = registry.presence()
        assert presence.arrivals == 0
        for now in (IDLE, WAITING):
            await presence.show(now)
            assert presence.arrivals == 1
        later = registry.presence()
        await later.show(replace(IDLE, boot_id="boot-2"))
        assert later.arrivals == 1
        await asyncio.sleep(TTL + 1)
        await later.show(replace(IDLE, boot_id="boot-2"))
        assert later.arrivals == 2
        await presence.show(IDLE)
        assert presence.arrivals == 2

    play(story)


def test_a_meter_shows_when_a_machine_was_last_present_and_how_many_clones_it_has(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1777600000.0)

    class Gauges(Meter):
        def __init__(self) -> None:
            self.shown: list[tuple[str, float]] = []

        def present(self, moment: float) -> None:
            self.shown.append(("present", moment))

        def clones(self, machines: int) -> None:
            self.shown.append(("clones", machines))

    async def main(_loop):
        server, gauges = MemoryServer(), Gauges()
        machine = Presence(MemoryStore(server), "web", "m1", meter=gauges)
        await machine.show(IDLE)
        assert gauges.shown[-2:] == [("clones", 0), ("present", 1777600000.0)]
        await Presence(MemoryStore(server), "web", "m1").show(replace(IDLE, boot_id="another", hostname="copy"))
        await machine.show(WAITING)
        await machine.show(WAITING)
        assert gauges.shown.count(("clones", 1)) > 0

    run(main)


def test_news_about_a_slot_are_never_put_off():
    async def main(_loop):
        server = MemoryServer()
        presence = Presence(MemoryStore(server), "web", "m1", spread=lambda: wide)
        wide = 0.0
        await presence.show(IDLE)
        wide = 100.0
        holding = replace(WAITING, code="checks", written=NOW, lasts=int(TTL))
        await presence.show(holding)
        assert shown(server).code == "checks"
        await presence.show(IDLE)
        assert shown(server).state == "idle"

    run(main)


def shown(server: MemoryServer) -> Node:
    key = keys.node_key("web", "m1")
    entry = server.read(key).entry
    assert entry is not None
    return node.decode(entry.value, key, "m1")
