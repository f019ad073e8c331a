"""What machines have ended through servers is forgotten when they are gone, and no late request profits from that."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from locksmith.errors import ConflictError, StoreUnavailableError
from locksmith.lock import ended
from locksmith.lock import machine_wire as wire
from locksmith.lock.absence import tidy
from locksmith.lock.answer import Granted
from locksmith.lock.ended import UnlessEnded
from locksmith.lock.membership import forget
from locksmith.lock.records import keys, member
from locksmith.lock.records.claim import UNHEALTHY
from locksmith.lock.records.member import KEPT, NOT_SEEN, Member
from locksmith.store.memory import MemoryStore
from tests.builders.claims import claim
from tests.builders.machine_desks import play
from tests.builders.one_store import G
from tests.harness.fault_script import StepwiseStore

STORES = [MemoryStore, StepwiseStore]
A = claim("a")


@pytest.mark.parametrize("store", STORES)
def test_what_a_machine_ended_is_forgotten_with_it_and_a_late_request_takes_no_slot(store, tmp_path):
    async def story(servers):
        late = await servers.late_request(A)
        await late.strategy.abort(A, "not needed any more")
        assert await marks(servers) == ["ended/a"]
        await remember(servers, "a", servers.now() - KEPT)
        await asyncio.sleep(1)
        await tidy(servers.store(), G, servers.now())
        assert await marks(servers) == ["forgotten"]
        status, said = await late.arrive()
        assert (status, said["kind"]) == (503, wire.UNAVAILABLE)
        assert "it asks again" in said["value"]
        assert await servers.holders() == ()
        back = servers.strategy("a", *late.doors)  # a request of a machine that is back counts
        assert isinstance(await back.request(replace(A, nonce="another")), Granted)

    play(story, tmp_path, store)


@pytest.mark.parametrize("store", STORES)
def test_a_late_request_takes_no_slot_however_many_claims_ended_meanwhile(store, tmp_path):
    async def story(servers):
        late = await servers.late_request(A)
        await late.strategy.abort(A, "not needed any more")
        for number in range(ended.MOST):
            await ended.end(servers.store(), G, replace(A, nonce=f"later {number}"))
        status, said = await late.arrive()
        assert (status, said["kind"]) == (503, wire.UNAVAILABLE)
        assert "it asks again" in said["value"]
        assert await servers.holders() == ()
        assert isinstance(await late.strategy.request(replace(A, nonce="another")), Granted)

    play(story, tmp_path, store)


def test_a_take_depends_on_what_was_forgotten_since_it_was_read(tmp_path):
    """A server stands still before its write, while the machine ends the claim elsewhere, and is forgotten."""

    async def story(servers):
        store, key = servers.store(), keys.semaphore_key(G)
        late = UnlessEnded(servers.store(), G, A)
        late.seen = servers.server.revision
        late.knows_ended(await late.read(ended.keys_of(G, "a")))
        await ended.end(store, G, A)
        await ended.forget(store, G, ["a"])
        for error in (ConflictError, StoreUnavailableError):  # it reads again, and then it knows
            with pytest.raises(error):
                await late.swap(key, b"{}", 0)
        assert (await store.get(key)).entry is None
        late.seen = servers.server.revision
        await late.swap(key, b"{}", 0)

    play(story, tmp_path)


def test_only_the_marks_of_machines_that_are_gone_are_forgotten(tmp_path):
    async def story(servers):
        for machine in ("a", "b"):
            strategy = servers.strategy(machine, *servers.doors(machine, servers.desk()))
            await strategy.abort(claim(machine, nonce=f"of {machine}"), "no more")
        await remember(servers, "a", servers.now() - KEPT)
        await remember(servers, "b", servers.now())
        await asyncio.sleep(1)
        await tidy(servers.store(), G, servers.now())
        assert await marks(servers) == ["ended/b", "forgotten"]
        assert not await forget(servers.store(), G, "c")
        assert await marks(servers) == ["ended/b", "forgotten"]

    play(story, tmp_path)


async def marks(servers) -> list[str]:
    prefix = keys.group_prefix(G)
    found = (await servers.store().list(prefix)).entries
    names = [entry.key.removeprefix(prefix) for entry in found]
    return sorted(name for name in names if name == "forgotten" or name.startswith("ended/"))


async def remember(servers, machine: str, gone: datetime) -> None:
    """Have the group remember a machine that is gone."""
    known = Member(machine, machine, gone, gone=gone, how=NOT_SEEN)
    await servers.store().create(keys.absent_key(G, machine), member.encode(known))


@pytest.mark.parametrize("store", STORES)
def test_what_goes_wrong_is_written_of_a_slot_whose_release_was_only_begun(store, tmp_path):
    """The server ended the claim, and did not get to the release. Then its machine rebooted, and is not healthy."""

    async def story(servers):
        strategy = servers.strategy("a", *servers.doors("a", servers.desk()))
        assert isinstance(await strategy.request(A), Granted)
        await ended.end(servers.store(), G, A)
        assert not await strategy.report_failure(A, UNHEALTHY, "nginx has failed")
        assert (await servers.guarded.holder_state("a")).claim.state == UNHEALTHY
        assert (await strategy.request(replace(A, taken=None))).code == "ended"
        await strategy.complete(replace(A, state=UNHEALTHY, failure="nginx has failed"))
        assert await servers.holders() == ()

    play(story, tmp_path, store)
