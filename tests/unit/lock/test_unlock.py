"""Which slots an `unlock` frees without a question, also where the holder changes at the very moment."""

from dataclasses import replace
from random import Random

import pytest

from locksmith.lock.admin import LockAdmin
from locksmith.lock.errors import ChangedClaimError, MidRebootError, NotManualError
from locksmith.lock.guarded import Guarded
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys, node, semaphore, states
from locksmith.lock.records.claim import COMMAND, MANUAL, UNHEALTHY
from locksmith.lock.records.node import Node
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.unlocking import Frees
from locksmith.store.memory import MemoryStore
from tests.builders.locks import SINCE, Bench, Moved, both_manners, claim
from tests.harness.fault_script import LATE

N1 = Node("n1", "n1", "boot-1", "", "etcd-lock", states.REBOOTING, SINCE, claim="n1-1")


def shows(bench, **changes):
    bench.put(node.encode(replace(N1, **changes)), keys.node_key("", "n1"))


async def commits(bench):
    await bench.calm.commit(claim("n1"))


async def comes_back(bench):
    shows(bench, state=states.VERIFYING)


def unlock_while(bench, act, frees):
    """Unlock n1, and let something happen right before the slot is freed."""
    return LockAdmin(Guarded(Moved(bench.store, lambda: act(bench)), "", rng=Random(1))).unlock("n1", frees=frees)


@both_manners
async def test_a_machine_that_commits_at_the_very_moment_keeps_its_slot(stepwise):
    bench = Bench(stepwise=stepwise)
    await bench.calm.take(claim("n1"))
    shows(bench, state=states.PREPARING)
    with pytest.raises(MidRebootError) as refused:
        await unlock_while(bench, commits, Frees.UNASKED)
    assert refused.value.holder_state.claim == claim("n1").committed()
    assert bench.semaphore().holders == ("n1",)


async def test_a_machine_that_comes_back_at_the_very_moment_keeps_its_slot():
    """Its absence is guarded in the same write; on etcd v2 it is read right before."""
    bench = Bench()
    await bench.calm.take(claim("n1"))
    await commits(bench)
    with pytest.raises(MidRebootError):
        await unlock_while(bench, comes_back, Frees.UNASKED)
    assert bench.semaphore().holders == ("n1",)


async def test_the_late_attempt_of_an_unlock_that_was_refused_wins_no_more():
    bench = Bench()
    await bench.lock.take(claim("n1"))
    await bench.lock.commit(claim("n1"))
    bench.script.fates = [LATE]

    async def is_there():
        await MemoryStore(bench.server).create(keys.node_key("", "n1"), node.encode(N1))

    bench.script.meanwhile = is_there
    with pytest.raises(MidRebootError):
        await bench.admin.unlock("n1", frees=Frees.UNASKED)
    assert bench.script.arrive_late() == ["too late"]
    assert bench.semaphore().holders == ("n1",)


@both_manners
async def test_an_unlock_that_was_refused_frees_nothing_after_the_machine_has_gone_again(stepwise):
    bench = Bench(stepwise=stepwise)
    await bench.lock.take(claim("n1"))
    await bench.lock.commit(claim("n1"))
    bench.script.fates = [LATE]
    node_key = keys.node_key("", "n1")
    bench.script.meanwhile = lambda: MemoryStore(bench.server).create(node_key, node.encode(N1))
    with pytest.raises(MidRebootError):
        await bench.admin.unlock("n1", frees=Frees.UNASKED)
    await MemoryStore(bench.server).delete(node_key, bench.server.read(node_key).version)
    assert bench.script.arrive_late() == ["too late"]
    assert bench.semaphore().holders == ("n1",)


