"""One real daemon whose clock is wrong, by libfaketime; the machine's own clock, and everybody else's, is right."""

import time
from pathlib import Path

import pytest

from tests.harness.logind import RebootMode

FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)

pytestmark = pytest.mark.skipif(FAKETIME is None, reason="a wrong clock needs the Debian package libfaketime")


def wrong(node, offset: str) -> None:
    """Set the clock of the node's daemon, which may run, off by so much; its monotonic clock stays what it is."""
    file = node.paths.root / "clock"
    file.write_text(offset)
    node.environ = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def window(start: float, length: str) -> dict[str, str]:
    """A window that opens so many seconds from now, by the right clock."""
    return {"start": time.strftime("%H:%M", time.localtime(time.time() + start)), "length": length}


def test_a_clock_an_hour_fast_keeps_its_own_window_and_a_step_back_is_seen(site):
    """The wall clock is looked at, not slept on: what it says at each look counts."""

    async def story(node):
        wrong(node, "+2h")
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (window)")
        assert site.lock.history == []
        wrong(node, "+0")
        node.engine.emit()
        await node.rebooted()

    site.play(story, running=False, window=window(-60, "1h"))


def test_a_clock_that_steps_out_of_the_window_gives_the_slot_back(site):
    async def story(node):
        node.machine.log_in("c1", "alice", seat="seat0")
        wrong(node, "+0")
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (sessions)")
        assert site.lock.holders == [node.machine_id]
        wrong(node, "-3h")
        node.engine.emit()
        await node.says("aborting the reboot and releasing its slot: outside the reboot window")
        await site.is_free()
        assert node.reboots == 0

    site.play(story, running=False, window=window(-60, "1h"))


def test_a_failure_of_a_clock_that_was_a_day_fast_does_not_delay_for_a_day(site):
    async def story(node):
        node.machine.mode = RebootMode.REFUSE
        wrong(node, "+24h")
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (retry)")
        node.machine.mode = RebootMode.OBEY
        wrong(node, "+0")
        node.engine.emit()
        await node.rebooted()

    site.play(story, running=False, reboot={"retry": "1h"})
