"""What update_engine says, and who else may say it, on a real bus with users of their own."""

import asyncio
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.agent.facts import Boot, RebootNeed, TriggerResult
from locksmith.host.dbus import bus as system_bus
from locksmith.host.dbus.bus import SystemBus
from locksmith.triggers import update_engine
from locksmith.triggers.update_engine import UpdateEngine
from tests.harness.bus import PrivateBus
from tests.harness.engine import DOWNLOADING, IDLE, NEED_REBOOT, Engine
from tests.harness.waiting import until

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=45)
BOOT = Boot("b0071d")
ROOT, NOBODY = 0, 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other users")


class Trigger(UpdateEngine):
    """The trigger, and what it told."""

    def __init__(self, bus):
        super().__init__(bus, self._note)
        self.wakes = 0
        self.operator: list[str] = []
        self.listen(self._count)

    def _count(self):
        self.wakes += 1

    async def _note(self, version):
        self.operator.append(version)

    async def sees(self, now=NOON):
        return await self.check(now, BOOT)


@pytest.fixture
def daemon():
    with PrivateBus() as bus:
        yield bus


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(update_engine, "ANSWER_LIMIT", 0.2)
    monkeypatch.setattr(system_bus, "FIRST_PAUSE", 0.01)


@asynccontextmanager
async def watching(daemon):
    bus = SystemBus(daemon.address)
    trigger = Trigger(bus)
    async with bus:
        yield trigger


def unique_name(trigger):
    return trigger._bus._link.unique_name


def need(version, since=NOON):
    return TriggerResult(RebootNeed("update-engine", version, since))


async def test_a_needed_reboot_wakes_and_is_a_wish_since_it_was_first_seen(daemon):
    async with Engine(daemon.address) as engine, watching(daemon) as trigger:
        assert await trigger.sees() == TriggerResult()
        woken = trigger.wakes
        engine.set(NEED_REBOOT, "3.2.1")
        await until(lambda: trigger.wakes > woken, "the signal wakes")
        assert await trigger.sees(NOON) == need("3.2.1")
        engine.emit()
        assert await trigger.sees(LATER) == need("3.2.1")
        engine.set(NEED_REBOOT, "3.2.2")
        assert await trigger.sees(LATER) == need("3.2.2", LATER)


async def test_a_restarted_engine_forgets_the_version_but_not_the_need(daemon):
    async with Engine(daemon.address) as engine, watching(daemon) as trigger:
        engine.set(NEED_REBOOT, "3.2.1")
        assert await trigger.sees() == need("3.2.1")
        woken = trigger.wakes
        await engine.restart()
        await until(lambda: trigger.wakes >= woken + 2, "going and coming both wake")
        assert await trigger.sees(LATER) == need("3.2.1")


async def test_an_engine_that_was_restarted_before_has_a_wish_for_an_unknown_version(daemon):
    async with Engine(daemon.address) as engine, watching(daemon) as trigger:
        engine.set(NEED_REBOOT, "3.2.1")
        await engine.restart()
        assert await trigger.sees() == need("0.0.0")


async def test_a_reset_is_seen_without_a_signal(daemon):
    async with Engine(daemon.address) as engine, watching(daemon) as trigger:
        engine.set(NEED_REBOOT, "3.2.1")
        assert await trigger.sees() == need("3.2.1")
        engine.status = (0, 0.0, IDLE, "", 0)
        assert await trigger.sees() == TriggerResult()
        engine.status = (0, 0.0, NEED_REBOOT, "3.2.1", 0)
        assert await trigger.sees(LATER) == need("3.2.1", LATER)


async def test_an_engine_that_comes_late_wakes(daemon):
    async with watching(daemon) as trigger:
        assert await trigger.sees() == TriggerResult()
        woken = trigger.wakes
        async with Engine(daemon.address) as engine:
            await until(lambda: trigger.wakes > woken, "its coming wakes")
            engine.set(NEED_REBOOT, "1")
            assert await trigger.sees() == need("1")
        assert await trigger.sees() == TriggerResult()


