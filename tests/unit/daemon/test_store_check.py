"""The look at the store's history of a machine that wants nothing of it: how often, and what else it passes on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from locksmith.daemon.checked_presence import CHECK_AFTER, HOLD_OFF, RESUME_AFTER, CheckedPresence
from locksmith.daemon.store_check import check
from locksmith.errors import HostError, StoreUnavailableError
from locksmith.lock.records import keys, order, states
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import OTHER_CLUSTER, RESTORED, Order
from locksmith.store.memory import MemoryServer, MemoryStore
from tests.sim.virtual_time import run

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
IDLE = Node("n1", "n1", "boot", "", "etcd-lock", states.IDLE, NOW)


class Full(MemoryStore):
    """Counts how often it is read, and refuses that while it is full."""

    def __init__(self) -> None:
        super().__init__(MemoryServer())
        self.reads: list[float] = []
        self.full = False

    async def read(self, keys):
        self.reads.append(asyncio.get_running_loop().time())
        if self.full:
            raise StoreUnavailableError("its database is full")
        return await super().read(keys)


@dataclass
class Mark:
    """What a machine has seen of the store: its verdict, and how often that was written down."""

    verdict: str = ""
    split: str = ""
    kept: int = 0
    broken: bool = False

    clusters = None

    def went_back(self, _resumed) -> str:
        if self.broken:
            raise HostError("the disk is full")
        return self.verdict

    def keep(self) -> None:
        self.kept += 1


def marked(*args, **more) -> Any:
    """Make one, as far as it is asked for here."""
    return Mark(*args, **more)


@dataclass
class Shown:
    """A presence that notes what becomes of it."""

    nodes: list[Node] = field(default_factory=list)
    ends: list[object] = field(default_factory=list)
    clone: str = "the twin"

    async def show(self, now: Node) -> None:
        self.nodes.append(now)

    def listen(self, wake: Callable[[], None]) -> None:
        pass

    async def confirm(self, now: Node, longer: float) -> None:
        self.ends.append((now, longer))

    async def leave(self) -> None:
        self.ends.append("left")

    async def close(self) -> None:
        self.ends.append("closed")


@pytest.mark.parametrize(
    ("verdict", "full", "pause"),
    [("", False, CHECK_AFTER), ("it was restored", False, RESUME_AFTER), ("", True, HOLD_OFF)],
    ids=["believed", "not believed", "full"],
)
def test_how_often_the_store_is_checked(verdict, full, pause):
    async def story(_loop):
        store = Full()
        store.full = full
        presence = CheckedPresence(Shown(), store, "", marked(verdict))
        for _ in range(int(2 * pause) // 10 + 1):
            await presence.show(IDLE)
            await asyncio.sleep(10)
        assert store.reads == [0, pause, 2 * pause]

    run(story)


def test_what_was_seen_is_written_down_with_each_check():
    mark = marked("it was restored")
    assert asyncio.run(check(Full(), "", mark)) == "it was restored"
    assert mark.kept == 1


def test_a_disk_that_is_full_leaves_the_verdict_as_it_is():
    assert asyncio.run(check(Full(), "", marked("it was restored", broken=True))) == "it was restored"


def test_a_store_that_is_not_believed_is_the_reason_to_wait_without_an_end():
    async def story(_loop):
        shown = Shown()
        presence = CheckedPresence(shown, Full(), "", marked("it was restored"))
        waiting = replace(IDLE, state=states.WAITING, code="window", reason="closed", until=NOW)
        await presence.show(waiting)
        await presence.show(replace(waiting, state=states.REBOOTING))
        told, rebooting = shown.nodes
        assert (told.code, told.reason, told.until) == (RESTORED, "it was restored", None)
        assert rebooting.code == "window"

    run(story)


def test_a_presence_that_is_checked_says_its_last_words_as_any_other():
    async def story(_loop):
        shown = Shown()
        presence = CheckedPresence(shown, Full(), "", marked())
        await presence.confirm(IDLE, 60.0)
        await presence.leave()
        await presence.close()
        assert shown.ends == [(IDLE, 60.0), "left", "closed"]
        assert presence.clone == "the twin"

    run(story)


@dataclass
class Members:
    """A membership, or a count of the machines, that notes what it is asked for."""

    calls: list[str] = field(default_factory=list)
    machines: int = 7

    async def follow(self) -> None:
        self.calls.append("follow")

    async def observe(self, machines: int) -> None:
        self.calls.append(f"observe {machines}")

    async def count_in_time(self) -> None:
        self.calls.append("count")

    async def leave(self) -> None:
        self.calls.append("leave")


@pytest.mark.parametrize(
    ("mark", "full", "observed"),
    [(Mark(), False, True), (Mark("it was restored"), False, False), (Mark(), True, False)],
    ids=["believed", "not believed", "full"],
)
def test_what_is_gone_from_a_group_is_observed_only_in_a_store_that_is_believed(mark, full, observed):
    async def story(_loop):
        members: Any = Members()
        store = Full()
        store.full = full
        presence = CheckedPresence(Shown(), store, "", replace(mark), members, membership=members)
        assert presence.machines == 7
        await presence.show(IDLE)
        assert members.calls == ["follow", *(["observe 7"] if observed else []), "count"]
        await presence.leave()
        assert members.calls[-1] == "leave"

    run(story)


def test_a_machine_of_two_clusters_says_so_as_the_reason_to_wait():
    async def story(_loop):
        shown = Shown()
        await CheckedPresence(shown, Full(), "", marked(split="a and b")).show(IDLE)
        [told] = shown.nodes
        assert (told.code, told.reason) == (OTHER_CLUSTER, "a and b")
        assert CheckedPresence(shown, Full(), "", marked()).machines == 0

    run(story)


def test_a_store_that_is_found_to_have_gone_back_is_shown_at_once():
    class Noticing(Mark):
        def went_back(self, _resumed) -> str:
            self.verdict = "it was restored"
            return self.verdict

    async def story(_loop):
        shown, mark = Shown(), cast("Any", Noticing())
        await CheckedPresence(shown, Full(), "", mark).show(IDLE)
        assert [told.code for told in shown.nodes] == ["", RESTORED]

    run(story)


@pytest.mark.parametrize("resumed", [Order("alice", NOW, "seen", nonce="r1"), None], ids=["a resume", "none"])
def test_the_check_says_when_an_operator_has_last_believed_the_store(resumed):
    class Told(Mark):
        said: datetime | str | None = "nothing"

        def went_back(self, resumed) -> str:
            self.said = resumed
            return self.verdict

    async def story(_loop):
        store, mark = MemoryStore(MemoryServer()), Told()
        if resumed is not None:
            await store.create(keys.resume_key(""), order.encode(resumed))
        await check(store, "", cast("Any", mark))
        assert mark.said == (resumed.since if resumed is not None else None)

    run(story)


def test_who_is_to_be_woken_for_news_is_told_to_the_presence_itself():
    class Listening(Shown):
        def listen(self, wake: Callable[[], None]) -> None:
            self.ends.append(wake)

    shown = Listening()
    CheckedPresence(shown, Full(), "", marked()).listen(print)
    assert shown.ends == [print]


async def test_the_check_reads_what_the_figures_of_the_group_need_in_the_same_request():
    class Sight:
        def keys(self) -> list[str]:
            return ["a", "b"]

        def note(self, read) -> None:
            noted.append(list(read))

    noted: list[list[str]] = []
    store = Full()
    await check(store, "", marked(), Sight())
    assert [keys[-2:] for keys in noted] == [["a", "b"]]
    assert len(store.reads) == 1
