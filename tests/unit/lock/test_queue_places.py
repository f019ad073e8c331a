"""A machine's place and its ticket: found again, prolonged, written, and removed whatever lease they have."""

import asyncio
from dataclasses import replace

import pytest

from locksmith.errors import ConflictError
from locksmith.lock import places
from locksmith.lock.errors import OtherServerError
from locksmith.lock.queue_places import Places, is_shared, read, remove_place
from locksmith.lock.records import keys, waiter
from locksmith.lock.records.claim import FLEETLOCK, MANUAL, Claim
from locksmith.lock.records.waiter import Waiter
from locksmith.store.memory import MemoryServer, MemoryStore
from locksmith.store.protocol import ABSENT, Delete, Entry, Put
from tests.builders.queues import claim
from tests.sim.virtual_time import run

TTL = 90.0
OWN, OTHER = claim("own"), claim("other")


class Line:
    """A queue on a server in memory, with the calls that were made."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.calls: list[str] = []

    async def carry(self, call):
        self.calls.append(call.name)
        await asyncio.sleep(0)
        return call.apply()

    @property
    def store(self) -> MemoryStore:
        return MemoryStore(self.server, self)

    def places(self) -> Places:
        return Places(self.store, "", TTL, "1")

    def left(self) -> list[str]:
        """Name what is left in the queue: places, and tickets."""
        found = [entry.key for entry in self.server.list(keys.group_prefix(""), 0, None).entries]
        return sorted(("ticket " if "/tickets/" in key else "place ") + places.name_in(key) for key in found)

    def put(self, of: Claim, number: int, *, lasts: int = 90, shared: bool = False) -> tuple[Entry, Entry]:
        """Write a ticket and a place that no lease ends, as in a copied keyspace."""
        record = waiter.encode(replace(Waiter.of(of, lasts=lasts), shared=shared))
        ticket = self.server.put(places.ticket_key("", of), str(number).encode(), ABSENT)
        return ticket, self.server.put(places.place_key("", of, number), record, ABSENT)

    def share(self, *of: Claim) -> list[tuple[Entry, Entry]]:
        """Write the places of several with one lease, as a server does for the machines that wait there."""
        lease = self.server.grant(TTL)
        for number, one in enumerate(of, 1):
            record = waiter.encode(replace(Waiter.of(one, lasts=90), shared=True))
            ticket = Put(places.ticket_key("", one), str(number).encode(), ABSENT)
            self.server.bind([ticket, Put(places.place_key("", one, number), record, ABSENT)], lease)
        pairs = [(places.ticket_key("", one), places.place_key("", one, number)) for number, one in enumerate(of, 1)]
        return [(self.entry(ticket), self.entry(place)) for ticket, place in pairs]

    def entry(self, key: str) -> Entry:
        found = self.server.read(key).entry
        assert found is not None
        return found


def play(story):
    return run(lambda _loop: story(Line()))


def test_a_place_and_its_ticket_end_with_their_lease_in_one_call():
    async def story(line):
        mine = line.places()
        place, ahead = await mine.enter(OWN)
        assert (ahead, place.found, place.ttl, place.kept) == (0, False, TTL, 0.0)
        line.calls.clear()
        await mine.remove(place)
        assert (line.left(), line.calls) == ([], ["revoke"])

    play(story)


@pytest.mark.parametrize("how", ["without a lease", "with a shared lease"])
@pytest.mark.parametrize("known", [True, False])
def test_a_ticket_is_removed_with_a_place_whose_lease_does_not_end_both(how, known):
    async def story(line):
        if how == "without a lease":
            (ticket, entry), _ = line.put(OWN, 1), line.put(OTHER, 2)
        else:
            (ticket, entry), _ = line.share(OWN, OTHER)
        mine = line.places()
        await (mine.remove(mine.resumed(OWN, ticket, entry)) if known else mine.remove_of(OWN))
        assert line.left() == ["place other", "ticket other"]

    play(story)


def test_a_ticket_that_has_another_lease_than_its_place_is_removed_with_it():
    async def story(line):
        mine = line.places()
        place, _ = await mine.enter(OWN)
        other = await line.store.replace(place.ticket, place.ticket.value, TTL)
        assert other.lease != place.entry.lease
        await mine.remove(replace(place, ticket=other))
        assert line.left() == []

    play(story)


def test_the_lease_of_a_ticket_is_not_revoked_with_it_for_many_places_may_have_it():
    async def story(line):
        (ticket, _), _ = line.share(OWN, OTHER)
        line.calls.clear()
        await remove_place(line.store, ticket)
        assert line.calls == ["delete"]
        assert line.left() == ["place other", "place own", "ticket other"]

    play(story)


def test_an_entry_that_was_changed_meanwhile_is_not_removed():
    async def story(line):
        ticket, entry = line.put(OWN, 1)
        with pytest.raises(ConflictError):
            await remove_place(line.store, replace(entry, version=entry.version + 10))
        await line.places().remove(line.places().resumed(OWN, ticket, replace(entry, version=entry.version + 10)))
        assert line.left() == ["place own"]

    play(story)


def test_another_claim_of_the_same_machine_keeps_its_place_and_its_ticket():
    async def story(line):
        await line.places().enter(OWN)
        await line.places().remove_of(claim("own", "another nonce"))
        assert line.left() == ["place own", "ticket own"]

    play(story)


def test_the_place_of_an_older_version_is_removed_and_has_no_ticket():
    async def story(line):
        line.server.put(places.older_key("", OWN), waiter.encode(Waiter.of(OWN)), ABSENT)
        await line.places().remove_of(OWN)
        assert line.left() == []

    play(story)


def test_a_place_that_is_found_again_lasts_as_long_as_it_says():
    async def story(line):
        first, _ = await Places(line.store, "", 900.0, "1").enter(OWN)
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(600)
        mine = line.places()
        line.calls.clear()
        place, ahead = await mine.enter(OWN)
        assert line.calls == ["enter", "read", "get", "renew"]
        assert (place.entry, place.ticket, ahead) == (first.entry, first.ticket, 0)
        assert (place.found, place.ttl, place.kept) == (True, 900.0, clock())
        await asyncio.sleep(600)
        assert line.left() == ["place own", "ticket own"]

    play(story)


def test_how_long_a_resumed_place_lasts_is_what_it_says_or_else_the_usual_time():
    async def story(line):
        ticket, entry = line.put(OWN, 1, lasts=900)
        for found, ttl in [(entry, 900.0), (replace(entry, value=b"rubbish"), TTL)]:
            place = line.places().resumed(OWN, ticket, found)
            assert (place.ttl, place.found, place.uncertain) == (ttl, True, False)
            assert place.kept < 0, "it is to be kept at once"

    play(story)


@pytest.mark.parametrize("how", ["without a lease", "with a shared lease"])
def test_a_place_that_is_found_with_no_lease_of_its_own_is_written_with_one(how):
    async def story(line):
        if how == "without a lease":
            ticket, entry = line.put(OWN, 1)
        else:
            [(ticket, entry)] = line.share(OWN)
        place, _ = await line.places().enter(OWN)
        assert (place.entry.key, place.ticket.key) == (entry.key, ticket.key)
        assert place.entry.lease == place.ticket.lease != entry.lease
        assert not is_shared(place.entry)
        assert (place.ttl, read(place.entry, lambda found: (found.lasts, found.beat))) == (TTL, (90, 2))

    play(story)


@pytest.mark.parametrize(
    ("kind", "value", "refused"),
    [
        (FLEETLOCK, waiter.encode(Waiter.of(claim("own", "another", FLEETLOCK))), True),
        (FLEETLOCK, b"rubbish", False),
        (MANUAL, waiter.encode(Waiter.of(claim("own", "another", MANUAL))), False),
    ],
)
def test_only_a_client_leaves_the_place_that_it_has_for_another_call(kind, value, refused):
    async def story(line):
        one = claim("own", kind=kind)
        line.server.put(places.ticket_key("", one), b"7", ABSENT)
        before = line.server.put(places.place_key("", one, 7), value, ABSENT)
        if refused:
            with pytest.raises(OtherServerError, match="own has a place in the queue for another call"):
                await line.places().enter(one)
            assert line.entry(before.key) == before
            return
        place, ahead = await line.places().enter(one)
        assert (read(place.entry, lambda found: found.nonce), ahead) == (one.nonce, 0)
        assert line.server.read(before.key).entry is None

    play(story)


def test_a_client_whose_ticket_leads_nowhere_gets_a_new_place():
    async def story(line):
        one = claim("own", kind=FLEETLOCK)
        line.server.put(places.ticket_key("", one), b"7", ABSENT)
        place, _ = await line.places().enter(one)
        assert line.server.read(place.entry.key).entry == place.entry
        assert place.ticket.value != b"7"

    play(story)


def test_who_enters_is_told_how_many_are_before_it():
    async def story(line):
        assert [(await line.places().enter(claim(name)))[1] for name in ("a", "b", "c")] == [0, 1, 2]

    play(story)


@pytest.mark.parametrize(
    ("value", "number"),
    [(b"0", 0), (b"17", 17), (b"9" * 18, 10**18 - 1), (b"9" * 19, None), (b"", None), (b"-1", None), (b"1a", None)],
)
def test_a_ticket_leads_to_a_number_of_at_most_eighteen_digits(value, number):
    assert places.number_of_ticket(value) == number


def test_the_end_of_a_folder_sorts_after_all_of_its_keys_and_before_any_other():
    assert places.past("a/waiters/") == "a/waiters0"
    assert places.past("b") == "c"


def test_an_older_place_has_its_turn_by_its_creation_and_its_name_in_its_key():
    numbered, older = places.place_key("", OWN, 0x70), places.older_key("", OTHER)
    assert (places.number_of(numbered), places.number_of(older)) == (0x70, None)
    assert (places.name_in(numbered), places.name_in(older)) == ("own", "other")
    assert places.turn(numbered, 999) == (0x70, numbered)
    assert places.turn(older, 99) == (99, older)


@pytest.mark.parametrize("ticket", ["stands", "is gone"])
def test_a_place_that_is_known_is_removed_although_its_ticket_is_gone(ticket):
    """On v2 a server that takes the slot removes the ticket, while another server has just written the place."""

    async def story(line):
        tickets, entry = line.put(OWN, 1)
        if ticket == "is gone":
            line.server.commit([Delete(tickets.key, tickets.version)])
        await line.places().remove_of(OWN, entry.key)
        assert line.left() == []

    play(story)


def test_a_place_of_another_claim_at_a_key_that_is_known_stays():
    async def story(line):
        _, entry = line.put(OTHER, 1)
        await line.places().remove_of(OWN, entry.key)
        assert line.left() == ["place other", "ticket other"]

    play(story)
