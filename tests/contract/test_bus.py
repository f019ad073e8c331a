"""The connection to the system bus, on a real dbus-daemon that comes and goes."""

import asyncio
import gc
import os
import time
from contextlib import asynccontextmanager

import pytest

from locksmith.errors import HostError
from locksmith.host.dbus import bus as system_bus
from locksmith.host.dbus import link
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.dbus.errors import AnsweredError, BusGoneError, NoAnswerError, NobodyError, StrangeAnswerError
from locksmith.host.dbus.messages import Call, Match, Property, Signal, to_bus
from tests.harness import engine as update_engine
from tests.harness.bus import PrivateBus
from tests.harness.engine import Engine
from tests.harness.rubbish_bus import message, rubbish_bus
from tests.harness.waiting import until

MANAGER = (update_engine.NAME, update_engine.PATH, "com.coreos.update1.Manager")
GET_STATUS = Call(*MANAGER, "GetStatus", reply="xdssx")
STATUS_UPDATE = Match(MANAGER[2], "StatusUpdate", update_engine.PATH, sender=update_engine.NAME)
GET_ID = Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId", reply="s")


@pytest.fixture
def daemon():
    with PrivateBus() as bus:
        yield bus


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(link, "CONNECT_LIMIT", 0.3)
    monkeypatch.setattr(system_bus, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(system_bus, "LONGEST_PAUSE", 0.05)


@asynccontextmanager
async def engine_heard(daemon):
    """An engine, and a connection that hears its signals: both, and the list of what was heard."""
    heard: list[Signal] = []
    bus = SystemBus(daemon.address)
    bus.subscribe(STATUS_UPDATE, heard.append)
    async with Engine(daemon.address) as engine, bus:
        yield bus, engine, heard


async def test_calls_are_answered_and_signals_are_heard(daemon):
    async with engine_heard(daemon) as (bus, engine, heard):
        engine.set(update_engine.DOWNLOADING, "1.2")
        await until(lambda: heard, "the signal is heard")
        assert heard[0].body[2:4] == ("UPDATE_STATUS_DOWNLOADING", "1.2")
        assert heard[0].sender == bus.owner(update_engine.NAME)
        assert (await bus.call(GET_STATUS))[3] == "1.2"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other users")
async def test_a_signal_sent_to_us_alone_by_another_than_the_owner_is_not_heard(daemon):
    """A match rule does not keep it out."""

    async with engine_heard(daemon) as (bus, engine, heard):
        assert bus._link is not None
        async with daemon.signal_from(65534, to=bus._link.unique_name):
            engine.set(update_engine.DOWNLOADING)
            await until(lambda: heard, "the engine is heard")
        assert [signal.sender for signal in heard] == [bus.owner(update_engine.NAME)]


async def test_a_bus_that_is_absent_at_the_start_is_found_when_it_comes(daemon):
    daemon.kill()
    changes: list[bool] = []
    bus = SystemBus(daemon.address)
    bus.on_change(changes.append)
    assert not await bus.start()
    with pytest.raises(BusGoneError, match=r"GetId of org.freedesktop.DBus was not called: there is no connection"):
        await bus.call(GET_ID)
    daemon.start()
    await until(lambda: bus.connected, "the bus is found")
    assert await bus.call(GET_ID)
    assert changes == [True]
    await bus.close()


async def test_after_a_restart_of_the_bus_signals_and_owners_are_there_again(daemon):
    changes: list[bool] = []
    async with engine_heard(daemon) as (bus, engine, heard):
        bus.on_change(changes.append)
        daemon.restart()
        await until(lambda: changes == [False, True], "the bus is connected again")
        assert bus.owner(update_engine.NAME) is None
        await engine.appear()
        await until(lambda: bus.owner(update_engine.NAME), "the engine's coming is seen")
        engine.set(update_engine.DOWNLOADING)
        await until(lambda: heard, "the signal is heard on the new connection")


async def test_a_call_under_way_ends_when_the_bus_dies(daemon):
    async with engine_heard(daemon) as (bus, engine, _):
        engine.silent = True
        call = asyncio.create_task(bus.call(GET_STATUS, limit=60))
        await until(lambda: engine.asked, "the engine is asked")
        daemon.kill()
        with pytest.raises(NoAnswerError, match=r"GetStatus of com.coreos.update1 was not answered: the system bus"):
            await asyncio.wait_for(call, 15)


def test_a_call_on_a_bus_that_died_this_moment_fails_at_once_and_in_silence(daemon, caplog):
    async def story():
        async with SystemBus(daemon.address) as bus:
            daemon.kill()
            with pytest.raises(HostError):
                await asyncio.wait_for(bus.call(GET_ID, limit=60), 15)

    asyncio.run(story())
    gc.collect()
    assert {record.name for record in caplog.records} <= {"locksmith.host.dbus.bus"}


async def test_a_frozen_bus_costs_no_more_than_the_limit(daemon):
    async with SystemBus(daemon.address) as bus:
        with daemon.frozen():
            with pytest.raises(NoAnswerError, match=r"not answered within 0\.05 s"):
                await bus.call(GET_ID, limit=0.05)
            began = time.monotonic()
            assert not await SystemBus(daemon.address).start()
            assert time.monotonic() - began < 4
        assert await bus.call(GET_ID)


async def test_a_service_that_never_answers_costs_nobody_else_his_calls(daemon):
    """dbus-daemon refuses all calls of a connection that has 128 without an answer."""

    async with engine_heard(daemon) as (bus, engine, _):
        engine.silent = True
        for _ in range(150):
            with pytest.raises(HostError):
                await bus.call(GET_STATUS, limit=0.001)
            await until(lambda: bus.connected, "the bus is connected")
        assert await bus.call(GET_ID)


async def test_an_answer_that_comes_late_is_dropped(daemon):
    async with engine_heard(daemon) as (bus, engine, _):
        engine.silent = True
        with pytest.raises(NoAnswerError):
            await bus.call(GET_STATUS, limit=0.01)
        engine.speak()
        assert (await bus.call(GET_STATUS))[2] == update_engine.IDLE


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (GET_STATUS, NobodyError, "GetStatus of com.coreos.update1 was answered with an error: .*not provided"),
        (to_bus("GetNameOwner", "no.such"), NobodyError, "no such name"),
        (to_bus("GetNonsense", "x"), AnsweredError, "GetNonsense"),
        (to_bus("GetNameOwner", "org.freedesktop.DBus", "u"), StrangeAnswerError, "answered with 's', not with 'u'"),
    ],
)
async def test_each_failure_has_its_kind_and_its_sentence(daemon, call, error, sentence):
    async with SystemBus(daemon.address) as bus:
        with pytest.raises(error, match=sentence):
            await bus.call(call)


