"""`locksmithctl reboot` from a session: its own does not hold it up, every other does."""

import asyncio

from tests.harness.waiting import until

GRACE = {"grace": "40s"}
"""Longer than a story waits for a reboot that nothing holds up."""


async def logged_in(node, own: str = "") -> None:
    """Let alice come over ssh and bob sit at the machine; the tool is called in the session `own`."""
    node.machine.log_in("7", "alice")
    node.machine.session_facts["/org/freedesktop/login1/session/7"] |= {"Remote": True, "RemoteHost": "10.0.0.9"}
    node.machine.log_in("8", "bob", seat="seat0")
    node.environ["XDG_SESSION_ID"] = own
    await node.says("idle")


def leaves(node, number: str) -> None:
    node.machine.sessions[:] = [one for one in node.machine.sessions if one[0] != number]


def test_a_reboot_over_ssh_does_not_wait_for_the_session_that_it_was_called_in(site):
    async def story(node):
        await logged_in(node, "7")
        leaves(node, "8")
        status, said = await node.tool("reboot")
        assert (status, "logged in" in said) == (0, False), said
        assert node.machine.wall == ""
        await node.rebooted()

    site.play(story, sessions=GRACE)


def test_a_reboot_over_ssh_waits_for_every_other_session(site):
    async def story(node):
        await logged_in(node, "7")
        tool = asyncio.ensure_future(node.tool("reboot"))
        await until(lambda: node.machine.scheduled, "the users are warned")
        leaves(node, "8")
        status, said = await tool
        assert status == 0, said
        assert "waiting: bob (seat0) logged in" in said
        assert "alice" not in said
        await node.rebooted()

    site.play(story, sessions=GRACE)


def test_a_reboot_of_a_service_waits_for_every_session(site):
    async def story(node):
        await logged_in(node)
        tool = asyncio.ensure_future(node.tool("reboot"))
        await until(lambda: node.machine.scheduled, "the users are warned")
        leaves(node, "8")
        leaves(node, "7")
        status, said = await tool
        assert status == 0, said
        assert "waiting: alice (from 10.0.0.9), bob (seat0) logged in" in said
        await node.rebooted()

    site.play(story, sessions=GRACE)
