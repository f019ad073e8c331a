"""What is read of the bus where another program has written it, and what is written to it: without a bus."""

import asyncio

import pytest

from locksmith.daemon import bus_service
from locksmith.errors import HostError
from locksmith.host.dbus.link import sendable
from locksmith.triggers import update_engine
from tests.harness.dbus import Message, Variant, written
from tests.junk.bodies import Body
from tests.junk.bus_readers import ANSWERS, ROGUE, JunkBus, at_once, hear


def test_a_reason_that_no_bus_takes_is_sent_without_what_is_wrong_with_it():
    reason = "a\ud800b\0c\n\u00e9"
    body = sendable(["x", {"Reason": Variant("s", reason)}, [(reason, 1)]])
    assert body == ["x", {"Reason": Variant("s", "a?b?c\n\u00e9")}, [["a?b?c\n\u00e9", 1]]]
    assert written(Message.new_signal("/a", "a.b", "C", "sa{sv}a(su)", body))


@pytest.mark.parametrize(
    "shown", [{}, {"State": Variant("s", "idle")}, {**ANSWERS["GetAll"].values[0], "Code": Variant("u", 1)}]
)
def test_a_daemon_that_does_not_say_its_state_is_an_error(shown):
    with pytest.raises(HostError, match="was answered without its state"):
        at_once(bus_service.read_local(JunkBus(GetAll=Body("a{sv}", (shown,)))))


def test_a_trigger_that_looked_after_the_end_of_all_calendars_is_an_error():
    said = Body("a(ssts)", ([("kernel", "yes", 2**64 - 1, "x")],))
    with pytest.raises(HostError, match="a time that no calendar has"):
        at_once(bus_service.read_triggers(JunkBus(Triggers=said)))


@pytest.mark.parametrize(
    "body",
    [Body("ss", ("a", "b")), Body(""), Body("sssu", ("a", "b", "c", 1)), Body("ssv", ("a", "b", Variant("s", "c")))],
)
def test_a_change_of_an_owner_in_another_shape_changes_none(body):
    bus, woken = asyncio.run(hear(("NameOwnerChanged", body)))
    assert bus.owner(update_engine.NAME) == ":1.7"
    assert woken == [""]  # the bus is there


def test_an_owner_that_leaves_is_noted():
    bus, woken = asyncio.run(hear(("NameOwnerChanged", Body("sss", (update_engine.NAME, ":1.7", "")))))
    assert (bus.owner(update_engine.NAME), woken, ROGUE) == (None, ["", ""], ":1.9")
