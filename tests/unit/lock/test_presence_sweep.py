"""Presence without a lease, after a keyspace was copied: who removes it, and what stays."""

import asyncio
from random import Random

import pytest

from locksmith.lock.presence_sweep import SWEEPERS, sweep
from locksmith.lock.records import keys, semaphore
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.memory import MemoryServer, MemoryStore


class Drawn(Random):
    """A random number that is no such thing."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self._number = number

    def random(self) -> float:
        return self._number


def after_a_sweep(server: MemoryServer, draws: float = 0.0) -> list[str]:
    async def story():
        await sweep(MemoryStore(server), "", Drawn(draws))
        prefix = keys.nodes_prefix("")
        return [entry.key.removeprefix(prefix) for entry in server.list(prefix, 0, None).entries]

    return asyncio.run(story())


def copied(*names: str) -> MemoryServer:
    server = MemoryServer()
    for name in names:
        server.put(keys.node_key("", name), b"{}", 0)
    return server


def test_a_copy_without_a_semaphore_loses_every_presence_without_a_lease():
    server = copied("n1", "n2")
    asyncio.run(MemoryStore(server).create(keys.node_key("", "n3"), b"{}", ttl=900))
    assert after_a_sweep(server) == ["n3"]


def test_the_presence_of_a_machine_that_holds_a_slot_stays():
    server = copied("n1", "n2")
    server.put(keys.semaphore_key(""), semaphore.encode(Semaphore(1, ("n2",))), 0)
    assert after_a_sweep(server) == ["n2"]


def test_where_nobody_can_tell_who_holds_a_slot_every_presence_stays():
    server = copied("n1", "n2")
    server.put(keys.semaphore_key(""), b"rubbish", 0)
    assert after_a_sweep(server) == ["n1", "n2"]


@pytest.mark.parametrize(("draws", "left"), [(0.19, 0), (0.21, 100)])
def test_of_many_machines_about_twenty_sweep(draws, left):
    server = copied(*(f"n{number}" for number in range(5 * SWEEPERS)))
    assert len(after_a_sweep(server, draws)) == left