async def test_a_property_of_another_type_or_of_nobody_is_refused(daemon):
    features = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Features")

    async with SystemBus(daemon.address) as bus:
        assert isinstance(await bus.get(Property(*features, "as")), list)
        with pytest.raises(StrangeAnswerError, match=r"Features of org.freedesktop.DBus is of type 'as', not 'b'"):
            await bus.get(Property(*features, "b"))
        with pytest.raises(NobodyError, match=r"Nothing of no.such cannot be read"):
            await bus.get(Property("no.such", "/", "no.such", "Nothing", "b"))


async def test_an_address_that_makes_no_sense_is_a_bus_that_is_absent():
    bus = SystemBus("nonsense")
    assert not await bus.start()
    with pytest.raises(BusGoneError):
        await bus.call(GET_ID)
    await bus.close()


def test_an_outage_is_one_line_in_the_log(daemon, caplog):
    async def story():
        daemon.kill()
        bus = SystemBus(daemon.address)
        await bus.start()
        await asyncio.sleep(0.2)
        await bus.close()

    asyncio.run(story())
    [line] = caplog.messages
    assert line.startswith("the system bus cannot be reached (No such file or directory)")


def broken(old, new):
    said = message()
    assert old in said
    return bytes(said.replace(old, new, 1))


@pytest.mark.parametrize(
    "rubbish",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        broken(b"l\x04\x00\x01", b"l\x04\x00\x07"),
        broken(b"a.b", b"a.\xff"),
        broken(b"\x01s\x00\x03", b"\x01#\x00\x03"),
        broken(b"\x01s\x00\x03\x00", b"\x01s\x00\x03\x09"),
    ],
    ids=["http", "version", "no UTF-8", "unknown type", "longer than it is"],
)
def test_a_bus_that_talks_rubbish_is_one_that_went_away(tmp_path, rubbish, caplog):
    async def story():
        async with rubbish_bus(tmp_path, rubbish) as (address, connections), SystemBus(address):
            await until(lambda: len(connections) > 2, "it is connected again and again")

    asyncio.run(story())
    assert "the system bus went away" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_name_that_the_policy_forbids_is_logged_once_with_the_way_out(daemon, caplog):
    """As with the policy of an earlier version. A user who floods the bus ends connections again and again."""

    async def story():
        bus = SystemBus(daemon.address)
        bus.take_name("org.locksmith1.Unheard")
        async with bus:
            for _ in range(3):
                assert await bus.call(GET_ID)
                daemon.restart()
                await until(lambda: not bus.connected, "its end is noticed")
                await until(lambda: bus.connected, "the bus is found")

    asyncio.run(story())
    [said] = [record.getMessage() for record in caplog.records if "the name" in record.getMessage()]
    assert "the bus does not give the name org.locksmith1.Unheard: Connection" in said
    assert "org.locksmith1.conf, then `systemctl restart locksmithd`" in said
