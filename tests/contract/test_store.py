"""What every store does, whatever is under it."""

import asyncio
from dataclasses import replace

import pytest

from locksmith.errors import ConflictError, StoreRefusedError
from locksmith.lock.chunks import READS, Guard, read_in_chunks
from locksmith.store.protocol import (
    ABSENT,
    MOST_OPERATIONS,
    Change,
    Check,
    Delete,
    Entering,
    Fingerprint,
    Known,
    Note,
    Put,
    Reading,
)

SHORT = 1.0
"""Seconds: the shortest time to live that all stores know."""


async def gone(store, key, limit=10.0):
    """Wait until a key does not exist, by watching it; give how long that took."""
    clock = asyncio.get_running_loop().time
    start = clock()
    while (reading := await store.get(key)).entry is not None:
        assert clock() - start < limit, f"{key} is still there"
        await store.wait(key, reading.revision, limit=limit)
    return clock() - start


def test_a_key_that_does_not_exist_reads_as_absent_at_a_revision(stage, base):
    reading = stage.play(lambda store: store.get(base + "nothing"))
    assert reading.entry is None
    assert reading.version == ABSENT
    assert reading.revision > 0


def test_several_keys_are_read_at_once_in_the_order_asked_for(stage, base):
    async def story(store):
        made = [await store.create(base + name, name.encode()) for name in ("b", "a")]
        readings = await store.read([base + "a", base + "nothing", base + "b"])
        assert [reading.entry for reading in readings] == [made[1], None, made[0]]
        assert all(reading.revision >= made[1].version for reading in readings)

    stage.play(story)


def test_as_many_keys_as_one_transaction_takes_are_read_and_written_and_no_more(stage, base):
    if not stage.atomic:
        pytest.skip(
            "the v2 API has no transactions: it reads and writes one after another, as many as there is time for"
        )

    async def story(store):
        keys = [f"{base}{number}" for number in range(MOST_OPERATIONS + 1)]
        assert len(await store.read(keys[:-1])) == MOST_OPERATIONS
        with pytest.raises(StoreRefusedError, match="too many operations in txn request"):
            await store.read(keys)
        puts = [Put(key, b"", ABSENT) for key in keys[1:]]
        with pytest.raises(StoreRefusedError, match="too many operations in txn request"):
            await store.swap(keys[0], b"", ABSENT, also=puts)
        assert (await store.list(base)).entries == ()
        await store.swap(keys[0], b"", ABSENT, also=puts[:-1])
        assert len((await store.list(base)).entries) == MOST_OPERATIONS

    stage.play(story)


@pytest.mark.parametrize("count", [0, 1, READS, READS + 1, 2 * READS + 1])
def test_any_number_of_keys_is_read_in_chunks_in_the_order_asked_for(stage, base, count):
    async def story(store):
        guard = await store.create(base + "guard", b"")
        made = await store.create(f"{base}{count - 1}", b"the last")
        keys = [f"{base}{number}" for number in range(count)]
        found = await read_in_chunks(store, keys, Guard(guard.key, guard.version))
        assert len(found) == count
        assert [reading.entry for reading in found if reading.entry] == ([made] if count else [])

    stage.play(story)


def test_what_is_read_in_chunks_is_nothing_where_its_guard_was_written_meanwhile(stage, base):
    async def story(store):
        guard = await store.create(base + "guard", b"")
        await store.swap(guard.key, b"", guard.version)
        with pytest.raises(ConflictError, match="guard was written while"):
            await read_in_chunks(
                store, [f"{base}{number}" for number in range(READS + 1)], Guard(guard.key, guard.version)
            )

    stage.play(story)


def test_a_created_key_is_read_back_with_its_version(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"value")
        reading = await store.get(base + "key")
        assert reading.entry == made
        assert (made.key, made.value, made.lease) == (base + "key", b"value", 0)
        assert reading.revision >= made.version == made.created > 0

    stage.play(story)


