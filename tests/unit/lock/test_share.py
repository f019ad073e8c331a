"""A share of the group: what it makes of the machines present, and who may change `max` beside it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import CorruptValueError, OutcomeUnknownError, StoreRefusedError
from locksmith.lock.admin import LockAdmin
from locksmith.lock.errors import SlotsBusyError
from locksmith.lock.reboot_lock import RebootLock
from locksmith.lock.records import keys, semaphore, share
from locksmith.lock.records.claim import REBOOT, Claim
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.share import Share
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.harness.fault_script import ANSWER_LOST, ARRIVES, DROPPED, LATE, FaultScript, StepwiseStore

KEY = keys.semaphore_key("")
SHARE = keys.share_key("")


@pytest.mark.parametrize(
    ("percent", "machines", "slots"),
    [
        ("10%", 0, 1),
        ("10%", 9, 1),
        ("10%", 19, 1),
        ("10%", 20, 2),
        ("10%", 10_000, 1000),
        ("2.5%", 40, 1),
        ("2.5%", 80, 2),
        ("0.1%", 3000, 3),
        ("100%", 7, 7),
    ],
)
def test_a_share_is_rounded_down_and_at_least_one(percent, machines, slots):
    assert Share(share.parse(percent), ()).of(machines) == slots


@pytest.mark.parametrize("text", ["0%", "0.0%", "101%", "-5%", "%", "5", "1e1%", "5 %", "1.2345%", "٣%"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="a share is more than 0%"):
        share.parse(text)


@given(st.binary(max_size=60) | st.dictionaries(st.text(max_size=9), st.integers()).map(lambda d: str(d).encode()))
def test_rubbish_is_a_corrupt_value_and_no_traceback(raw):
    with pytest.raises(CorruptValueError, match="set-max"):
        share.decode(raw, SHARE)


def test_a_record_reads_back_and_keeps_what_a_later_version_added():
    found = share.decode(b'{"schema":2,"percent":"10%","wrote":[1,4],"floor":2}', SHARE)
    assert (found.percent, found.wrote, found.extra) == ("10%", (1, 4), {"floor": 2})
    assert b'"floor":2' in share.encode(found)


def claim(name):
    return Claim(name, REBOOT, f"of {name}", datetime(2026, 5, 1, tzinfo=UTC), hostname=name)


class Group:
    """A group's lock on one server, and its machines."""

    def __init__(self, *fates, stepwise=False):
        self.server = MemoryServer()
        self.script = FaultScript([*fates])
        self.store = (StepwiseStore if stepwise else MemoryStore)(self.server, self.script)
        self.lock = RebootLock(self.store, "", limit=5)
        self.admin = LockAdmin(self.lock.guarded)
        self.hasty = RebootLock(self.store, "", limit=0)
        self.calm = RebootLock(MemoryStore(self.server), "")

    def present(self, *numbers):
        for number in numbers:
            self.server.put(keys.node_key("", f"n{number}"), b"", 0)

    async def gone(self, *numbers):
        for number in numbers:
            key = keys.node_key("", f"n{number}")
            await self.store.delete(key, self.server.read(key).version)

    def by_hand(self, slots):
        """Set the number as a node of the original would."""
        self.server.put(KEY, semaphore.encode(Semaphore(slots)), self.server.read(KEY).version)

    @property
    def semaphore(self):
        entry = self.server.read(KEY).entry
        return semaphore.decode(entry.value, KEY) if entry else Semaphore()

    @property
    def share(self):
        entry = self.server.read(SHARE).entry
        return entry and share.decode(entry.value, SHARE)


both_manners = pytest.mark.parametrize("stepwise", [False, True], ids=["transactions", "stepwise"])


@both_manners
async def test_whoever_takes_the_lock_counts_the_machines_anew(stepwise):
    group = Group(stepwise=stepwise)
    group.present(*range(20))
    assert await group.admin.set_share("10%") == (1, 2)
    assert group.semaphore == Semaphore(2)
    group.present(*range(20, 45))
    await group.lock.take(claim("n1"))
    assert group.semaphore == Semaphore(4, ("n1",))
    assert not group.share.is_void(4)
    await group.gone(*range(10, 45))
    with pytest.raises(SlotsBusyError, match="max is 1") as denied:
        await group.lock.take(claim("n2"))
    assert group.semaphore == Semaphore(1, ("n1",)), "a node of the original gets no slot either"
    assert denied.value.revision == group.server.revision, "what is waited for is another's write"
    await group.lock.release(claim("n1"))
    await group.lock.take(claim("n2"))
    assert group.semaphore == Semaphore(1, ("n2",))


