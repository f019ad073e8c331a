"""One real daemon whose clock is wrong, by libfaketime; the machine's own clock, and everybody else's, is right."""

import time

import pytest

from tests.harness.faketime import FAKETIME, LACKING, set_clock
from tests.harness.logind import RebootMode

pytestmark = pytest.mark.skipif(FAKETIME is None, reason=LACKING)


def window(start: float, length: str) -> dict[str, str]:
    """A window that opens so many seconds from now, by the right clock."""
    return {"start": time.strftime("%H:%M", time.localtime(time.time() + start)), "length": length}


def test_a_clock_an_hour_fast_keeps_its_own_window_and_a_step_back_is_seen(site):
    """The wall clock is looked at, not slept on: what it says at each look counts."""

    async def story(node):
        set_clock(node, "+2h")
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (window)")
        assert site.lock.history == []
        set_clock(node, "+0")
        node.engine.emit()
        await node.rebooted()

    site.play(story, running=False, window=window(-60, "1h"))


def test_a_clock_that_steps_out_of_the_window_gives_the_slot_back(site):
    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        set_clock(node, "+0")
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (sessions)")
        assert site.lock.holders == [node.machine_id]
        set_clock(node, "-3h")
        node.engine.emit()
        await node.says("aborting the reboot and releasing its slot: outside the reboot window")
        await site.is_free()
        assert node.reboots == 0

    site.play(story, running=False, window=window(-60, "1h"))


def test_a_failure_of_a_clock_that_was_a_day_fast_does_not_delay_for_a_day(site):
    async def story(node):
        node.machine.mode = RebootMode.REFUSE
        set_clock(node, "+24h")
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (retry)")
        node.machine.mode = RebootMode.OBEY
        set_clock(node, "+0")
        node.engine.emit()
        await node.rebooted()

    site.play(story, running=False, reboot={"retry": "1h"})
