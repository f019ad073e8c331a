"""A client by the name of its machine, where the group knows a machine from whose id the client's derives."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.lock.records import keys, member, node
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from locksmith.server.names import FRESH, ClientNames
from locksmith.store.memory import MemoryStore
from locksmith.util.zincati import zincati_id
from tests.builders.desks import play
from tests.builders.one_store import START, G

MACHINE = "1c09ca98649c4c7abc779cd04c96812e"
CLIENT = "978a225b3d7b40e9acd7ce9b62f68444"


def test_the_id_is_zincatis_own():
    assert zincati_id(MACHINE) == CLIENT


@given(st.binary(min_size=16, max_size=16))
def test_each_id_is_a_uuid_of_version_four(raw):
    found = zincati_id(raw.hex())
    assert (len(found), found[12], found[16] in "89ab") == (32, "4", True)


def test_what_is_no_machine_id_has_none():
    with pytest.raises(ValueError, match="hexadecimal"):
        zincati_id("web-1")


def test_the_slot_of_a_client_has_the_name_of_its_machine():
    async def story(fleet):
        shown = Node(MACHINE, "n1.example.com", "boot", G, "off", "finished", START)
        await fleet.store().create(keys.node_key(G, MACHINE), node.encode(shown), ttl=1e6)
        assert await fleet.desk().pre_reboot(G, CLIENT) is None
        assert (await fleet.cycle(CLIENT)).held.hostname == "n1.example.com"
        refusal = await fleet.desk().pre_reboot(G, "c2")
        assert "no slot is free: max is 1, held by n1.example.com since " in refusal.sentence

    play(story)


def test_a_machine_that_is_remembered_has_a_name_and_names_are_read_seldom():
    async def story(fleet):
        asked = []

        class Counting(MemoryStore):
            async def range(self, start, end, *, limit=0, at=0):
                asked.append(start)
                return await super().range(start, end, limit=limit, at=at)

        names = ClientNames(Counting(fleet.server))
        assert await names.of(G, CLIENT) == CLIENT
        gone = Member(MACHINE, "n1", START, gone=START + timedelta(hours=1), how="not seen")
        await fleet.store().create(keys.absent_key(G, MACHINE), member.encode(gone))
        await fleet.store().create(keys.member_key(G, "rack"), b"thunder")
        before = len(asked)
        for _ in range(100):
            assert await names.of(G, CLIENT) == CLIENT
        assert len(asked) == before
        await asyncio.sleep(FRESH + 1)
        assert await names.of(G, CLIENT) == "n1"
        assert await names.of(G, MACHINE) == "n1"
        assert await names.of(G, "web-1") == "web-1"

    play(story)
