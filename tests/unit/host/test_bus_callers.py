"""What the users of a machine can make the daemon do over the bus, with a clock of the tests' own."""

import asyncio
from collections import Counter

import pytest

from locksmith.errors import HostError
from locksmith.host.dbus import callers
from locksmith.host.dbus.callers import Callers, TooManyError, Verdict


class Bus:
    """Users by the first figure of their connections' names; and how often it was asked."""

    def __init__(self):
        self.now = 1000.0
        self.asked: Counter[str] = Counter()
        self.gone = False
        self.callers = Callers(self.ask, lambda: self.now)

    async def ask(self, sender):
        self.asked[sender] += 1
        await asyncio.sleep(0)
        if self.gone:
            raise HostError("no such name")
        return 0 if sender.startswith(":0") else 1000 + int(sender[1])

    async def call(self, sender):
        verdict = self.callers.enter(sender)
        if verdict is Verdict.TAKE:
            try:
                await self.callers.user(sender)
            except TooManyError:
                verdict = Verdict.REFUSE
            finally:
                self.callers.leave(sender)
        return verdict


def verdicts(calls):
    bus = Bus()

    async def story():
        return Counter([await bus.call(sender) for sender in calls])

    return bus, asyncio.run(story())


def test_a_user_who_calls_too_often_is_refused_and_then_dropped_and_named_once(caplog):
    bus, seen = verdicts([":1.5"] * 1000)
    assert seen[Verdict.TAKE] == 60
    assert seen[Verdict.REFUSE] == 10
    assert bus.asked[":1.5"] == 1
    [line] = caplog.messages
    assert "user 1001 (the connection :1.5)" in line


def test_many_connections_of_a_user_have_one_limit():
    _, seen = verdicts([f":1.{number}" for number in range(1000)])
    assert seen[Verdict.TAKE] == 60


def test_all_users_together_have_a_limit():
    _, seen = verdicts([f":{user}.{number}" for number in range(100) for user in range(1, 10)])
    assert seen[Verdict.TAKE] == 240


async def test_root_is_limited_by_the_connection_and_not_by_what_others_do():
    bus = Bus()

    for number in range(1000):
        await bus.call(f":1.{number}")
    noisy = Counter([await bus.call(":0.1") for _ in range(1000)])
    assert noisy[Verdict.TAKE] == 300
    assert await bus.call(":0.2") is Verdict.TAKE


async def test_who_stops_is_answered_again():
    bus = Bus()

    for _ in range(1000):
        await bus.call(":1.5")
    bus.now += 10
    assert await bus.call(":1.5") is Verdict.TAKE


@pytest.mark.slow
def test_whatever_comes_little_is_remembered(monkeypatch):
    monkeypatch.setattr(callers.log, "disabled", True)
    bus, _ = verdicts([f":{number}" for number in range(5000)])
    assert len(bus.callers._users._held) <= callers.MOST_USERS
    assert len(bus.callers._accounts._held) <= callers.MOST_ACCOUNTS
    assert not bus.callers._unknown
    assert not bus.callers._asking


async def test_as_long_as_a_user_is_unknown_few_calls_are_under_way():
    bus = Bus()

    seen = Counter(bus.callers.enter(":1.5") for _ in range(100))
    assert seen[Verdict.TAKE] == callers.MOST_UNKNOWN_OF_ONE
    others = Counter(bus.callers.enter(f":2.{number}") for number in range(100))
    assert others[Verdict.TAKE] == callers.MOST_UNKNOWN - callers.MOST_UNKNOWN_OF_ONE


async def test_a_flood_of_signals_asks_once_whose_they_are():
    bus = Bus()

    heard = sum([bus.callers.hears(":1.5") for _ in range(500)])
    await asyncio.sleep(0.01)
    heard += sum([bus.callers.hears(":1.5") for _ in range(500)])
    assert heard < 100
    assert bus.asked == {":1.5": 1}


async def test_a_sender_that_has_left_is_an_error_and_forgotten():
    bus = Bus()
    bus.gone = True

    with pytest.raises(HostError, match="no such name"):
        await bus.callers.user(":1.5")
    bus.gone = False
    assert await bus.callers.user(":1.5") == 1001


async def test_another_bus_has_other_users():
    bus = Bus()

    await bus.callers.user(":1.5")
    bus.callers.forget()
    await bus.callers.user(":1.5")
    assert bus.asked[":1.5"] == 2
