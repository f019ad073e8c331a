"""The daemon on the bus: what it shows there, what may be asked of it, and by whom."""

import asyncio

import pytest

from locksmith.config.model import Config
from locksmith.daemon.bus_settings import INTERFACE, PATH
from tests.contract.bus_calls import call, caller
from tests.contract.daemons import QUICK
from tests.contract.programs import BACKUP, program
from tests.harness.dbus import Message, MessageType, Variant
from tests.harness.dbus import Node as Described
from tests.harness.waiting import until


async def shown(bus):
    reply = await call(bus, "GetAll", "s", [INTERFACE], "org.freedesktop.DBus.Properties")
    return {name: variant.value for name, variant in reply.body[0].items()}


async def shows(bus, **wanted):
    seen: dict[str, object] = {}
    async with asyncio.timeout(20):
        while any(seen.get(name) != value for name, value in wanted.items()):
            seen = await shown(bus)
            await asyncio.sleep(0.02)
    return seen


def test_it_shows_state_reason_and_until_and_takes_a_request_and_its_cancellation(site):
    async def story(node):
        await node.says("idle")
        async with caller(node) as bus:
            seen = await shows(bus, State="idle", Code="", Group=site.group, Strategy="etcd-lock")
            assert seen["Until"] == 0
            node.machine.inhibitors = [BACKUP]
            assert (await call(bus, "Request", "s", ["new kernel"])).message_type is MessageType.METHOD_RETURN
            seen = await shows(bus, State="waiting", Code="inhibitor")
            assert "the weekly backup runs" in seen["Reason"]
            assert (await call(bus, "Cancel")).body == [True]
            assert (await call(bus, "Cancel")).body == [False]
            await shows(bus, State="idle")
            node.machine.inhibitors = []
            await call(bus, "Request", "s", [""])
            await node.rebooted()

    site.play(story)


def test_a_change_is_told_to_whoever_listens(site):
    async def story(node):
        await node.says("idle")
        async with caller(node) as bus:
            told = []
            bus.add_message_handler(
                lambda message: told.append(message) if message.member == "PropertiesChanged" else None
            )
            rule = f"type='signal',path='{PATH}'"
            await bus.call(
                Message(
                    destination="org.freedesktop.DBus",
                    path="/org/freedesktop/DBus",
                    interface="org.freedesktop.DBus",
                    member="AddMatch",
                    signature="s",
                    body=[rule],
                )
            )
            node.machine.inhibitors = [BACKUP]
            node.need_reboot("4081.2.0")
            await until(lambda: any(m.body[1].get("Code") == Variant("s", "inhibitor") for m in told), "it is told")

    site.play(story)


def test_it_describes_itself_and_refuses_what_it_does_not_know(site):
    async def story(node):
        await node.says("idle")
        async with caller(node) as bus:
            reply = await call(bus, "Introspect", interface="org.freedesktop.DBus.Introspectable")
            described = Described.parse(reply.body[0])
            [manager] = [one for one in described.interfaces if one.name == INTERFACE]
            assert {one.name for one in manager.methods} == {"Request", "Cancel", "Recheck", "Status", "Triggers"}
            assert {one.name for one in manager.properties} == set(await shown(bus))
            for member, signature, body in (
                ("Explode", "", []),
                ("Request", "u", [1]),
                ("Get", "ss", [INTERFACE, "X"]),
            ):
                reply = await call(bus, member, signature, body)
                assert reply.error_name == "org.freedesktop.DBus.Error.UnknownMethod"

    site.play(story)


def test_recheck_tries_again_what_was_given_up(site):
    async def story(node):
        hook = program(node, "pre-reboot.d/10-drain", "exit 1")
        node.need_reboot("4081.2.0")
        await node.says("waiting (given_up)")
        hook.write_text("#!/bin/sh\nexit 0\n")
        status, said = await node.tool("recheck")
        assert (status, "locksmithd checks everything now; it was waiting: 1 tries to reboot failed" in said) == (
            0,
            True,
        ), said
        await node.rebooted()

    site.play(story, reboot={**QUICK, "tries": 1})


def test_why_tells_what_the_daemon_says_where_etcd_is_away(site):
    async def story(node):
        node.machine.inhibitors = [BACKUP]
        node.need_reboot("4081.2.0")
        await node.says("waiting (inhibitor)")
        with site.etcd_away():
            status, said = await node.tool("why")
            assert status == 0
            assert "n1 needs a reboot for update 4081.2.0 (since " in said
            assert "It waits (inhibitor): shutdown is blocked by backup" in said
            assert "Its group, its queue and the orders of operators are not known: no etcd endpoint" in said

    site.play(story)


@pytest.mark.parametrize("member", ["Request", "Cancel", "Recheck"])
def test_who_is_not_root_needs_polkit(member):
    from locksmith.daemon.bus_service import BusService, Orders  # noqa: PLC0415
    from locksmith.host.dbus.messages import Incoming, RefusedError  # noqa: PLC0415

    class Bus:
        def __init__(self, answer):
            self.answer = answer
            self.asked = []

        async def unix_user(self, _name):
            return 1000

        async def call(self, asked, *, limit):  # noqa: ARG002
            self.asked.append(asked.body)
            return [self.answer]

    async def nothing(_reason=""):
        return None

    async def ask(bus):
        service = BusService(bus, Orders(nothing, lambda: True, lambda: None), Config())
        body = ("why",) if member == "Request" else ()
        return await service._answer(Incoming(":1.7", PATH, INTERFACE, member, "s" if body else "", body))

    denied, allowed = Bus((False, False, {})), Bus((True, False, {}))
    with pytest.raises(RefusedError, match="polkit does not allow"):
        asyncio.run(ask(denied))
    asyncio.run(ask(allowed))
    (subject, action, *_), *_ = allowed.asked
    assert (subject[0], subject[1]["name"].value, action) == ("system-bus-name", ":1.7", "org.locksmith1.manage")
