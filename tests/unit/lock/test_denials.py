"""What a machine that waits in the queue is told of its place; and what a preparation guards, and for how long."""

import asyncio

import pytest

from locksmith.errors import CorruptValueError, StoreFullError, StoreUnavailableError
from locksmith.lock.admission_readings import Others
from locksmith.lock.answer import QueuePosition
from locksmith.lock.denials import binds_every_machine, queued
from locksmith.lock.holder import HolderState
from locksmith.lock.prepared import LASTS, OWN_KEYS, Prepared, PreparedBusyError, TakeReadings
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMAND, COMMITTED, FLEETLOCK, MANUAL
from locksmith.lock.records.semaphore import Semaphore
from locksmith.store.protocol import ABSENT, MOST_OPERATIONS, Check, Entry, Reading
from tests.builders.claims import claim


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (QueuePosition(1, 1), "number 1 of 1"),
        (QueuePosition(3, 7, "n2"), "number 3 of 7, after n2"),
        (QueuePosition(3, 2000, "n2", counted=False), "number 3 of about 2000, after n2"),
        (QueuePosition(41, 2000, exact=False), "40 or more are before it"),
    ],
)
def test_a_machine_in_the_queue_is_told_its_place_as_far_as_it_is_known(place, says):
    denied = queued(place)
    assert (denied.code, denied.text, denied.queued) == ("queue", f"queued for a slot: {says}", place)


def prepared(read: dict[str, Reading], others: Others = Others(), at: float = 0.0) -> Prepared:  # noqa: B008 - frozen
    looking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    looking.set_result(None)
    return Prepared("", claim("own").nonce, TakeReadings(read, others), 2, looking, at)


async def test_all_that_was_read_is_guarded_at_the_version_that_was_read():
    record = Entry(keys.holder_key("", "n1"), b"", 7, 3)
    others = Others(
        claims=(claim("n1"), claim("n2"), claim("alice", kind="manual")),
        present={"n1": None},
        records={"n1": record, "n2": None},
    )
    read = {"freeze": Reading(None, 9), "written": Reading(record, 9), "resume": Reading(record, 9)}
    assert prepared(read, others).checks({"written"}, others) == [
        Check("freeze", ABSENT),
        Check("resume", 7),
        Check(keys.holder_key("", "n1"), 7),
        Check(keys.holder_key("", "n2"), ABSENT),
        Check(keys.node_key("", "n1"), None),
        Check(keys.node_key("", "n2"), ABSENT),
    ]


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
async def test_no_more_is_guarded_than_one_request_can_check(more, fits):
    read = {f"key{one}": Reading(None, 9) for one in range(MOST_OPERATIONS - OWN_KEYS + more)}
    assert (prepared(read).checks((), Others()) is not None) == fits


@pytest.mark.parametrize(
    ("who", "slots", "later", "suits"),
    [("own", 2, LASTS - 1, True), ("own", 2, LASTS, False), ("own", 3, 1, False), ("other", 2, 1, False)],
)
async def test_a_preparation_is_of_one_claim_and_number_of_slots_and_for_a_minute(who, slots, later, suits):
    assert prepared({}, at=1000.0).suits(claim(who), Semaphore(slots), 1000.0 + later) == suits


async def test_a_preparation_whose_other_check_has_not_ended_well_does_not_suit():
    one = prepared({})
    for end in ("pending", "cancelled", "failed"):
        looking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if end == "cancelled":
            looking.cancel()
        elif end == "failed":
            looking.set_exception(ValueError())
        assert not Prepared("", one.nonce, one.readings, 2, looking, 0.0).suits(claim("own"), Semaphore(2), 1.0)
        if end == "failed":
            looking.exception()


UNLOCK, FORCE = "`locksmithctl unlock n1`", "`locksmithctl unlock --force n1`"


@pytest.mark.parametrize(
    ("more", "way_out"),
    [
        ({}, f"; if its machine has forgotten that claim, {UNLOCK} releases it"),
        ({"state": COMMITTED}, f"; if its machine has forgotten that claim, {FORCE} releases it"),
        ({"kind": COMMAND}, f"; if its machine has forgotten that claim, {FORCE} releases it"),
        ({"kind": FLEETLOCK}, f"; if its machine does not come back, {UNLOCK} releases it"),
        ({"kind": MANUAL}, ""),
    ],
)
def test_of_each_holder_the_way_out_is_named_that_works_for_it(more, way_out):
    one = claim("n1", **more)
    reading = Reading(Entry("lock", b"", 7, 1), 7)
    held = HolderState("n1", Semaphore(1, ("n1",)), reading, Entry("record", b"", 7, 1), one)
    assert held.describe() == f"n1 is {one.describe()}{way_out}"


@pytest.mark.parametrize(
    ("error", "binds"),
    [
        (CorruptValueError(keys.holder_key("", "own"), "rubbish"), False),
        (CorruptValueError(keys.holder_key("", "other"), "rubbish"), True),
        (CorruptValueError(keys.semaphore_key(""), "rubbish"), True),
        (StoreFullError("its database is full"), True),
        (StoreUnavailableError("no endpoint answers"), False),
    ],
)
def test_a_failure_that_every_machine_would_meet_is_told_from_the_own_one(error, binds):
    assert binds_every_machine(error, claim("own")) == binds


async def test_a_denial_for_want_of_a_slot_passes_on_what_it_has_read():
    one = prepared({})
    error = PreparedBusyError("every slot is held", 7, one)
    assert (str(error), error.revision, error.prepared) == ("every slot is held", 7, one)
