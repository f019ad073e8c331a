"""A server whose clock is not known to be right, where `window.require-synced-clock` asks for that."""

import pytest

from locksmith.agent.facts import Blocker
from locksmith.config.model import Config, WindowSettings
from locksmith.config.server_model import ServedGroup, ServerSettings
from locksmith.host.paths import Paths
from locksmith.server.desk import Desk
from locksmith.server.refusal import RefusalKind
from locksmith.store.memory import MemoryStore
from tests.builders.desks import NoHooks, play
from tests.builders.one_store import G
from tests.harness.fault_script import StepwiseStore

STORES = [MemoryStore, StepwiseStore]


class Clock:
    """The clock of a machine, as systemd calls it."""

    name = "clock"

    def __init__(self) -> None:
        self.right = True

    async def check(self, _entry):
        return [] if self.right else [Blocker(self.name, "the clock is not synchronised")]


def _desk(fleet, **synced) -> Desk:
    config = Config(window=WindowSettings(synced=True), server=ServerSettings(groups={G: ServedGroup()}))
    return Desk(config, Paths(), store=fleet.store(), programs=NoHooks(), clock=fleet.now, **synced)


@pytest.mark.parametrize("store", STORES)
def test_no_client_reboots_while_the_clock_of_its_server_is_not_synchronised(store):
    async def story(fleet):
        clock = Clock()
        desk = _desk(fleet, synced=clock)
        clock.right = False
        refused = await desk.pre_reboot(G, "c1")
        assert refused is not None
        assert refused.kind is RefusalKind.WINDOW
        assert "no window counts on this server: the clock is not synchronised" in refused.sentence
        assert await fleet.holders() == ()
        clock.right = True
        assert await desk.pre_reboot(G, "c1") is None
        clock.right = False
        assert (await desk.pre_reboot(G, "c1")) is not None
        assert await fleet.holders() == ("c1",)  # it may be going down already
        assert await desk.steady_state(G, "c1") is None

    play(story, store)


def test_a_server_that_cannot_ask_whether_its_clock_is_right_refuses(monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")

    async def story(fleet):
        refused = await _desk(fleet).pre_reboot(G, "c1")
        assert refused is not None
        assert refused.kind is RefusalKind.WINDOW
        assert "systemd does not say whether the clock is synchronised" in refused.sentence

    play(story)
