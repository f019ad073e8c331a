"""The meter behind the registry, told by a real queue, lock and store in memory."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from locksmith.daemon.lock_metrics import LockMetrics
from locksmith.errors import ConflictError, OutcomeUnknownError, StoreUnavailableError
from locksmith.lock.presence import Presence
from locksmith.lock.queue import Queue
from locksmith.lock.queued_lock import QueuedLock
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.node import Node
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.observed import ObservedStore
from tests.harness.fault_script import ANSWER_LOST, NEVER_SENT, FaultScript

NOW = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)


class Machine:
    """One machine of a group, with a registry of its own."""

    def __init__(self, server: MemoryServer, name: str, *fates: str) -> None:
        self.registry = CollectorRegistry()
        self.meter = meter = LockMetrics(self.registry)
        self.store = ObservedStore(MemoryStore(server, FaultScript([*fates])), meter)
        self.claim = Claim(name, REBOOT, f"of {name}", NOW - timedelta(minutes=10), hostname=name)
        lock = RebootLock(self.store, "", meter=meter, clock=lambda: NOW)
        self.lock = QueuedLock(lock, Queue(self.store, ""), meter)
        self.presence = Presence(self.store, "", name, meter=meter)

    def __getitem__(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"locksmith_{name}")

    def requests(self, kind: str, result: str = "ok") -> float | None:
        return self.registry.get_sample_value("locksmith_store_requests_total", {"kind": kind, "result": result})


async def test_a_place_in_line_is_shown_and_goes_with_the_slot():
    server = MemoryServer()
    first, second, third = (Machine(server, name) for name in ("n1", "n2", "n3"))
    for machine in (first, second, third):
        await machine.lock.take(machine.claim)
    assert [machine["queue_position"] for machine in (first, second, third)] == [0, 1, 2]
    assert (second["queue_waiters"], third["queue_waiters"]) == (1, 2)
    await second.lock.leave(second.claim)
    assert (second["queue_position"], second["queue_waiters"]) == (0, 0)


async def test_a_slot_counts_when_it_is_given_back():
    machine = Machine(MemoryServer(), "n1")
    await machine.lock.take(machine.claim)
    assert machine["handovers_total"] == 0
    await machine.lock.release(machine.claim, fence_pending=False, why="rebooted")
    assert (machine["handovers_total"], machine["wait_seconds_sum"]) == (1, 600)
    assert (machine["held_seconds_count"], machine["wait_seconds_count"]) == (1, 1)


async def test_a_lost_race_is_counted():
    machine = Machine(MemoryServer(), "n1")

    other = RebootLock(machine.store, "")
    faster = replace(machine.claim, holder="n2")

    async def overtaken() -> None:
        await other.take(faster)

    lock = RebootLock(machine.store, "", guard=overtaken, limit=0, meter=machine.meter)
    assert machine["lost_races_total"] == 0
    with pytest.raises(ConflictError):
        await lock.take(machine.claim)
    assert machine["lost_races_total"] == 1


async def test_calls_are_counted_by_how_they_end():
    machine = Machine(MemoryServer(), "n1", NEVER_SENT, ANSWER_LOST)
    with pytest.raises(StoreUnavailableError):
        await machine.store.create("a", b"")
    with pytest.raises(OutcomeUnknownError):
        await machine.store.create("a", b"")
    with pytest.raises(ConflictError):
        await machine.store.create("a", b"")
    reading = await machine.store.get("a")
    assert not await machine.store.wait("a", reading.revision, limit=0.01)
    waiting = asyncio.create_task(machine.store.wait("a", reading.revision))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert machine.requests("create", "unavailable") == 1
    assert machine.requests("create", "unknown") == 1
    assert machine.requests("create", "conflict") == 1
    assert machine.requests("get") == 1
    assert machine.requests("wait") == 1
    assert machine.requests("wait", "cut_off") == 1


def test_every_kind_of_call_is_there_from_the_start():
    machine = Machine(MemoryServer(), "n1")
    assert machine.requests("revoke") == 0


async def test_presence_and_twins_are_shown():
    server = MemoryServer()
    one, other = Machine(server, "n1"), Machine(server, "n1")
    idle = Node("n1", "n1", "boot-1", "", "etcd-lock", "idle", NOW)
    assert one["presence_timestamp_seconds"] == 0
    await one.presence.show(idle)
    shown = one["presence_timestamp_seconds"]
    assert shown is not None
    assert abs(shown - datetime.now(UTC).timestamp()) < 60
    await other.presence.show(Node("n1", "copy", "boot-2", "", "etcd-lock", "idle", NOW))
    await one.presence.confirm(idle, 0)
    assert one["clones"] == 1
    assert other["clones"] == 1