@both_manners
async def test_a_fleet_that_grows_while_all_slots_are_held_gets_another(stepwise):
    group = Group(stepwise=stepwise)
    group.present(*range(10))
    await group.admin.set_share("10%")
    await group.lock.take(claim("n1"))
    group.present(*range(10, 20))
    await group.lock.take(claim("n2"))
    assert group.semaphore == Semaphore(2, ("n1", "n2"))


async def test_a_number_that_changes_beside_a_free_slot_goes_with_the_take():
    group = Group()
    group.present(*range(20))
    await group.admin.set_share("10%")
    await group.lock.take(claim("n1"))
    group.present(*range(20, 30))
    group.script.calls.clear()
    await group.lock.take(claim("n2"))
    assert (group.semaphore, group.script.calls.count("swap")) == (Semaphore(3, ("n1", "n2")), 1)


async def test_a_number_that_is_written_at_once_takes_one_write_and_the_take_another():
    group = Group()
    group.present(*range(10))
    await group.admin.set_share("10%")
    await group.lock.take(claim("n1"))
    group.present(*range(10, 20))
    group.script.calls.clear()
    await group.lock.take(claim("n2"))
    assert (group.semaphore, group.script.calls.count("swap")) == (Semaphore(2, ("n1", "n2")), 2)


async def test_a_share_whose_number_has_landed_is_not_written_again():
    group = Group()
    group.present(*range(20))
    await group.admin.set_share("10%")
    await group.lock.take(claim("n1"))
    before = group.server.read(SHARE).version
    await group.lock.take(claim("n2"))
    assert group.server.read(SHARE).version == before


async def test_no_number_is_written_where_the_other_keyspace_is_in_use():
    async def in_use():
        raise StoreRefusedError("the v2 keyspace is in use")

    group = Group()
    group.present(*range(10))
    await group.admin.set_share("10%")
    await group.lock.take(claim("n1"))
    group.present(*range(10, 20))
    with pytest.raises(StoreRefusedError, match="in use"):
        await RebootLock(group.store, "", limit=5, guard=in_use).take(claim("n2"))
    assert group.semaphore == Semaphore(1, ("n1",))


@both_manners
async def test_a_take_that_was_lost_before_the_fleet_shrank_does_not_win_after_the_denial(stepwise):
    group = Group(stepwise=stepwise)
    group.present(*range(20))
    await group.admin.set_share("10%")
    await group.lock.take(claim("n1"))
    group.script.fates = [ARRIVES, LATE] if stepwise else [LATE]
    with pytest.raises(OutcomeUnknownError):
        await group.hasty.take(claim("n2"))
    await group.gone(*range(10, 20))
    group.script.fates.clear()
    with pytest.raises(SlotsBusyError, match="max is 1"):
        await group.lock.take(claim("n2"))
    assert group.script.arrive_late() == ["too late"]
    assert group.semaphore == Semaphore(1, ("n1",))


async def test_on_v2_two_who_count_differently_do_not_void_the_share():
    """The first has written the share, its semaphore is on its way; it comes after the second has written the share."""

    group = Group(stepwise=True)
    group.present(*range(20))
    await group.admin.set_share("10%")
    group.present(*range(20, 40))
    group.script.fates = [ARRIVES, ARRIVES, LATE]
    with pytest.raises(OutcomeUnknownError):
        await group.hasty.take(claim("n1"))
    assert group.share.wrote == (2, 4)
    group.present(*range(40, 60))

    async def first_arrives():
        group.script.arrive_late()

    group.script.fates, group.script.meanwhile = [ARRIVES, ANSWER_LOST], first_arrives
    await group.lock.take(claim("n2"))
    assert group.semaphore.max == 6
    assert not group.share.is_void(6)


@both_manners
async def test_the_number_before_set_again_by_hand_stays_once_a_take_has_seen_the_new_one(stepwise):
    group = Group(stepwise=stepwise)
    group.present(*range(30))
    await group.admin.set_share("10%")
    assert group.share.wrote == (1, 3)
    await group.lock.take(claim("n1"))
    assert group.share.wrote == (3,)
    group.by_hand(1)
    assert group.share.is_void(1)
    await group.lock.take(claim("n2"))
    assert group.semaphore.max == 1