@both_manners
async def test_a_manual_unlock_that_was_refused_frees_nothing_later(stepwise):
    bench = Bench(stepwise=stepwise)
    await bench.lock.take(claim("n1", kind=MANUAL))
    bench.script.fates = [LATE]

    async def is_a_reboot():
        bench.put(claim_record.encode(claim("n1")), keys.holder_key("", "n1"))

    bench.script.meanwhile = is_a_reboot
    with pytest.raises((NotManualError, ChangedClaimError)):
        await bench.admin.unlock("n1", frees=Frees.MANUAL)
    assert bench.script.arrive_late() == ["too late"]
    assert bench.semaphore().holders == ("n1",)


@both_manners
async def test_a_manual_lock_that_becomes_a_reboot_at_the_very_moment_stays(stepwise):
    async def becomes_a_reboot(bench):
        await bench.calm.release(claim("n1", "1", MANUAL))
        await bench.calm.take(claim("n1", "2"))

    bench = Bench(stepwise=stepwise)
    await bench.calm.take(claim("n1", "1", MANUAL))
    with pytest.raises(ChangedClaimError, match="came while another claim was being freed"):
        await unlock_while(bench, becomes_a_reboot, Frees.MANUAL)
    assert bench.record("n1") == claim("n1", "2")


@pytest.mark.parametrize("state", states.ALL)
async def test_without_a_record_the_machines_own_state_decides(state):
    bench = Bench()
    bench.put(semaphore.encode(Semaphore(1, ("n1",))))
    shows(bench, state=state)
    through = {states.IDLE, states.WAITING, states.REQUESTING, states.PREPARING, states.ABORTING, states.FINISHED}
    if state in through:
        assert await bench.admin.unlock("n1", frees=Frees.UNASKED) is None
    else:
        with pytest.raises(MidRebootError):
            await bench.admin.unlock("n1", frees=Frees.UNASKED)


@both_manners
@pytest.mark.parametrize("state", [states.VERIFYING, UNHEALTHY, states.REBOOTING])
async def test_a_machine_that_crashed_before_its_point_of_no_return_keeps_its_slot(stepwise, state):
    """Its claim is not committed, but the machine goes down, or is under verification."""
    bench = Bench(stepwise=stepwise)
    await bench.calm.take(claim("n1"))
    shows(bench, state=state)
    with pytest.raises(MidRebootError):
        await bench.admin.unlock("n1", frees=Frees.UNASKED)
    shows(bench, state=states.PREPARING)
    assert await bench.admin.unlock("n1", frees=Frees.UNASKED) == claim("n1")


@pytest.mark.parametrize("present", [True, False])
async def test_the_slot_of_a_command_is_not_freed_unasked(present):
    """The command goes on without its slot, and a machine without a locksmithd shows no presence."""
    bench = Bench()
    await bench.calm.take(claim("n1", kind=COMMAND))
    if present:
        shows(bench, state=states.WAITING)
    with pytest.raises(MidRebootError):
        await bench.admin.unlock("n1", frees=Frees.UNASKED)
    with pytest.raises(NotManualError):
        await bench.admin.unlock("n1", frees=Frees.MANUAL)
    assert bench.semaphore().holders == ("n1",)
    assert await bench.admin.unlock("n1") == claim("n1", kind=COMMAND)


async def test_a_manual_unlock_leaves_an_id_without_a_record_alone():
    bench = Bench()
    bench.put(semaphore.encode(Semaphore(1, ("n1",))))
    with pytest.raises(NotManualError, match="n1 has no manual lock"):
        await bench.admin.unlock("n1", frees=Frees.MANUAL)
    assert bench.semaphore().holders == ("n1",)


async def test_no_clock_makes_a_machine_absent_that_shows_itself():
    """The clock of the machine, or that of the operator, may be wrong by hours."""
    bench = Bench()
    await bench.calm.take(claim("n1"))
    await commits(bench)
    shows(bench, written=SINCE.replace(year=2025), lasts=900)
    with pytest.raises(MidRebootError):
        await bench.admin.unlock("n1", frees=Frees.UNASKED)
