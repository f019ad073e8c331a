"""Whose record stands in the store: this machine's own, also where its memory is lost; what it keeps of the store."""

from dataclasses import replace

import pytest

from locksmith import keys, node
from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.host.seen_revision import SeenRevision
from locksmith.kv.memory import MemoryServer, MemoryStore
from locksmith.presence import Presence
from tests.sim.virtual_time import run
from tests.unit.test_presence import IDLE, Boots


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
        assert not forgetful.twin
        assert not shown(server).twin

    run(story)


def test_a_copy_that_goes_on_in_the_same_boot_is_told_by_its_name():
    """A virtual machine copied with its memory has the same boot id; what it has shown nobody here remembers."""

    async def story(_loop):
        server = MemoryServer()
        await presence(server, Boots()).show(replace(IDLE, hostname="copy"))
        restarted = presence(server, Boots())
        await restarted.show(IDLE)
        assert restarted.twin == "copy (boot boot-1)"

    run(story)


def test_a_machine_that_was_renamed_in_this_boot_is_no_twin_of_itself():
    async def story(_loop):
        server, boots = MemoryServer(), Boots()
        await presence(server, boots).show(replace(IDLE, hostname="old-name"))
        renamed = presence(server, boots)
        await renamed.show(IDLE)
        assert not renamed.twin
        assert shown(server).hostname == "n1"

    run(story)


def test_what_a_machine_has_seen_of_the_store_is_on_disk_once_it_has_shown_itself(tmp_path):
    """A power cut may follow at any time: a store restored meanwhile must be noticed by the next start."""

    def mark() -> SeenRevision:
        return SeenRevision(Paths(tmp_path), 3, ["http://etcd"])

    async def story(_loop):
        server = MemoryServer()
        for number in range(20):
            await MemoryStore(server).create(f"elsewhere/{number}", b"")
        await presence(server, Boots(), mark()).show(IDLE)

    run(story)
    assert mark().went_back(19, None)


def test_a_mark_that_cannot_be_written_is_an_error_that_the_loop_shows(tmp_path):
    (tmp_path / "var").write_text("no directory")

    async def story(_loop):
        mark = SeenRevision(Paths(tmp_path), 3, ["http://etcd"])
        with pytest.raises(HostError, match=r"seen\.json"):
            await presence(MemoryServer(), Boots(), mark).show(IDLE)

    run(story)


def test_the_mark_is_of_one_store_and_is_written_only_when_it_has_moved(tmp_path):
    mark = SeenRevision(Paths(tmp_path), 3, ["http://b", "http://a"])
    assert mark.is_of(3, ["http://a", "http://b"])
    assert not mark.is_of(2, ["http://a", "http://b"])
    assert not mark.is_of(3, ["http://a"])
    mark.seen(5)
    mark.keep()
    mark.path.write_text("{}")
    mark.keep()
    assert mark.path.read_text() == "{}"
    mark.seen(6)
    mark.keep()
    assert not SeenRevision(Paths(tmp_path), 3, ["http://a", "http://b"]).went_back(6, None)
    assert SeenRevision(Paths(tmp_path), 3, ["http://a", "http://b"]).went_back(5, None)


def test_a_machine_that_ends_lets_go_of_its_store():
    closed: list[bool] = []

    class Closing(MemoryStore):
        async def close(self) -> None:
            closed.append(True)

    run(lambda _loop: Presence(Closing(MemoryServer()), "web", "m1").close())
    assert closed == [True]
