"""The holders of slots: how they are read, and which of them are lost."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from locksmith.lock.admission_readings import Others
from locksmith.lock.chunks import READS
from locksmith.lock.claim_reader import read_holders
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMITTED, DAEMON, FLEETLOCK, MANUAL, REBOOT, SERVER
from locksmith.lock.records.node import TTL, Node
from locksmith.lock.records.went_wrong import incidents
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import Entry
from tests.builders.claims import NOW, claim
from tests.builders.groups import scene


@pytest.mark.parametrize(
    ("slots", "calls"),
    [(0, []), (1, ["read"]), (READS // 2, ["read"]), (READS // 2 + 1, ["list", "read"])],
)
async def test_as_many_as_fit_into_one_request_are_read_so(slots, calls):
    asked: list[str] = []

    class Faults:
        async def carry(self, call):
            asked.append(call.name)
            return call.apply()

    server = MemoryServer()
    ids = [f"n{number}" for number in range(slots)]
    for one in ids:
        server.put(keys.holder_key("", one), claim_record.encode(claim(one)), 0)
    found = await read_holders(MemoryStore(server, Faults()), "", ids, 0, lambda _id, _entry: False)
    assert list(found.claims) == ids
    assert asked == calls


OLD = replace(claim("n1"), since=NOW - timedelta(hours=2))


@pytest.mark.parametrize(
    ("holder", "seen", "present", "expires"),
    [
        (claim("n1"), 3601, False, True),
        (claim("n1"), 3600, False, False),
        (OLD, 3601, False, True),
        (OLD, 3601, True, False),
        (replace(OLD, kind=MANUAL), 3601, False, False),
        (replace(OLD, who="alice"), 3601, False, False),
        (replace(OLD, kind=FLEETLOCK, who=SERVER), 3601, False, True),
        (replace(OLD, kind=FLEETLOCK, who=SERVER), 3601, True, False),
        # Whatever the clocks say that have written it and that read it.
        (replace(OLD, kind=FLEETLOCK, who=SERVER), 60, False, False),
        (replace(OLD, kind=FLEETLOCK, who=SERVER, taken=NOW + timedelta(days=1)), 3601, False, True),
    ],
)
def test_a_slot_expires_only_if_its_machine_is_seen_to_be_gone_for_so_long(holder, seen, present, expires):
    async def story(group):
        record = Entry(keys.holder_key("", "n1"), claim_record.encode(holder), 7, 7)
        others = Others((holder,), {"n1": None} if present else {}, records={"n1": record})
        assert group.lock()._admission.expired(others) is None
        await asyncio.sleep(seen)
        assert group.lock()._admission.expired(others) == (holder if expires else None)
        written = replace(others, records={"n1": replace(record, version=8)})
        assert group.lock()._admission.expired(written) is None

    scene(story, expire_after=3600.0)


@pytest.mark.parametrize(("seconds", "lost"), [(TTL - 1, False), (TTL, True)])
def test_a_machine_that_was_never_present_with_its_slot_is_lost_in_the_end(seconds, lost):
    held = claim("n1", taken=NOW - timedelta(seconds=seconds))
    assert bool(incidents([held], {}, (), NOW)) is lost


def test_a_client_that_may_have_gone_down_and_is_not_present_any_more_is_lost():
    held = claim("n1", kind=FLEETLOCK, who=SERVER, taken=NOW)
    assert incidents([held], {}, (), NOW) == []
    went = replace(held, state=COMMITTED)
    [found] = incidents([went], {}, (), NOW)
    assert found.describe() == "n1 is lost: it has not come back"
    assert incidents([went], {"n1": None}, (), NOW) == []


def test_a_client_has_no_journal_so_it_never_is_an_orphan():
    went = claim("n1", kind=FLEETLOCK, who=SERVER, state=COMMITTED, boot_id="before")
    other = Node("n1", "n1", "after", "", "etcd-lock", "idle", NOW, claim="")
    assert incidents([went], {"n1": other}, (), NOW) == []
    assert [one.how for one in incidents([replace(went, kind=REBOOT, who=DAEMON)], {"n1": other}, (), NOW)]


async def test_of_many_holders_the_presence_of_machines_that_reboot_is_asked_for():
    server = MemoryServer()
    ids = [f"n{number}" for number in range(READS)]
    claims = {one: claim(one) for one in ids}
    claims["n0"] = replace(claims["n0"], kind=MANUAL)
    claims["n1"] = replace(claims["n1"], who="alice")
    for one in ids:
        server.put(keys.holder_key("", one), claim_record.encode(claims[one]), 0)
        server.put(keys.node_key("", one), b"{}", 0)
    found = await read_holders(MemoryStore(server), "", ids, 0, lambda _id, _entry: False)
    assert found.claims == claims
    assert list(found.present) == ids[1:]
