"""Whose record stands in the store: this machine's own, also where its memory is lost; what it keeps of the store."""

from dataclasses import replace

from locksmith.host.paths import Paths
from locksmith.host.watermark import SeenRevision
from locksmith.lock.presence import Presence
from locksmith.lock.records import keys, node
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Position
from tests.builders.nodes import IDLE, Boots
from tests.harness.remembered import remembered
from tests.sim.virtual_time import run


def presence(server: MemoryServer, boots: Boots, mark: SeenRevision | None = None) -> Presence:
    return Presence(MemoryStore(server), "web", "m1", boots, mark=mark)


def shown(server: MemoryServer) -> node.Node:
    entry = server.read(keys.node_key("web", "m1")).entry
    assert entry is not None
    return node.decode(entry.value, entry.key, "m1")


def test_a_daemon_that_has_lost_its_memory_knows_its_own_record_of_this_boot():
    async def story(_loop):
        server = MemoryServer()
        await presence(server, Boots()).show(IDLE)
        forgetful = presence(server, Boots())
        await forgetful.show(IDLE)
        assert not forgetful.clone
        assert not shown(server).clone

    run(story)


def test_a_copy_that_goes_on_in_the_same_boot_is_told_by_its_name():
    """A virtual machine copied with its memory has the same boot id; what it has shown nobody here remembers."""

    async def story(_loop):
        server = MemoryServer()
        await presence(server, Boots()).show(replace(IDLE, hostname="copy"))
        restarted = presence(server, Boots())
        await restarted.show(IDLE)
        assert restarted.clone == "copy (boot boot-1)"

    run(story)


def test_a_machine_that_was_renamed_in_this_boot_is_no_twin_of_itself():
    async def story(_loop):
        server, boots = MemoryServer(), Boots()
        await presence(server, boots).show(replace(IDLE, hostname="old-name"))
        renamed = presence(server, boots)
        await renamed.show(IDLE)
        assert not renamed.clone
        assert shown(server).hostname == "n1"

    run(story)


def test_what_a_machine_has_seen_of_the_store_is_on_disk_once_it_has_shown_itself(tmp_path):
    """A power cut may follow at any time: a store restored meanwhile must be noticed by the next start."""

    def mark() -> SeenRevision:
        return SeenRevision(Paths(tmp_path), 3, ["http://etcd"])

    async def story(_loop):
        server, seen = MemoryServer(), mark()
        for number in range(20):
            await MemoryStore(server).create(f"elsewhere/{number}", b"")
        await Presence(remembered(server, seen), "web", "m1", Boots(), mark=seen).show(IDLE)

    run(story)
    restarted = mark()
    restarted.answered(Position(19), restarted.sending())
    assert "its revision is 19" in restarted.verdict


def test_a_machine_that_ends_lets_go_of_its_store():
    closed: list[bool] = []

    class Closing(MemoryStore):
        async def close(self) -> None:
            closed.append(True)

    run(lambda _loop: Presence(Closing(MemoryServer()), "web", "m1").close())
    assert closed == [True]
