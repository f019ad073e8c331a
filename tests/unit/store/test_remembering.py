"""A store that remembers asks its store for what it is asked for itself."""

import asyncio
from typing import Any, cast

import pytest

from locksmith.errors import HostError
from locksmith.store.protocol import Change, Entry, Fingerprint, Known, Reading, any_change
from locksmith.store.remembering import RememberingStore


class Memory:
    """What has been seen: nothing."""

    clusters = None

    def sending(self) -> Known:
        return Known(0)

    def followed(self, now, known, *, part) -> None:
        pass

    def asking(self, *, slot: bool = True) -> None:
        pass


class Asked:
    """Notes each call, with its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name):
        async def call(*args, **more):
            self.calls.append((name, args, more))

        return call


@pytest.mark.parametrize(
    ("ask", "asked"),
    [
        (lambda store: store.list("g/"), ("list", ("g/",), {"limit": 0, "last_before": None})),
        (
            lambda store: store.list("g/", limit=5, last_before=7),
            ("list", ("g/",), {"limit": 5, "last_before": 7}),
        ),
        (lambda store: store.wait("g/", 7), ("wait", ("g/", 7), {"prefix": False, "limit": 60.0, "until": any_change})),
        (
            lambda store: store.wait("g/", 7, prefix=True, limit=5.0),
            ("wait", ("g/", 7), {"prefix": True, "limit": 5.0, "until": any_change}),
        ),
        (lambda store: store.swap("a", b"", 7, [], ttl=60.0), ("swap", ("a", b"", 7, []), {"ttl": 60.0})),
        (lambda store: store.range("a", "b", limit=3, at=7), ("range", ("a", "b"), {"limit": 3, "at": 7})),
        (lambda store: store.range("a", "b"), ("range", ("a", "b"), {"limit": 0, "at": 0})),
        (lambda store: store.enter(str, ttl=60.0), ("enter", (str,), {"ttl": 60.0})),
        (lambda store: store.rejoin(1, b"", 2, ttl=60.0), ("rejoin", (1, b"", 2), {"ttl": 60.0})),
        (lambda store: store.create("a", b"", ttl=60.0), ("create", ("a", b""), {"ttl": 60.0})),
        (lambda store: store.delete("a", 7), ("delete", ("a", 7), {})),
        (lambda store: store.renew(1, 60.0), ("renew", (1, 60.0), {})),
        (lambda store: store.revoke(1), ("revoke", (1,), {})),
        (lambda store: store.close(), ("close", (), {})),
    ],
)
def test_a_call_arrives_with_all_that_it_says(ask, asked):
    inner, memory = Asked(), cast("Any", Memory())
    asyncio.run(ask(RememberingStore(inner, memory, "key")))
    assert inner.calls == [asked]


class Answering:
    """A store with one entry, which a swap writes over; notes whether its history was asked for."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.before: Entry | None = None
        self.asked: list[Fingerprint] = []

    async def get(self, key: str) -> Reading:
        return Reading(self.entry if key == self.entry.key else None, 9)

    async def read(self, keys) -> list[Reading]:
        return [await self.get(key) for key in keys]

    async def swap(self, key, value, version, also, *, ttl):  # noqa: ARG002 - as a store has it
        return Entry(key, value, version + 1, 1)

    async def wait(self, key, after, *, prefix, limit, until):  # noqa: ARG002 - as a store has it
        return Change(Reading(self.entry, self.entry.version), self.before)

    async def knows(self, seen: Fingerprint) -> bool:
        self.asked.append(seen)
        return False


class Noted:
    """What has been seen is one entry; `told` is what follows from each answer."""

    def __init__(self, entry: Entry | None) -> None:
        self.known = Known(9, Fingerprint.of(entry) if entry else None)
        self.told: list[tuple[Entry | None, bool | None]] = []

    def sending(self) -> Known:
        return self.known

    def followed(self, now, known, *, part) -> None:
        assert known is self.known
        self.told.append((now, part))

    def asking(self, *, slot: bool = True) -> None:
        pass


SEEN = Entry("key", b"seen", 5, 1)


def told(ask, now: Entry, before: Entry | None = SEEN) -> tuple[list[Any], list[Any]]:
    store, memory = cast("Any", Answering(now)), cast("Any", Noted(before))
    asyncio.run(ask(RememberingStore(store, memory, "key")))
    return memory.told, store.asked


