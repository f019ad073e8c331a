"""A place in the queue as a record: what it says of its claim, and what another version reads and keeps of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from locksmith.errors import CorruptValueError
from locksmith.lock.records import waiter
from locksmith.lock.records.claim import COMMAND, FLEETLOCK, MANUAL, REBOOT, Claim
from locksmith.lock.records.waiter import Waiter

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
CLAIM = Claim("id1", REBOOT, "nonce", NOW, who="locksmithd", hostname="n1", reason="kernel", version="1.2")
PLACE = Waiter("id1", REBOOT, "nonce", NOW, "locksmithd", "n1", "kernel", "1.2", "2", beat=1, lasts=90)
FIELDS = {
    "schema": 1,
    "holder": "id1",
    "kind": "reboot",
    "nonce": "nonce",
    "since": "2026-05-01T02:10:00Z",
    "who": "locksmithd",
    "hostname": "n1",
    "reason": "kernel",
    "version": "1.2",
    "halt_after": "2",
    "beat": 1,
    "lasts": 90,
}


def written(place: Waiter) -> dict[str, object]:
    found: dict[str, object] = json.loads(waiter.encode(place))
    return found


def read(**fields: object) -> Waiter:
    return waiter.decode(json.dumps(fields).encode(), "key")


def test_the_place_of_a_claim_says_whose_it_is_and_for_how_long_it_stays():
    assert Waiter.of(CLAIM, "2", 90) == PLACE
    assert Waiter.of(CLAIM) == replace(PLACE, halt_after="", lasts=0)
    assert PLACE.claim == CLAIM


def test_the_place_of_a_client_counts_its_calls_and_no_beats():
    client = Waiter.of(replace(CLAIM, kind=FLEETLOCK))
    assert (client.beat, client.polls) == (0, 1)


def test_a_place_is_written_so_that_every_version_reads_it():
    assert written(PLACE) == FIELDS
    assert written(replace(PLACE, polls=3, shared=True)) == {**FIELDS, "polls": 3, "shared": True}
    assert written(replace(PLACE, extra={"rack": 7})) == {**FIELDS, "rack": 7}


def test_a_place_is_read_with_all_that_it_says():
    assert read(**FIELDS) == PLACE
    assert read(**FIELDS, polls=3, shared=True, rack=7) == replace(PLACE, polls=3, shared=True, extra={"rack": 7})


def test_a_place_of_an_earlier_version_says_less():
    least = {name: FIELDS[name] for name in ("schema", "holder", "kind", "nonce", "since")}
    assert read(**least) == Waiter("id1", REBOOT, "nonce", NOW)


@pytest.mark.parametrize("missing", ["holder", "kind", "nonce", "since"])
def test_a_place_without_what_it_must_say_is_corrupt(missing):
    fields = {name: value for name, value in FIELDS.items() if name != missing}
    with pytest.raises(CorruptValueError, match="not a place in the queue: "):
        read(**fields)


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "schema"])
def test_a_field_of_another_type_makes_a_place_corrupt(name):
    with pytest.raises(CorruptValueError):
        read(**{**FIELDS, name: [1]})


def test_a_place_that_is_kept_counts_that_and_is_shared_no_longer():
    assert replace(PLACE, shared=True).kept(900) == replace(PLACE, lasts=900, beat=2)
    client = replace(PLACE, beat=0, polls=3, shared=True)
    assert client.kept(900) == replace(client, lasts=900, polls=4, shared=False)


@pytest.mark.parametrize(
    ("kind", "hostname", "name"),
    [
        (REBOOT, "n1", "n1"),
        (COMMAND, "n1", "n1"),
        (FLEETLOCK, "n1", "n1"),
        (MANUAL, "n1", "id1"),
        (REBOOT, "", "id1"),
    ],
)
def test_a_machine_is_called_by_its_hostname_and_an_operator_by_the_id(kind, hostname, name):
    place = replace(PLACE, kind=kind, hostname=hostname)
    assert (place.name, place.is_machines) == (name, kind != MANUAL)
