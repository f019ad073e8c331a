"""What `why`, `nodes` and `status` say of real daemons: overdue, verifying, stopped, and without a store."""

import json

from tests.contract.daemons import QUICK
from tests.contract.programs import program
from tests.harness.waiting import until


async def shows(node, *args, words):
    """Wait until the tool of a node says these words; give all that it said."""
    said = ""
    for _ in range(60):
        _, said = await node.tool(*args)
        if words in said:
            return said
    raise AssertionError(f"{words!r} is not said: {said}")


def test_a_machine_that_dies_in_its_reboot_is_overdue_before_it_is_lost(site):
    async def story(first, second):
        first._reboot_time = lambda: 8.0
        first.need_reboot("4081.2.0")
        await until(lambda: first.claim is not None and first.claim["phase"] == "committed", "n1 is down")
        said = await shows(second, "nodes", words="OVERDUE")
        assert "1 OVERDUE" in said
        assert "lost at " in said
        assert "HALTED" not in said
        assert (
            "unless it is back, as its reboot takes longer than reboot.limit (1 s)"
            in (await second.tool("why", "n1"))[1]
        )
        _, said = await second.tool("nodes", "--json")
        [holder] = json.loads(said)["holders"]
        assert (holder["how"], json.loads(said)["overdue"]) == ("overdue", 1)
        assert holder["lost_at"] is not None
        await first.rebooted()
        await site.is_free()

    site.play(story, nodes=2, reboot=QUICK)


def test_a_machine_under_health_checks_is_verifying_and_names_what_fails(site):
    async def story(first, second):
        check = program(first, "health.d/web", "echo the web server does not answer >&2; exit 1")
        first.need_reboot("4081.2.0")
        said = await shows(second, "nodes", words="not healthy yet: health.d/web")
        [line] = [line for line in said.splitlines() if line.startswith("n1")]
        assert line.split()[1] == "verifying"
        said = await shows(second, "why", "n1", words="the web server does not answer")
        assert "n1 has been proving itself healthy" in said
        check.write_text("#!/bin/sh\n")
        await site.is_free()

    site.play(story, nodes=2)