def test_an_entry_that_is_as_it_was_seen_belongs_to_the_history_without_a_request():
    assert told(lambda store: store.get("key"), SEEN) == ([(SEEN, True)], [])


def test_an_older_entry_or_another_of_the_same_version_is_none_of_the_history():
    for other in (Entry("key", b"seen", 4, 1), Entry("key", b"other", 5, 1)):
        assert told(lambda store: store.get("key"), other) == ([(other, False)], [])


def test_where_the_key_was_written_since_the_store_is_asked_for_what_was_seen():
    newer = Entry("key", b"newer", 6, 1)
    assert told(lambda store: store.get("key"), newer) == ([(newer, False)], [Fingerprint.of(SEEN)])


def test_a_write_over_the_very_entry_that_was_seen_proves_the_history():
    written = Entry("key", b"mine", 6, 1)
    assert told(lambda store: store.swap("key", b"mine", 5), SEEN) == ([(written, True)], [])


def test_a_write_over_a_later_entry_proves_nothing():
    written = Entry("key", b"mine", 8, 1)
    assert told(lambda store: store.swap("key", b"mine", 7), SEEN) == ([(written, False)], [Fingerprint.of(SEEN)])


def test_what_was_seen_of_another_key_is_asked_for():
    other = Entry("another", b"seen", 5, 1)
    written = Entry("key", b"mine", 6, 1)
    assert told(lambda store: store.swap("key", b"mine", 5), SEEN, other) == (
        [(written, False)],
        [Fingerprint.of(other)],
    )


def test_other_keys_say_nothing():
    assert told(lambda store: store.swap("another", b"mine", 5), SEEN) == ([], [])
    assert told(lambda store: store.read(["another", "key"]), SEEN) == ([(SEEN, True)], [])


def test_the_first_entry_is_compared_with_nothing():
    assert told(lambda store: store.get("key"), SEEN, None) == ([(SEEN, None)], [])


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (SEEN, (True, [])),
        (None, (False, [Fingerprint.of(SEEN)])),
        (Entry("key", b"other", 5, 1), (False, [Fingerprint.of(SEEN)])),
    ],
)
def test_a_watch_that_tells_what_stood_there_before_proves_the_history_at_no_cost(before, expected):
    newer = Entry("key", b"newer", 6, 1)
    store, memory = Answering(newer), cast("Any", Noted(SEEN))
    store.before = before
    asyncio.run(RememberingStore(cast("Any", store), memory, "key").wait("key", 5))
    part, asked = expected
    assert (memory.told, store.asked) == ([(newer, part)], asked)


def test_old_news_of_a_watch_accuse_no_store():
    """A member that lags tells of changes that this machine has seen already, in messages of their own."""
    for version in (4, 5):
        assert told(lambda store: store.wait("key", 3), Entry("key", b"older", version, 1)) == ([], [])


def test_a_watch_of_another_key_says_nothing_of_the_locks():
    assert told(lambda store: store.wait("another", 3), Entry("another", b"new", 9, 1)) == ([], [])


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda store: store.enter(str, ttl=60.0), [False]),
        (lambda store: store.swap("key", b"", 7), [True]),
        (lambda store: store.swap("another", b"", 7), []),
        (lambda store: store.create("key", b""), []),
    ],
    ids=["a place", "the lock", "a record", "a key that is none"],
)
def test_a_machine_hears_before_its_lock_is_written_or_a_place_in_the_queue(ask, told):
    class Listening(Memory):
        def asking(self, *, slot: bool = True) -> None:
            asked.append(slot)

    class Answers(Asked):
        async def swap(self, *_args, **_more):
            return Entry("key", b"", 8, 1)

        async def knows(self, _seen):
            return True

    asked: list[bool] = []
    asyncio.run(ask(RememberingStore(cast("Any", Answers()), cast("Any", Listening()), "key")))
    assert asked == told


@pytest.mark.parametrize("call", [lambda store: store.enter(str, ttl=60.0), lambda store: store.swap("key", b"", 7)])
def test_nothing_is_written_that_the_machine_forbids(call):
    class Full(Memory):
        def asking(self, **_more) -> None:
            raise HostError("the disk is full")

    inner = Asked()
    with pytest.raises(HostError):
        asyncio.run(call(RememberingStore(cast("Any", inner), cast("Any", Full()), "key")))
    assert inner.calls == []
