"""One real daemon on a machine whose time zone changes while it runs: its windows are those of the new zone."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

HERE, FAR = "Asia/Tokyo", "America/Bogota"
"""Two zones without daylight saving; 14 hours lie between them."""


def set_zone(node, zone: str) -> None:
    """Do as `timedatectl set-timezone` does."""
    link = node.paths.root / "etc/localtime"
    new = link.with_name("localtime.new")
    new.symlink_to(Path("/usr/share/zoneinfo") / zone)
    new.rename(link)


def open_in(zone: str) -> dict[str, str]:
    """A window that is open now in a zone, by the clock on the wall there."""
    return {"start": f"{datetime.now(ZoneInfo(zone)) - timedelta(minutes=30):%H:%M}", "length": "2h"}


async def observes(node) -> None:
    """Wake it now and again, so that the test does not wait for its heartbeat."""
    while True:
        node.engine.emit()
        await asyncio.sleep(0.5)


def test_a_daemon_reboots_when_its_window_is_open_in_the_new_zone(site):
    async def story(node):
        node.environ["TZ"] = ""
        set_zone(node, HERE)
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (window)")
        assert site.lock.history == []
        waking = asyncio.ensure_future(observes(node))
        set_zone(node, FAR)
        await node.says(f"the time zone of this machine is {FAR} now")
        await node.rebooted()
        waking.cancel()

    site.play_stopped(story, window=open_in(FAR))


def test_a_daemon_whose_window_is_closed_in_the_new_zone_gives_its_slot_back(site):
    async def story(node):
        node.environ["TZ"] = ""
        set_zone(node, HERE)
        node.machine.log_in("c1", "alice", seat="seat0")
        await node.start_daemon()
        node.need_reboot("4081.2.0")
        await node.says("waiting (sessions)")
        assert site.lock.holders == [node.machine_id]
        waking = asyncio.ensure_future(observes(node))
        set_zone(node, FAR)
        await node.says("aborting the reboot and releasing its slot: outside the reboot window")
        await site.is_free()
        assert node.reboots == 0
        status, said = await node.tool("window")
        assert (status, " -05, in " in said) == (0, True), said
        waking.cancel()

    site.play_stopped(story, window=open_in(HERE))
