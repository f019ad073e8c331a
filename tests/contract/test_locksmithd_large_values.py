"""Values of a megabyte in every place of the store: the daemon's loop keeps turning, the tool shows all the rest."""

import json
import signal

import pytest

from locksmith.lock.records import keys
from locksmith.util import limits
from tests.contract.fleets import MACHINE, NEED, ctl, fleet, root

__all__ = ["ctl", "fleet", "root"]

MANY = json.dumps({"semaphore": 1, "max": 40_001, "holders": [f"{one:032x}" for one in range(40_000)]}).encode()
"""A semaphore of 1.4 MB, sound but for its length: etcd takes 1.5 MiB."""
LONG = b'{"schema":1,"reason":"%s"}' % (b"\\u0007" * 230_000)


@pytest.fixture
def api():
    return 3


def test_a_semaphore_of_a_megabyte_is_named_with_its_way_out_and_holds_up_no_loop(site):
    async def story(node):
        site.lock.put(MANY)
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (corrupt): {site.lock.key}: not a semaphore: it has {len(MANY)} bytes, and at most")
        assert f"`locksmithctl -group={site.group} repair" in node.said
        for _ in range(3):
            assert (await node.tool("recheck"))[0] == 0
        assert node.machine.reboots == 0
        status, said = await node.tool("repair", "--max", "1", "--yes")
        assert (status, f"({len(MANY)} bytes)" in said) == (0, True)
        node.send_signal(signal.SIGHUP)
        await node.rebooted()

    site.play(story)


def test_records_of_a_megabyte_of_others_hold_up_no_reboot_that_they_say_nothing_of(site):
    async def story(node):
        for key in (keys.node_key(site.group, "other"), keys.holder_key(site.group, "other")):
            site.lock.put(LONG, key)
        site.lock.put(LONG, f"{keys.history_prefix(site.group)}1700000000000-00000000")
        node.need_reboot("4081.2.0")
        await node.rebooted()
        await site.is_free()

    site.play(story)


@pytest.mark.parametrize("kind", ["freeze", "hold", "spacing", "resume", "incidents"])
def test_an_order_of_a_megabyte_is_a_no_and_goes_by_its_own_way_out(site, kind):
    places = {
        "freeze": (keys.freeze_key(site.group), ("thaw",)),
        "hold": (keys.holds_prefix(site.group), ("unhold",)),
        "spacing": (keys.spacing_key(site.group), ()),
        "resume": (keys.resume_key(site.group), ("resume",)),
        "incidents": (keys.incidents_key(site.group), ("resume",)),
    }

    async def story(node):
        key, way_out = places[kind]
        key += node.machine_id if kind == "hold" else ""
        site.lock.put(LONG.ljust(limits.INCIDENTS + 1), key)
        node.need_reboot("4081.2.0")
        await node.says(f"waiting (corrupt): {key}: ")
        assert "bytes, and at most" in node.said
        assert node.machine.reboots == 0
        if way_out:
            machine = [node.machine_id] if kind == "hold" else []
            assert (await node.tool(*way_out, *machine))[0] == 0
            node.send_signal(signal.SIGHUP)
            await node.rebooted()

    site.play(story)


def test_a_listing_with_records_of_a_megabyte_shows_all_the_others(ctl, fleet):
    fleet.slots(3)
    fleet.present("n1", state="waiting", code="queue", **NEED)
    fleet.holds(fleet.claim("n1"))
    fleet.stands("n2")
    assert ctl("freeze", "--reason", "the database moves").status == 0
    group = fleet.group
    long = {
        "presence": keys.node_key(group, "large"),
        "place": f"{keys.waiters_prefix(group)}large",
        "hold": keys.hold_key(group, "large"),
        "share": keys.share_key(group),
        "incidents": keys.incidents_key(group),
        "history": f"{keys.history_prefix(group)}1700000000000-00000000",
        "set": keys.window_key(f"{group}-large"),
    }
    for key in long.values():
        fleet(lambda store, key=key: store.create(key, LONG.ljust(limits.INCIDENTS + 1)))
    shown = ctl("nodes")
    assert (shown.status, "n1" in shown.out, "n2" in shown.out) == (0, True, True)
    for kind in ("presence", "place", "hold", "share", "incidents"):
        assert f"cannot be read: {long[kind]}: " in shown.err
    assert shown.err.count("bytes, and at most") == 5
    assert "n1" in ctl("why", "n1").out
    assert "FROZEN" in shown.out
    assert "the database moves" in ctl("history").out
    assert f"{group}-large cannot be read" in ctl("window", "show").err
    assert ctl("window", "rm", f"{group}-large").status == 0
    assert ctl("why", MACHINE).status == 0
