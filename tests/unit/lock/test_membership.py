"""What a group remembers of its machines, what that costs, and how a machine that is gone is noticed."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import CorruptValueError, HostError, StoreUnavailableError
from locksmith.fleet.reader import read_group
from locksmith.lock.absence import LISTED, note_absent, tidy
from locksmith.lock.membership import HOLD_OFF, OBSERVE_AFTER, Membership, forget
from locksmith.lock.presence import Presence
from locksmith.lock.records import keys, member, node
from locksmith.lock.records.member import KEPT, KEPT_STOPPED, MOST, NOT_SEEN, STOPPED, Member
from locksmith.lock.records.node import TTL
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.builders.nodes import IDLE, NOW, WAITING, Boots
from tests.sim.virtual_time import run

TODAY = datetime.now(UTC).replace(microsecond=0)
NEEDING = replace(WAITING, need="engine", need_version="4081.2.0", need_since=NOW)


class Disk:
    """Remembers the group of a machine."""

    def __init__(self, group: str | None = None, *, broken: bool = False) -> None:
        self.group = group
        self.broken = broken

    def read(self) -> str | None:
        if self.broken:
            raise HostError("the disk is broken")
        return self.group

    def write(self, group: str) -> None:
        self.group = group


class World:
    """A group at a store in memory, with what is asked of that."""

    def __init__(self, group: str = "web") -> None:
        self.server = MemoryServer()
        self.group = group
        self.calls: list[str] = []
        self.down = False

    async def carry(self, call):
        await asyncio.sleep(0)
        self.calls.append(call.name)
        if self.down:
            raise StoreUnavailableError("no endpoint answers")
        return call.apply()

    def store(self) -> MemoryStore:
        return MemoryStore(self.server, self)

    def machine(self, disk: Disk | None = None, group: str = "web") -> tuple[Presence, Membership]:
        presence = Presence(self.store(), group, "m1", Boots())
        return presence, Membership(self.store(), group, "m1", presence, disk or Disk("web"), clock=lambda: TODAY)

    def member(self, prefix=keys.member_key, name: str = "m1", group: str = "web") -> Member | None:
        entry = self.server.read(prefix(group, name)).entry
        return member.decode(entry.value, entry.key, name) if entry else None

    def absent(self, name: str = "m1") -> Member | None:
        return self.member(keys.absent_key, name)

    async def remember(self, name: str, *, present: bool) -> None:
        known = Member(name, f"host-{name}", NOW - timedelta(days=1), "a kernel")
        await self.store().create(keys.member_key("web", name), member.encode(known))
        if present:
            await self.store().create(keys.node_key("web", name), node.encode(replace(IDLE, machine_id=name)), ttl=9e9)


def play(story):
    async def scene(_loop):
        await story(World())

    run(scene)


async def shows(presence, membership, shown):
    await presence.show(shown)
    await membership.follow()
    await asyncio.sleep(30)


@pytest.mark.slow
def test_a_machine_is_remembered_by_its_need_and_at_rest_it_writes_nothing():
    async def story(world):
        presence, membership = world.machine()
        await shows(presence, membership, IDLE)
        assert world.member() == Member("m1", "n1", TODAY)
        assert world.calls[2:] == ["read", "swap"]
        world.calls.clear()
        for _ in range(2000):
            await shows(presence, membership, IDLE)
        assert set(world.calls) == {"renew"}
        world.calls.clear()
        await shows(presence, membership, NEEDING)
        assert world.calls == ["update", "swap"]
        assert world.member() == Member("m1", "n1", TODAY, "engine 4081.2.0", NOW)
        await shows(presence, membership, replace(NEEDING, reason="another reason"))
        await shows(presence, membership, IDLE)
        assert world.calls == ["update", "swap", "update", "update", "swap"]

    play(story)


def test_a_machine_that_leaves_is_absent_at_once_and_present_when_it_is_back():
    async def story(world):
        presence, membership = world.machine()
        await shows(presence, membership, NEEDING)
        await presence.leave()
        await membership.leave()
        assert (world.member(), presence.written) == (None, None)
        assert world.absent() == Member("m1", "n1", TODAY, "engine 4081.2.0", NOW, TODAY, STOPPED)
        [shown] = (await read_group(world.store(), "web")).absent.values()
        assert shown == world.absent()
        presence, membership = world.machine()
        await shows(presence, membership, IDLE)
        assert world.absent() is None
        view = await read_group(world.store(), "web")
        assert (list(view.machines), view.absent) == (["m1"], {})

    play(story)


def test_a_machine_that_was_never_shown_leaves_nothing():
    async def story(world):
        presence, membership = world.machine()
        await membership.follow()
        await presence.leave()
        await membership.leave()
        assert world.calls == []

    play(story)


def test_a_machine_that_is_cut_off_is_noted_by_another_and_comes_back():
    async def story(world):
        presence, membership = world.machine()
        await shows(presence, membership, NEEDING)
        assert await note_absent(world.store(), "web", NOW) == 0
        await asyncio.sleep(TTL + 60)
        [unnoted] = (await read_group(world.store(), "web")).absent.values()
        assert unnoted.gone is None
        assert await note_absent(world.store(), "web", TODAY + timedelta(hours=1)) == 1
        since = TODAY + timedelta(hours=1, seconds=-TTL)
        assert world.absent() == Member("m1", "n1", TODAY, "engine 4081.2.0", NOW, since, NOT_SEEN)
        assert world.member() is None
        await shows(presence, membership, NEEDING)
        assert world.absent() is None
        assert world.member() is not None

    play(story)


@pytest.mark.parametrize("number", [1, LISTED, 3 * LISTED])
def test_those_that_are_gone_are_found_in_few_requests(number):
    async def story(world):
        names = [f"{number * 7919:08x}"[::-1] + "0" * 24 for number in range(number)]
        odd = ["rack-1", "Z"]
        for name in [*names, *odd]:
            await world.remember(name, present=name not in {names[0], "Z"})
        world.calls.clear()
        assert await note_absent(world.store(), "web", NOW) == 2
        assert len(world.calls) < 120
        assert {world.absent(name) is not None for name in (names[0], "Z")} == {True}
        assert world.absent("rack-1") is None
        world.calls.clear()
        assert await note_absent(world.store(), "web", NOW) == 0
        assert world.calls == ["range", "range"]

    play(story)


def test_one_that_is_back_meanwhile_is_not_noted_as_gone():
    async def story(world):
        presence, membership = world.machine()
        await shows(presence, membership, IDLE)
        await asyncio.sleep(TTL + 60)
        ends = asyncio.ensure_future(note_absent(world.store(), "web", NOW))
        for _ in range(5):
            await asyncio.sleep(0)
        await presence.show(NEEDING)
        await membership.follow()
        await ends
        assert world.member() is not None or world.absent() is not None
        view = await read_group(world.store(), "web")
        assert (list(view.machines), view.absent) == (["m1"], {})

    play(story)


def test_who_looks_is_drawn_by_lot():
    async def story(world):
        _, membership = world.machine()
        for _ in range(300):
            await membership.observe(1000)
            await asyncio.sleep(OBSERVE_AFTER)
        assert world.calls.count("range") < 30
        world.calls.clear()
        await membership.observe(0)
        assert world.calls == []
        await membership.observe(1)
        assert world.calls[:2] == ["range", "range"]
        world.calls.clear()
        await membership.observe(1)
        assert world.calls == []

    play(story)


def test_a_store_that_is_away_is_asked_again_later():
    async def story(world):
        presence, membership = world.machine()
        await presence.show(IDLE)
        world.down = True
        await membership.follow()
        await membership.follow()
        await membership.observe(1)
        assert world.calls[2:] == ["read", "range"]
        world.down = False
        await asyncio.sleep(HOLD_OFF + 1)
        await membership.follow()
        assert world.member() is not None

    play(story)


def test_a_machine_in_a_new_group_is_forgotten_by_the_old_one():
    async def story(world):
        presence, membership = world.machine(Disk())
        await shows(presence, membership, replace(IDLE, claim=""))
        disk = Disk("web")
        moved, into = world.machine(disk, "db")
        await shows(moved, into, replace(IDLE, claim=""))
        assert disk.group == "db"
        assert world.member() is None
        assert world.server.read(keys.node_key("web", "m1")).entry is None
        assert world.member(group="db") is not None

    play(story)


@pytest.mark.parametrize("change", [{"claim": "nonce"}, {"hostname": "other"}, {"hardware": "other"}, {"claim": None}])
def test_what_may_hold_a_slot_in_the_old_group_or_is_anothers_stays_present(change):
    async def story(world):
        presence, _ = world.machine()
        await presence.show(replace(IDLE, claim="", **change) if "claim" not in change else replace(IDLE, **change))
        moved, into = world.machine(Disk("web"), "db")
        await shows(moved, into, replace(IDLE, claim=""))
        assert world.server.read(keys.node_key("web", "m1")).entry is not None
        assert world.member(group="db") is not None

    play(story)


def test_a_broken_disk_keeps_a_machine_from_being_remembered_and_nothing_more():
    async def story(world):
        presence, membership = world.machine(Disk(broken=True))
        await shows(presence, membership, IDLE)
        assert (world.member(), presence.written is not None) == (None, True)

    play(story)


def test_what_is_old_or_too_much_is_forgotten():
    async def story(world):
        ages = {
            "old": (NOT_SEEN, "", KEPT),
            "needing": (STOPPED, "a kernel", KEPT_STOPPED * 2),
            "stopped": (STOPPED, "", KEPT_STOPPED),
            "young": (NOT_SEEN, "", KEPT_STOPPED * 2),
        }
        for name, (how, need, age) in ages.items():
            gone = NOW - age - timedelta(seconds=1)
            known = Member(name, name, gone, need, None, gone, how)
            await world.store().create(keys.absent_key("web", name), member.encode(known))
        await tidy(world.store(), "web", NOW)
        assert {name for name in ages if world.absent(name)} == {"needing", "young"}

    play(story)


@pytest.mark.slow
def test_the_oldest_of_very_many_are_forgotten():
    async def story(world):
        for number in range(MOST + 3):
            known = Member(f"{number}", "", NOW, gone=NOW + timedelta(seconds=number), how=NOT_SEEN)
            await world.store().create(keys.absent_key("web", f"{number}"), member.encode(known))
        await tidy(world.store(), "web", NOW)
        assert [world.absent(f"{number}") is not None for number in range(4)] == [False, False, False, True]

    play(story)


def test_forget_removes_both_records_and_says_whether_there_was_any():
    async def story(world):
        assert not await forget(world.store(), "web", "m1")
        await world.remember("m1", present=False)
        assert await forget(world.store(), "web", "m1")
        assert (world.member(), world.absent()) == (None, None)

    play(story)


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - aware by the next line
    lambda moment: moment.replace(microsecond=0, tzinfo=NOW.tzinfo)
)
members = st.builds(
    Member,
    st.just("m1"),
    st.text(max_size=12),
    moments,
    st.text(max_size=12),
    st.none() | moments,
    moments,
    st.sampled_from([STOPPED, NOT_SEEN]),
    st.dictionaries(st.sampled_from(["later", "x"]), st.integers(0, 9)),
)


@given(members)
def test_a_record_reads_back_as_the_same(found):
    assert member.decode(member.encode(found), "key", "m1") == found


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"hostname": 1, "seen": "x"}', b'{"hostname": "n1", "seen": "x"}']
)
def test_a_record_that_cannot_be_read_names_the_way_out(raw):
    with pytest.raises(CorruptValueError, match="`locksmithctl forget m1` removes it"):
        member.decode(raw, "key", "m1")
