"""An etcd without space: its quota is reached, and it takes no writes; or the disk of a member is full, and that ends.

Nobody loses a slot or gets one by it; every part says what is wrong and the way out; with space again all goes on.
"""

import asyncio
import signal
import uuid
from contextlib import AsyncExitStack, suppress

import pytest
from urllib3.exceptions import HTTPError

from locksmith.errors import StoreError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.reboot_lock import RebootLock
from tests.contract.daemons import Lock, Site
from tests.contract.stories import run, within
from tests.contract.turns import TURN, new_claim, open_lock, story, turn
from tests.harness.etcd import Etcd, wait_until
from tests.harness.etcd_versions import EVERY_VERSION
from tests.harness.small_disk import small_disk
from tests.harness.waiting import until

QUOTA = 1_000_000
DISK = 160_000_000
"""Two segments of etcd's log, which it allocates beforehand, and a little more."""

FULL = (
    "its database is full (etcdserver: mvcc: database space exceeded): compact and defragment all members, then say "
    "`etcdctl alarm disarm`"
)


@pytest.fixture(params=EVERY_VERSION)
def small(request):
    with Etcd(request.param, quota=QUOTA) as etcd:
        yield etcd


def test_a_full_store_keeps_every_slot_and_names_the_way_out_until_there_is_space(small):
    group = f"g-{uuid.uuid4()}"
    mine, others = new_claim("n1"), new_claim("n2")

    async def refused(lock):
        """Whatever is to be written is refused, and soon."""
        for act in (
            lambda: lock.take(others),
            lambda: lock.commit(mine),
            lambda: lock.release(mine, fence_pending=True),
            lambda: LockAdmin(lock.guarded).set_max(3),
        ):
            with within(2), pytest.raises(StoreError) as caught:
                await act()
            assert str(caught.value).count(FULL) == 1

    async def scene(store):
        lock = RebootLock(store, group)
        await LockAdmin(lock.guarded).set_max(2)
        await lock.take(mine)
        before, claims = Lock(small, group).history, (await lock.read()).claims
        small.fill()
        await refused(lock)
        assert Lock(small, group).history == before
        small.make_room()
        await refused(lock)  # the alarm is still on
        small.disarm()
        assert (await lock.read()).claims == claims
        await lock.release(mine)
        await lock.take(others)
        assert Lock(small, group).holders == ["n2"]

    run(small.settings(), scene)


def test_a_machine_that_boots_with_a_full_store_keeps_its_slot_until_there_is_space(small, tmp_path):
    site = Site(small, f"g-{uuid.uuid4()}", tmp_path)

    async def scene(one, two):
        one.machine.on_reboot = lambda: None
        one.need_reboot("4081.2.0")
        await until(lambda: one.machine.reboots, "logind is asked")
        two.need_reboot("4081.2.0")
        await two.says("waiting (slot)")
        before = site.lock.history
        small.fill()
        await one.reboot()
        await one.says("waiting (store): ")
        await one.says(FULL)
        for command in (["unlock", "--force", one.machine_id], ["set-max", "3"], ["freeze", "--reason", "full"]):
            with within(5):
                status, said = await one.tool(*command)
            assert (status, said.count("\n"), said.count(FULL)) == (1, 1, 1), said
            assert said.startswith("Error: ")
        for command in (["status"], ["why", "n1"], ["nodes"]):
            status, said = await two.tool(*command)
            assert (status, "LOST" in said) == (0, False), (command, said)
        assert site.lock.history == before
        small.make_room()
        small.disarm()
        one.send_signal(signal.SIGHUP)
        await two.rebooted()
        await site.is_free()

    site.play(scene, nodes=2)


def test_a_member_whose_disk_is_full_ends_and_the_others_go_on_until_it_comes_back():
    group = f"g-{uuid.uuid4()}"
    with Etcd(members=3) as etcd, small_disk(etcd.members[0], DISK) as disk:
        disk.fill()
        asyncio.run(turns(etcd, group, "n1", "n2"))
        wait_until(lambda: ended_of_more(etcd), "the member with the full disk ends")
        asyncio.run(turns(etcd, group, "n1", "n2"))
        disk.make_room()
        etcd.members[0].start()
        asyncio.run(turns(etcd, group, "n1", "n2"))
        history = Lock(etcd, group).history  # as the member has it that had been away
    assert all(len(moment.holders) <= 1 for moment in history)
    assert [story("n1", history), story("n2", history)] == [3 * TURN, 3 * TURN]


def ended_of_more(etcd):
    """Have the others write some more, and say whether the first member has ended; had it led, they may fail once."""
    with suppress(AssertionError, HTTPError):
        etcd.write_ballast(member=1)
    return etcd.members[0].ended


async def turns(etcd, group, *names):
    """One turn of each, who all ask the member with the small disk first."""
    async with AsyncExitStack() as stack:
        locks = [await stack.enter_async_context(open_lock(etcd.settings(), group)) for _ in names]
        await asyncio.gather(*(turn(lock, new_claim(name)) for lock, name in zip(locks, names, strict=True)))