async def test_without_a_bus_there_is_a_doubt_that_names_it_and_its_return_wakes(daemon):
    async with watching(daemon) as trigger:
        daemon.kill()
        await until(lambda: trigger.wakes >= 2, "its going wakes")
        sight = await trigger.sees()
        assert sight.need is None
        assert "no connection to the system bus" in (sight.error or "")
        daemon.start()
        await until(lambda: trigger.wakes >= 3, "its return wakes")
        assert await trigger.sees() == TriggerResult()


async def test_an_engine_that_does_not_answer_is_a_doubt_until_it_does(daemon):
    async with Engine(daemon.address) as engine, watching(daemon) as trigger:
        engine.set(NEED_REBOOT, "1")
        assert await trigger.sees() == need("1")
        engine.silent = True
        sentence = "update_engine: GetStatus of com.coreos.update1 was not answered within 0.2 s"
        assert await trigger.sees() == TriggerResult(error=sentence)
        engine.speak()
        assert await trigger.sees(LATER) == need("1")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nonsense": True}, "was answered with 's', not with 'xdssx'"),
        ({"status": (0, 0.0, "UPDATE_STATUS_MYSTERY", "", 0)}, "unknown here: 'UPDATE_STATUS_MYSTERY'"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_a_doubt(daemon, change, sentence):
    async with Engine(daemon.address) as engine, watching(daemon) as trigger:
        vars(engine).update(change)
        seen = await trigger.sees()
        assert seen.need is None
        assert sentence in (seen.error or "")


def test_a_signal_of_another_signature_is_ignored_and_said(daemon, caplog):
    async def story():
        async with Engine(daemon.address) as engine, watching(daemon) as trigger:
            woken = trigger.wakes
            engine.emit_nonsense()
            await until(lambda: caplog.messages, "it is said")
            assert trigger.wakes == woken
            engine.set(DOWNLOADING)
            await until(lambda: trigger.wakes > woken, "a good one is heard afterwards")

    asyncio.run(story())
    assert "with the signature 's'" in caplog.text


@needs_root
async def test_a_need_reboot_of_root_that_is_not_the_engine_is_the_operators(daemon):
    async with Engine(daemon.address), watching(daemon) as trigger:
        async with daemon.signal_from(ROOT, NEED_REBOOT, "9.9"):
            await until(lambda: trigger.operator, "the wish is noted")
        assert trigger.operator == ["9.9"]
        assert await trigger.sees() == TriggerResult()


@needs_root
@pytest.mark.parametrize("alone", [False, True], ids=["to all", "to us alone"])
def test_a_signal_of_an_ordinary_user_is_ignored_and_said(daemon, caplog, alone):
    async def story():
        async with Engine(daemon.address), watching(daemon) as trigger:
            woken = trigger.wakes
            to = unique_name(trigger) if alone else ""
            async with daemon.signal_from(NOBODY, NEED_REBOOT, to=to):
                await until(lambda: caplog.messages, "it is said")
            assert (trigger.operator, trigger.wakes) == ([], woken)

    asyncio.run(story())
    assert "user 65534 is neither update_engine nor root" in caplog.text


@needs_root
@pytest.mark.parametrize("operation", [NEED_REBOOT, DOWNLOADING, "nonsense"])
def test_a_flood_of_signals_costs_little(daemon, caplog, monkeypatch, operation):
    asked: list[str] = []

    async def counted(self, unique_name):
        asked.append(unique_name)
        return await real(self, unique_name)

    real = SystemBus.unix_user
    monkeypatch.setattr(SystemBus, "unix_user", counted)

    async def story():
        async with Engine(daemon.address), watching(daemon) as trigger:
            async with daemon.signal_from(NOBODY, operation, "", "2000"):
                await until(lambda: caplog.messages, "it is said")
            async with daemon.signal_from(ROOT, NEED_REBOOT, "9.9"):
                await until(lambda: trigger.operator, "root is heard all the same")

    asyncio.run(story())
    assert len(asked) <= 2
    assert len(caplog.messages) <= 3


@needs_root
def test_a_sender_that_has_left_is_not_believed(daemon, caplog):
    async def story():
        async with watching(daemon) as trigger:
            daemon.signal_and_leave(ROOT, NEED_REBOOT)
            await until(lambda: caplog.messages, "it is said")
            assert trigger.operator == []

    asyncio.run(story())
    assert "GetConnectionUnixUser" in caplog.text