def test_a_key_cannot_be_created_twice(stage, base):
    async def story(store):
        await store.create(base + "key", b"first")
        with pytest.raises(ConflictError, match="key"):
            await store.create(base + "key", b"second")
        assert (await store.get(base + "key")).entry.value == b"first"

    stage.play(story)


def test_a_swap_needs_the_version_that_was_read(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        changed = await store.swap(base + "key", b"2", made.version)
        assert changed.version > made.version
        assert changed.created == made.created
        with pytest.raises(ConflictError):
            await store.swap(base + "key", b"3", made.version)
        assert (await store.get(base + "key")).entry == changed

    stage.play(story)


def test_a_swap_from_absent_creates(stage, base):
    async def story(store):
        made = await store.swap(base + "key", b"1", ABSENT)
        assert (await store.get(base + "key")).entry == made
        with pytest.raises(ConflictError):
            await store.swap(base + "key", b"2", ABSENT)

    stage.play(story)


def test_the_same_value_swapped_in_is_a_new_version(stage, base):
    # It is the one write that changes nothing and outdates every earlier one that is still on its way.
    async def story(store):
        made = await store.create(base + "key", b"same")
        assert (await store.swap(base + "key", b"same", made.version)).version > made.version

    stage.play(story)


def test_a_swap_carries_puts_and_deletes_of_siblings(stage, base):
    async def story(store):
        key = await store.create(base + "key", b"1")
        old = await store.create(base + "old", b"old")
        also = [Put(base + "new", b"new", ABSENT), Delete(base + "old", old.version)]
        await store.swap(base + "key", b"2", key.version, also=also)
        values = {entry.key: entry.value for entry in (await store.list(base)).entries}
        assert values == {base + "key": b"2", base + "new": b"new"}

    stage.play(story)


def test_a_sibling_that_changed_stops_a_swap(stage, base):
    async def story(store):
        key = await store.create(base + "key", b"1")
        await store.create(base + "sibling", b"1")
        with pytest.raises(ConflictError):
            await store.swap(base + "key", b"2", key.version, also=[Put(base + "sibling", b"2", ABSENT)])
        assert (await store.get(base + "key")).entry == key
        assert (await store.get(base + "sibling")).entry.value == b"1"

    stage.play(story)


def test_a_swap_that_loses_writes_nothing_at_all(stage, base):
    if not stage.atomic:
        pytest.skip("the v2 API has no transactions: the puts stay, as the protocol says")

    async def story(store):
        key = await store.create(base + "key", b"1")
        with pytest.raises(ConflictError):
            await store.swap(base + "key", b"2", key.version + 1, also=[Put(base + "new", b"new", ABSENT)])
        assert (await store.list(base)).entries == (key,)
        with pytest.raises(ConflictError):
            await store.swap(base + "key", b"2", key.version, also=[Delete(base + "key2", 1)])
        assert (await store.list(base)).entries == (key,)

    stage.play(story)


def test_a_transaction_is_one_revision(stage, base):
    if not stage.atomic:
        pytest.skip("the v2 API has no transactions")

    async def story(store):
        swapped = await store.swap(base + "key", b"1", ABSENT, also=[Put(base + "sibling", b"1", ABSENT)])
        sibling = await store.get(base + "sibling")
        assert sibling.entry.version == swapped.version

    stage.play(story)


def test_a_delete_needs_the_version_that_was_read(stage, base):
    async def story(store):
        first = await store.create(base + "key", b"1")
        second = await store.swap(base + "key", b"2", first.version)
        with pytest.raises(ConflictError):
            await store.delete(base + "key", first.version)
        await store.delete(base + "key", second.version)
        assert (await store.get(base + "key")).entry is None
        with pytest.raises(ConflictError):
            await store.delete(base + "key", second.version)

    stage.play(story)


@pytest.mark.parametrize("name", ["prod%2Fdatabase", "a+b", "a b", "x%252Fy", "grün", "q?a=b&c#d", "100%", "a:b@c"])
def test_every_character_of_a_key_is_taken_literally(stage, base, name):
    async def story(store):
        key = f"{base}groups/{name}/semaphore"
        made = await store.create(key, b"1")
        changed = await store.swap(key, b"2", made.version)
        assert (await store.get(key)).entry == changed
        assert [entry.key for entry in (await store.list(f"{base}groups/{name}/")).entries] == [key]
        assert await store.wait(key, made.version, limit=5)
        await store.delete(key, changed.version)
        assert (await store.list(base)).entries == ()

    stage.play(story)


def test_keys_that_unescape_to_one_another_are_two(stage, base):
    async def story(store):
        for name in ("a%2Fb", "a/b", "a%252Fb"):
            await store.create(f"{base}{name}/key", name.encode())
        for name in ("a%2Fb", "a/b", "a%252Fb"):
            assert (await store.get(f"{base}{name}/key")).entry.value == name.encode()

    stage.play(story)


@pytest.mark.parametrize("value", [b"", b'{"semaphore":1,"max":1,"holders":null}', "grün\n".encode(), b"a&b=c+d%20"])
def test_a_value_comes_back_byte_for_byte(stage, base, value):
    async def story(store):
        await store.create(base + "key", value)
        assert (await store.get(base + "key")).entry.value == value

    stage.play(story)


def test_a_binary_value_comes_back_byte_for_byte(stage, base):
    if not stage.atomic:
        pytest.skip("the v2 API carries text alone")

    async def story(store):
        value = bytes(range(256))
        await store.create(base + "key", value)
        assert (await store.get(base + "key")).entry.value == value

    stage.play(story)


def test_a_list_is_in_order_of_creation(stage, base):
    async def story(store):
        names = ["c", "a", "d", "b"]
        for name in names:
            made = await store.create(base + name, b"")
        await store.swap(base + "b", b"written again", made.version)
        listing = await store.list(base)
        assert [entry.key for entry in listing.entries] == [base + name for name in names]
        assert listing.entries[-1].value == b"written again"
        assert listing.revision >= listing.entries[-1].version

    stage.play(story)


def test_a_list_gives_the_first_or_the_last_before(stage, base):
    async def story(store):
        made = [await store.create(base + name, b"") for name in ("c", "a", "d", "b")]
        keys = [entry.key for entry in made]
        before_b = made[3].created

        async def names(**bounds):
            return [entry.key for entry in (await store.list(base, **bounds)).entries]

        assert await names(limit=1) == keys[:1]
        assert await names(limit=9) == keys
        assert await names(limit=1, last_before=before_b) == keys[2:3]
        assert await names(limit=2, last_before=before_b) == keys[1:3]
        assert await names(last_before=before_b) == keys[:3]
        assert await names(limit=1, last_before=made[0].created) == []

    stage.play(story)


def test_an_empty_list_has_a_revision(stage, base):
    listing = stage.play(lambda store: store.list(base))
    assert listing.entries == ()
    assert listing.revision > 0


def test_a_list_holds_no_foreign_key(stage, base):
    async def story(store):
        for name in ("a", "ab/key", "a0", "b/key"):
            await store.create(base + name + "-", b"")
        mine = await store.create(base + "a/key", b"")
        assert (await store.list(base + "a/")).entries == (mine,)

    stage.play(story)


def test_a_key_with_a_time_to_live_expires_and_wakes_who_waits(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"", ttl=SHORT)
        assert made.lease
        assert (await store.get(base + "key")).entry == made
        assert await gone(store, base + "key") > SHORT / 2

    stage.play(story)


def test_a_renewed_key_lives_on_unchanged_and_wakes_nobody(stage, base):
    async def story(store):
        clock = asyncio.get_running_loop().time
        made = await store.create(base + "key", b"", ttl=2 * SHORT)
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        ends = clock() + 2.4 * SHORT
        while clock() < ends:
            await store.renew(made, 2 * SHORT)
            assert (await store.get(base + "key")).entry == made
            await asyncio.wait([waiting], timeout=SHORT / 3)
            assert not waiting.done()
        await store.delete(base + "key", made.version)
        assert await waiting  # its end is the first that it hears of

    stage.play(story)


def test_what_has_expired_or_was_revoked_cannot_be_renewed(stage, base):
    async def story(store):
        expired = await store.create(base + "expired", b"", ttl=SHORT)
        removed = await store.create(base + "removed", b"", ttl=60)
        await store.revoke(removed)
        assert (await store.get(base + "removed")).entry is None
        with pytest.raises(ConflictError):
            await store.renew(removed, 60)
        await gone(store, base + "expired")
        with pytest.raises(ConflictError):
            await store.renew(expired, SHORT)

    stage.play(story)


def test_a_later_key_of_the_same_name_is_not_renewed_by_the_one_before(stage, base):
    async def story(store):
        first = await store.create(base + "key", b"", ttl=60)
        await store.revoke(first)
        second = await store.create(base + "key", b"", ttl=60)
        with pytest.raises(ConflictError):
            await store.renew(first, 60)
        await store.revoke(first)
        assert (await store.get(base + "key")).entry == second

    stage.play(story)


def test_an_expiring_key_gets_a_new_value_and_a_new_time_to_live(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"1", ttl=SHORT)
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        written = await store.update(made, b"2", 60)
        assert await waiting
        assert (await store.get(base + "key")).entry == written
        assert (written.value, written.created) == (b"2", made.created)
        await asyncio.sleep(2.2 * SHORT)  # longer than the first one's, and etcd looks twice a second
        await store.renew(written, 60)
        await store.revoke(written)
        assert (await store.get(base + "key")).entry is None
        with pytest.raises(ConflictError):
            await store.update(written, b"3", 60)

    stage.play(story)


def test_what_was_written_over_an_expiring_key_outlives_the_end_of_that(stage, base):
    """On v2 both have the same version: a machine that ends an order that is over must not end the next one."""

    async def story(store):
        first = await store.swap(base + "key", b"1", ABSENT, ttl=60)
        second = await store.swap(base + "key", b"2", first.version, ttl=60)
        await store.revoke(first)
        assert (await store.get(base + "key")).entry == second
        await store.revoke(second)
        assert (await store.get(base + "key")).entry is None

    stage.play(story)


def test_an_update_needs_the_entry_that_was_read(stage, base):
    async def story(store):
        first = await store.create(base + "key", b"1", ttl=60)
        await store.revoke(first)
        second = await store.create(base + "key", b"2", ttl=60)
        with pytest.raises(ConflictError):
            await store.update(first, b"3", 60)
        assert (await store.get(base + "key")).entry == second

    stage.play(story)


def test_whose_key_is_written_over_hears_of_it_when_it_next_keeps_it(stage, base):
    async def story(store):
        first = await store.create(base + "key", b"1", ttl=60)
        second = await store.replace(first, b"2", 60)
        assert (await store.get(base + "key")).entry == second
        for late in (
            lambda: store.renew(first, 60),
            lambda: store.update(first, b"3", 60),
            lambda: store.replace(first, b"3", 60),
        ):
            with pytest.raises(ConflictError):
                await late()
        await store.renew(second, 60)
        await store.revoke(first)
        assert (await store.get(base + "key")).entry == second

    stage.play(story)


def test_a_key_revoked_wakes_who_waits_for_its_end(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"", ttl=60)
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        await asyncio.wait([waiting], timeout=0.1)
        await store.revoke(made)
        assert await waiting

    stage.play(story)


def test_a_list_counts_what_its_bounds_leave_out(stage, base):
    async def story(store):
        made = [await store.create(f"{base}{name}", b"") for name in "abcd"]
        assert (await store.list(base)).total == await store.count(base) == 4
        assert (await store.list(base, limit=1)).total == 4
        assert (await store.list(base, limit=1, last_before=made[1].created)).total == 4
        assert (await store.list(base + "none/")).total == 0

    stage.play(story)


def entering(base, name, *, gone=0, value=b"place", turn=None):
    """What `name` writes to enter a queue below `base`."""

    def make(revision):
        number = revision if turn is None else turn
        return Entering(
            Put(f"{base}waiters/!{number:08}-{name}", value, 0),
            Put(f"{base}tickets/00/{name}", str(number).encode(), 0),
            Delete(f"{base}waiters/{name}", gone) if gone else Check(f"{base}waiters/{name}", ABSENT),
            f"{base}waiters/!",
        )

    return make


def test_who_enters_stands_at_the_end_and_knows_how_many_are_before_it(stage, base):
    async def story(store):
        for ahead, name in enumerate(("c", "a", "b")):
            before = (await store.get(f"{base}none")).revision
            place, ticket, seen = await store.enter(entering(base, name), ttl=60)
            assert seen == ahead
            assert int(ticket.value) >= before
            assert (await store.get(place.key)).entry == place
            assert (await store.get(ticket.key)).entry == ticket
        found = await store.range(f"{base}waiters/!", f"{base}waiters/~")
        assert [entry.key[-1] for entry in found.entries] == ["c", "a", "b"]
        with pytest.raises(ConflictError):
            await store.enter(entering(base, "a"), ttl=60)
        assert (await store.range(f"{base}waiters/!", f"{base}waiters/~")).total == 3

    stage.play(story)


def test_of_a_crowd_that_enters_at_one_moment_each_has_a_place(stage, base):
    async def story(store):
        crowd = await asyncio.gather(*(store.enter(entering(base, f"n{one}"), ttl=60) for one in range(20)))
        found = await store.range(f"{base}waiters/!", f"{base}waiters/~")
        assert {entry.key for entry in found.entries} == {place.key for place, _, _ in crowd}

    stage.play(story)


def test_a_place_and_its_ticket_expire_and_go_together(stage, base):
    async def story(store):
        place, ticket, _ = await store.enter(entering(base, "n1"), ttl=60)
        again, rejoined = await store.rejoin(place, b"again", ticket, ttl=60)
        assert (await store.get(place.key)).entry == again
        assert (await store.get(ticket.key)).entry == rejoined
        assert (again.value, again.created) == (b"again", place.created)
        with pytest.raises(ConflictError):
            await store.rejoin(replace(place, version=1, lease=1), b"late", ticket, ttl=60)
        await store.renew(again, 60)
        await store.revoke(again)
        assert (await store.get(place.key)).entry is None
        if rejoined.lease:
            assert (await store.get(ticket.key)).entry is None
        short, _, _ = await store.enter(entering(base, "n2"), ttl=1)
        await store.wait(short.key, short.version, limit=10)
        assert (await store.get(short.key)).entry is None
        with pytest.raises(ConflictError):
            await store.renew(short, 60)

    stage.play(story)


def test_who_enters_takes_the_turn_of_a_place_of_an_older_version(stage, base):
    async def story(store):
        older = await store.create(f"{base}waiters/n1", b"")
        await store.enter(entering(base, "n2"), ttl=60)
        if stage.atomic:  # v2 cannot look at what is to be absent
            with pytest.raises(ConflictError):
                await store.enter(entering(base, "n1"), ttl=60)
        place, _, ahead = await store.enter(entering(base, "n1", gone=older.version, turn=older.created), ttl=60)
        assert ahead == 0
        assert (await store.get(older.key)).entry is None
        assert (await store.range(f"{base}waiters/!", f"{base}waiters/~")).entries[0] == place

    stage.play(story)


def test_a_range_gives_the_keys_between_two_in_the_order_of_their_names(stage, base):
    async def story(store):
        for name in ("!2-b", "n1", "!1-a", "!3-c"):
            await store.create(base + name, name.encode())

        async def names(start, end, **bounds):
            seen = await store.range(base + start, base + end, **bounds)
            return [entry.value.decode() for entry in seen.entries], seen.total

        assert await names("!", "!3") == (["!1-a", "!2-b"], 2)
        assert await names("!2", "!3-c\0") == (["!2-b", "!3-c"], 2)
        assert await names("!", "~", limit=2) == (["!1-a", "!2-b"], 4)
        assert await names("x", "y") == ([], 0)
        assert (await store.range(base, base + "~")).revision == (await store.get(base + "n1")).revision

    stage.play(story)


def test_the_folders_below_a_prefix_are_named_once_each(stage, base):
    async def story(store):
        assert await store.folders(base) == ()
        for key in ("web/semaphore", "web/nodes/n1", "db/semaphore", "a%2Fb/semaphore", "key", "web0"):
            await store.create(base + key, b"")
        assert await store.folders(base) == ("a%2Fb", "db", "web")

    stage.play(story)


def test_a_wait_ends_at_once_where_the_key_has_changed_already(stage, base):
    async def story(store):
        before = await store.get(base + "key")
        made = await store.create(base + "key", b"")
        assert await store.wait(base + "key", before.revision, limit=10)
        await store.delete(base + "key", made.version)
        assert await store.wait(base + "key", made.version, limit=10)

    stage.play(story)


def test_a_wait_tells_how_the_key_stands_and_what_stood_there_before_or_nothing(stage, base):
    """v2 tells nothing: a long poll is for the index alone. Of a whole prefix no store tells more than that."""

    async def story(store):
        made = await store.create(base + "key", b"1")
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        await asyncio.wait([waiting], timeout=0.1)
        second = await store.swap(base + "key", b"2", made.version)
        change = await waiting
        assert change in (Change(Reading(second, second.version), made), Change())
        third = await store.swap(base + "key", b"3", second.version)
        late = await store.wait(base + "key", made.version, limit=20)
        assert late is not None
        assert late.reading is None or late.reading.entry == third
        assert late.before in (None, made)
        await store.delete(base + "key", third.version)
        assert await store.wait(base + "key", third.version, limit=20) == Change(removed=stage.atomic)
        assert await store.wait(base, third.version, prefix=True, limit=20) == Change()

    stage.play(story)


def test_a_swap_checks_keys_that_it_does_not_write(stage, base):
    async def story(store):
        key, other = await store.create(base + "key", b"1"), await store.create(base + "other", b"1")
        for check in (Check(base + "other", other.version), Check(base + "other", None), Check(base + "none", ABSENT)):
            key = await store.swap(key.key, b"2", key.version, also=[check])
        assert (await store.get(other.key)).entry == other
        wrong = Check(base + "other", other.version + 1), Check(base + "none", None), Check(base + "other", ABSENT)
        for check in wrong:
            if stage.atomic:
                with pytest.raises(ConflictError):
                    await store.swap(key.key, b"3", key.version, also=[check])
                assert (await store.get(key.key)).entry == key
            else:
                key = await store.swap(key.key, b"3", key.version, also=[check])

    stage.play(story)


def test_a_removal_is_told_during_the_wait_and_not_once_the_key_is_there_again(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        await asyncio.wait([waiting], timeout=0.1)
        await store.delete(base + "key", made.version)
        assert await waiting == Change(removed=stage.atomic)
        again = await store.create(base + "key", b"2")
        late = await store.wait(base + "key", made.version, limit=20)
        assert late in (Change(Reading(again, again.version)), Change(Reading(again, again.version), made), Change())

    stage.play(story)


def test_a_note_goes_with_a_swap_and_expires_by_itself(stage, base):
    async def story(store):
        lease = await store.lend(SHORT)
        key = await store.swap(base + "key", b"1", ABSENT, also=[Note(base + "notes/1", b"done", SHORT, lease)])
        note = (await store.get(base + "notes/1")).entry
        assert note is not None
        assert note.value == b"done"
        if stage.atomic:
            assert (note.version, note.lease) == (key.version, lease)
        await gone(store, note.key)

    stage.play(story)


def test_a_note_is_not_written_where_the_swap_is_not_done(stage, base):
    async def story(store):
        key = await store.create(base + "key", b"1")
        note = Note(base + "notes/1", b"done", 60, await store.lend(60))
        with pytest.raises(ConflictError):
            await store.swap(key.key, b"2", key.version + 1, also=[note])
        assert (await store.get(note.key)).entry is None
        # The same lease does for the next attempt.
        await store.swap(key.key, b"2", key.version, also=[note])
        assert (await store.get(note.key)).entry is not None

    stage.play(story)


def test_a_swap_with_a_note_whose_lease_is_gone_is_refused_and_nothing_is_written(stage, base):
    if not stage.atomic:
        pytest.skip("on the v2 API each key has a time to live of its own")

    async def story(store):
        key = await store.create(base + "key", b"1")
        with pytest.raises(StoreRefusedError, match="lease not found"):
            await store.swap(key.key, b"2", key.version, also=[Note(base + "notes/1", b"done", 60, 4711)])
        assert (await store.get(key.key)).entry == key

    stage.play(story)


@pytest.mark.parametrize("prefix", [False, True])
def test_a_wait_ends_with_the_next_change_and_with_no_foreign_one(stage, base, prefix):
    async def story(store):
        made = await store.create(base + "a/key", b"")
        watched = base + ("a/" if prefix else "a/key")
        waiting = asyncio.create_task(store.wait(watched, made.version, prefix=prefix, limit=20))
        for foreign in ("ab/key", "a0", "b"):
            foreign_key = await store.create(base + foreign, b"")
        # Had it been woken by those, it would end no later than this one, which is.
        assert await store.wait(base + foreign, foreign_key.version - 1, limit=20)
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
        await store.swap(base + "a/key", b"2", made.version)
        assert await waiting

    stage.play(story)


def test_a_wait_for_a_prefix_sees_a_key_come_and_go(stage, base):
    async def story(store):
        before = await store.list(base)
        waiting = asyncio.create_task(store.wait(base, before.revision, prefix=True, limit=20))
        made = await store.create(base + "new", b"")
        assert await waiting
        waiting = asyncio.create_task(store.wait(base, made.version, prefix=True, limit=20))
        await store.delete(base + "new", made.version)
        assert await waiting

    stage.play(story)


def test_a_wait_for_nothing_ends_at_its_limit(stage, base):
    async def story(store):
        clock = asyncio.get_running_loop().time
        made = await store.create(base + "key", b"")
        start = clock()
        assert not await store.wait(base + "key", made.version, limit=0.3)
        assert 0.25 < clock() - start < 3

    stage.play(story)


def test_a_change_wakes_in_milliseconds(stage, base):
    async def story(store):
        clock = asyncio.get_running_loop().time
        made = await store.create(base + "key", b"")
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        await asyncio.wait([waiting], timeout=0.1)
        await store.swap(base + "key", b"2", made.version)
        changed = clock()
        assert await waiting
        assert clock() - changed < 0.5

    stage.play(story)


def test_a_cancelled_wait_ends_at_once(stage, base):
    async def story(store):
        clock = asyncio.get_running_loop().time
        made = await store.create(base + "key", b"")
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        await asyncio.wait([waiting], timeout=0.1)
        start = clock()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert clock() - start < 0.5

    stage.play(story)


def test_of_many_who_swap_from_one_version_exactly_one_wins(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"")
        swaps = [store.swap(base + "key", str(number).encode(), made.version) for number in range(8)]
        results = await asyncio.gather(*swaps, return_exceptions=True)
        won = [result for result in results if not isinstance(result, ConflictError)]
        assert won == [(await store.get(base + "key")).entry]

    stage.play(story)


# The store's past


def test_a_wait_from_a_compacted_revision_says_read_again(stage, base):
    async def story(store):
        first = await store.create(base + "key", b"1")
        await store.swap(base + "key", b"2", first.version)
        last = await store.create(base + "foreign", b"")
        forget(stage, last)
        assert await store.wait(base + "nothing", first.version, limit=20)
        assert not await store.wait(base + "nothing", last.version, limit=0.3)

    stage.play(story)


def test_a_wait_goes_on_when_the_past_is_compacted_under_it(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        waiting = asyncio.create_task(store.wait(base + "key", made.version, limit=20))
        await asyncio.wait([waiting], timeout=0.3)
        last = await store.create(base + "foreign", b"")
        forget(stage, last)
        await asyncio.wait([waiting], timeout=0.2)
        changed = await store.swap(base + "key", b"2", made.version)
        assert await waiting
        assert (await store.get(base + "key")).entry == changed

    stage.play(story)


def test_a_wait_from_a_revision_that_never_was_says_read_again(stage, base):
    """As behind a restored backup."""

    async def story(store):
        now = (await store.get(base + "key")).revision
        assert await store.wait(base + "key", now + 1000, limit=20)

    stage.play(story)


def forget(stage, last):
    if stage.compact is None:
        pytest.skip("v2 keeps the last thousand events, and has no compaction")
    stage.compact(last.version)


def test_what_was_written_is_part_of_the_history_also_when_it_has_changed_since(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        assert await store.knows(Fingerprint.of(made)) is True
        await store.swap(base + "key", b"2", made.version)
        assert await store.knows(Fingerprint.of(made)) is not False
        if stage.atomic:
            assert await store.knows(Fingerprint.of(made)) is True
            assert await store.knows(Fingerprint.of(replace(made, value=b"other"))) is False
            assert await store.knows(Fingerprint(base + "none", made.version, "")) is False

    stage.play(story)


def test_what_was_never_written_is_no_part_of_the_history(stage, base):
    async def story(store):
        made = await store.create(base + "key", b"1")
        assert await store.knows(Fingerprint.of(replace(made, value=b"other"))) is False
        assert await store.knows(Fingerprint(base + "key", made.version + 1_000_000, "")) is False

    stage.play(story)


def test_a_compacted_history_answers_by_what_stands_there_now(stage, base):
    if stage.compact is None:
        pytest.skip("the v2 API forgets nothing that it could be asked for")

    async def story(store):
        made = await store.create(base + "key", b"1")
        changed = await store.swap(base + "other", b"1", 0)
        stage.compact(changed.version)
        assert await store.knows(Fingerprint.of(made)) is True
        assert await store.knows(Fingerprint.of(replace(made, value=b"other"))) is False
        changed = await store.swap(base + "key", b"2", made.version)
        stage.compact(changed.version)
        assert await store.knows(Fingerprint.of(made)) is None

    stage.play(story)


class Heard:
    """An observer that notes what it is told."""

    clusters = None

    def __init__(self):
        self.answers = []

    def sending(self):
        return Known(7)

    def answered(self, position, known, *, linearizable=True):
        assert known == Known(7)
        self.answers.append((position, linearizable))

    def followed(self, entry, known, *, part):
        pass

    def asking(self, *, slot=True):
        pass


def test_every_answer_says_how_far_the_store_has_come(stage, base):
    async def story(store, heard):
        async def told(call, *, linearizable=True):
            heard.answers.clear()
            try:
                result = await call
            except ConflictError:
                result = None
            revisions = [position.revision for position, _ in heard.answers]
            assert revisions, "not told"
            assert heard.answers[-1][1] or not linearizable
            assert min(revisions) > 0
            assert len({position.cluster for position, _ in heard.answers} - {""}) == 1
            return result, max(revisions)

        made, revision = await told(store.create(base + "a", b"1"))
        assert revision >= made.version
        leased, _ = await told(store.create(base + "leased", b"1", ttl=60))
        reading, revision = await told(store.get(base + "a"))
        assert revision == reading.revision
        for call in (
            store.get(base + "absent"),
            store.read([base + "a", base + "absent"]),
            store.list(base),
            store.list(base + "nothing/"),
            store.count(base),
            store.folders(base),
            store.swap(base + "a", b"2", made.version),
            store.swap(base + "a", b"2", made.version),
            store.knows(Fingerprint.of(made)),
            store.enter(entering(base, "n1"), ttl=60),
            store.range(base, base + "~"),
            store.wait(base, made.version, prefix=True, limit=5),
        ):
            _, now = await told(call, linearizable=False)
            assert now >= revision
        await told(store.renew(leased, 60), linearizable=False)
        changed, _ = await told(store.update(leased, b"2", 60))
        over, _ = await told(store.replace(changed, b"3", 60))
        await told(store.revoke(over))
        await told(store.delete(base + "a", (await store.get(base + "a")).version))

    heard = Heard()
    stage.play(lambda store: story(store, heard), heard)