@both_manners
async def test_a_number_set_by_hand_voids_the_share_and_stays(stepwise):
    group = Group(stepwise=stepwise)
    group.present(*range(20))
    await group.admin.set_share("10%")
    group.by_hand(7)
    assert group.share.is_void(7)
    await group.lock.take(claim("n1"))
    assert group.semaphore.max == 7


def test_no_share_raises_a_max_of_zero_even_if_it_says_that_it_wrote_it():
    assert Share("10%", (0, 2)).is_void(0)
    assert Share("10%", (-1,)).is_void(-1)


async def test_nobody_is_let_through_where_the_original_has_stopped_all():
    group = Group()
    group.by_hand(0)
    group.present(*range(20))
    await group.admin.set_share("10%")
    assert group.share.wrote == (2,)
    group.by_hand(0)
    with pytest.raises(SlotsBusyError, match="max is 0"):
        await group.lock.take(claim("n1"))


@both_manners
@pytest.mark.parametrize("number", [2, 5])
async def test_a_plain_number_ends_the_share(stepwise, number):
    group = Group(stepwise=stepwise)
    group.present(*range(20))
    await group.admin.set_share("10%")
    assert await group.admin.set_max(number) == 2
    assert group.share is None
    await group.lock.take(claim("n1"))
    assert group.semaphore.max == number


@both_manners
@pytest.mark.parametrize("fate", [ARRIVES, ANSWER_LOST])
async def test_a_plain_number_that_stands_already_is_not_undone_by_a_take_on_its_way(fate, stepwise):
    """Its share is written, and goes with the share that ends; its semaphore comes afterwards."""

    group = Group(stepwise=stepwise)
    group.present(*range(20))
    await group.admin.set_share("10%")
    group.present(*range(20, 40))
    group.script.fates = [ARRIVES, ARRIVES, LATE] if stepwise else [LATE]
    with pytest.raises(OutcomeUnknownError):
        await group.hasty.take(claim("n1"))
    group.script.fates = [fate]
    assert await group.admin.set_max(2) == 2
    assert group.script.arrive_late() == ["too late"]
    assert group.semaphore == Semaphore(2)


@pytest.mark.parametrize("fate", [ANSWER_LOST, DROPPED])
@both_manners
async def test_a_share_whose_answers_are_lost_is_set_all_the_same(fate, stepwise):
    group = Group(fate, fate, stepwise=stepwise)
    group.present(*range(30))
    assert await group.admin.set_share("10%") == (1, 3)
    assert group.semaphore == Semaphore(3)
    assert not group.share.is_void(3)


async def test_on_v2_a_share_that_was_written_before_a_lost_race_is_still_good():
    """There the share is written before the semaphore: it knows both numbers."""

    group = Group(stepwise=True)
    group.present(*range(20))
    await group.admin.set_share("10%")
    group.present(*range(20, 40))
    overtaken = iter([True])

    async def guard():
        if next(overtaken, False):
            group.by_hand(2)

    await RebootLock(group.store, "", guard=guard).take(claim("n1"))
    assert group.semaphore == Semaphore(4, ("n1",))
    assert not group.share.is_void(4)


async def test_a_share_that_cannot_be_read_changes_nothing_and_stops_nobody():
    group = Group()
    group.server.put(SHARE, b"rubbish", 0)
    await group.lock.take(claim("n1"))
    assert group.semaphore == Semaphore(1, ("n1",))
    await group.admin.set_max(3)
    assert group.share is None


def test_a_number_has_landed_when_it_stands_and_another_is_allowed_beside_it():
    changing = Share("10%", (1, 4))
    assert changing.has_landed(4)
    assert not changing.has_landed(1)
    assert not Share("10%", (4,)).has_landed(4)
    assert changing.landed() == Share("10%", (4,))
    assert Share("10%", (1, 2, 4)).landed() == Share("10%", (4,))


def test_a_record_is_what_other_versions_read():
    assert share.encode(Share("10%", (1, 4))) == b'{"schema":1,"percent":"10%","wrote":[1,4]}'


def test_a_share_that_is_none_is_corrupt_and_the_field_is_named():
    with pytest.raises(CorruptValueError, match="'percent'"):
        share.decode(b'{"schema":1,"percent":"a few","wrote":[1]}', SHARE)


@pytest.mark.parametrize("wrote", ["[true]", '["1"]', "[1.5]", "[1,null]"])
def test_a_share_that_wrote_no_whole_numbers_is_corrupt(wrote):
    with pytest.raises(CorruptValueError, match="must be a list of whole numbers"):
        share.decode(f'{{"schema":1,"percent":"10%","wrote":{wrote}}}'.encode(), SHARE)
