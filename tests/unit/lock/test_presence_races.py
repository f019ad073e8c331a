"""A presence that others write at the same time, and what stays of a state that goes on."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.errors import HostError, StoreUnavailableError
from locksmith.lock.presence import CLONE_MEMORY, HOLD_OFF, _is_of_this_run
from locksmith.lock.records import keys, node
from tests.builders.nodes import IDLE, NOW, WAITING, Registry, days_pass
from tests.sim.virtual_time import run

KEY = keys.node_key("web", "m1")
COPY = replace(IDLE, hostname="copy", boot_id="boot-9", hardware="board-2")


class Raced(Registry):
    """A store in which another writes right before a call of this name, once."""

    def __init__(self) -> None:
        super().__init__()
        self.before = ""
        self.writes = COPY

    async def carry(self, call):
        if call.name == self.before:
            self.before = ""
            self.put(self.writes)
        return await super().carry(call)

    def put(self, other: node.Node) -> None:
        self.server.put(KEY, node.encode(other), self.server.read(KEY).version)


class Forgetful:
    """Runs on a disk that takes nothing, and gives nothing."""

    def known(self):
        raise HostError("the disk is gone")

    def add(self, run: str) -> None:
        raise HostError(f"{run} is not written down: the disk is gone")


def play(story):
    run(lambda _loop: story(Raced()))


def test_a_state_that_goes_on_is_no_news_however_often_the_moment_is_told():
    async def story(registry):
        presence = registry.presence()
        await presence.show(IDLE)
        registry.calls.clear()
        for minutes in range(1, 4):
            await presence.show(replace(IDLE, since=NOW + timedelta(minutes=minutes)))
        assert registry.calls == []

    play(story)


def test_another_state_begins_when_it_begins():
    async def story(registry):
        presence = registry.presence()
        await presence.show(IDLE)
        later = replace(WAITING, since=NOW + timedelta(hours=1))
        await presence.show(later)
        assert registry.record.since == later.since

    play(story)


def test_a_store_that_failed_is_asked_again_after_its_pause_to_the_second():
    async def story(registry):
        presence = registry.presence()
        registry.down = True
        with pytest.raises(StoreUnavailableError):
            await presence.show(IDLE)
        registry.down = False
        await asyncio.sleep(HOLD_OFF - 1)
        await presence.show(IDLE)
        assert registry.read() is None
        await asyncio.sleep(1)
        await presence.show(IDLE)
        assert registry.record == IDLE

    play(story)


@pytest.mark.parametrize("call", ["create", "replace"])
def test_a_record_written_by_another_at_this_moment_is_replaced_and_its_writer_known(call):
    async def story(registry):
        if call == "replace":
            registry.put(replace(IDLE, instance="of an earlier run"))
        presence = registry.presence()
        registry.before = call
        await presence.show(IDLE)
        assert registry.record.hostname == "n1"
        assert presence.clone == f"copy (boot {COPY.run})"
        assert (registry.record.clone, registry.record.clone_boot) == (presence.clone, COPY.run)

    play(story)


@pytest.mark.parametrize("runs", [None, Forgetful()], ids=["remembers nothing", "cannot be read"])
def test_a_machine_without_a_disk_knows_its_record_from_before_it_was_renamed(runs):
    async def story(registry):
        presence = registry.presence(runs)
        await presence.show(IDLE)
        registry.before, registry.writes = "update", IDLE  # a late request of its own
        await presence.show(replace(IDLE, hostname="renamed"))
        assert not presence.clone
        assert registry.record.hostname == "renamed"

    play(story)


def test_a_twin_is_forgotten_when_it_was_not_seen_for_too_long():
    async def story(registry):
        presence = registry.presence()
        registry.before = "create"
        await presence.show(IDLE)
        await asyncio.sleep(CLONE_MEMORY)
        assert presence.clone
        await asyncio.sleep(1)
        assert not presence.clone
        await days_pass(presence, IDLE, 60)
        assert (registry.record.clone, registry.record.clone_boot) == ("", "")

    play(story)


@pytest.mark.parametrize(
    ("other", "own"),
    [
        ({}, True),
        ({"instance": "run-1"}, True),
        ({"instance": ""}, True),
        ({"instance": "run-2"}, False),
        ({"hostname": "copy"}, False),
        ({"boot_id": "boot-9"}, False),
    ],
)
def test_a_record_is_of_this_run_unless_it_names_another(other, own):
    now = replace(IDLE, instance="run-1")
    assert _is_of_this_run(replace(now, **other), now) is own
    if not other:
        assert _is_of_this_run(now, replace(now, instance=""))
        assert _is_of_this_run(IDLE, IDLE)
