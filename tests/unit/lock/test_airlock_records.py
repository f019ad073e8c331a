"""airlock's keys and values, and the mark of an import."""

from datetime import UTC, datetime

import pytest

from locksmith.config.server_values import GROUP_NAME
from locksmith.errors import CorruptValueError
from locksmith.lock.records import airlock, keys
from locksmith.lock.records.airlock import CLOSED, AirlockSemaphore, TakenOver
from tests.harness.airlock import written

KEY = "com.coreos.airlock/groups/default/v1/semaphore"
NOW = datetime(2026, 11, 29, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("default", KEY),
        ("a.b-C9", "com.coreos.airlock/groups/a.b-C9/v1/semaphore"),
        ("a b/ü", "com.coreos.airlock/groups/a+b%2F%C3%BC/v1/semaphore"),
    ],
)
def test_the_key_of_a_group_is_airlocks(group, key):
    assert airlock.semaphore_key(group) == key
    assert airlock.group_of(key) == group


@pytest.mark.parametrize(
    "key",
    [
        "com.coreos.airlock/groups//v1/semaphore",
        "com.coreos.airlock/groups/a/v2/semaphore",
        "com.coreos.airlock/groups/a/b/v1/semaphore",
        "com.coreos.airlock/groups/a b/v1/semaphore",
        "com.coreos.airlock/groups/%61/v1/semaphore",
        "com.coreos.airlock/groups/a/v1/semaphore/x",
        "coreos.com/groups/a/v1/semaphore",
    ],
)
def test_another_key_is_that_of_no_group(key):
    assert airlock.group_of(key) is None


@pytest.mark.parametrize(
    ("group", "allowed"),
    [
        *((name, True) for name in ("default", "a.b-C9", "...")),
        *((name, False) for name in ("", ".", "..", "a b", "a\n", "ü", "a_b", "a/b", "a" * 201)),
    ],
)
def test_a_group_is_one_that_the_server_can_serve(group, allowed):
    assert airlock.is_group(group) == allowed
    collapses = group in {".", ".."}
    assert (GROUP_NAME.fullmatch(group) is not None and not collapses) == allowed


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"total_slots":1,"holders":[]}', AirlockSemaphore(1)),
        (written(3, "b", "a"), AirlockSemaphore(3, ("a", "b"))),
        # What an operator may have written: airlock reads each of them.
        (b'{"holders": ["b", "a"], "total_slots": 2}\n', AirlockSemaphore(2, ("a", "b"))),
        (b'{"total_slots":2,"holders":null}', AirlockSemaphore(2)),
        (b'{"total_slots":1,"holders":["a","b"]}', AirlockSemaphore(1, ("a", "b"))),
        (b'{"total_slots":0,"holders":[]}', CLOSED),
    ],
)
def test_a_semaphore_is_read(raw, found):
    assert airlock.decode(raw, KEY) == found


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "not JSON"),
        (b"[]", "object"),
        (b"{}", "'total_slots' is missing"),
        (b'{"total_slots":2}', "'holders' is missing"),
        (b'{"total_slots":-1,"holders":[]}', "from 0"),
        (b'{"total_slots":18446744073709551615,"holders":[]}', "2^63"),
        (b'{"total_slots":1.5,"holders":[]}', "whole number"),
        (b'{"total_slots":true,"holders":[]}', "whole number"),
        (b'{"total_slots":"1","holders":[]}', "whole number"),
        (b'{"total_slots":1,"total_slots":2,"holders":[]}', "appears twice"),
        (b'{"total_slots":2,"holders":["a","a"]}', "'a' is in it twice"),
        (b'{"total_slots":2,"holders":[""]}', "none of them empty"),
        (b'{"total_slots":2,"holders":[1]}', "list of ids"),
        (b'{"total_slots":2,"holders":"a"}', "list"),
        (b'{"total_slots":2,"holders":["\\ud800"]}', "list of ids"),
        (b'{"total_slots":2,"holders":[],"more":1}', "'more' is unknown"),
        (b'{"total_slots":2,"holders":["\xff"]}', "not JSON"),
        (b" " * (2 * 1024 * 1024), "at most"),
    ],
)
def test_what_is_no_semaphore_is_refused_with_its_key_and_the_way_out(raw, problem):
    with pytest.raises(CorruptValueError) as error:
        airlock.decode(raw, KEY)
    assert problem in str(error.value)
    assert f"`etcdctl get {KEY}`" in str(error.value)


@pytest.mark.parametrize("slots", [0, 2])
def test_a_semaphore_without_holders_is_written_as_airlock_writes_it(slots):
    assert airlock.encode(AirlockSemaphore(slots)) == written(slots)


def test_no_holder_is_written_into_airlocks_semaphore():
    with pytest.raises(ValueError, match="no holder"):
        airlock.encode(AirlockSemaphore(1, ("a",)))


@pytest.mark.parametrize(("kept", "closed"), [(True, True), (False, True), (True, False)])
def test_a_mark_is_read_as_it_was_written(kept, closed):
    mark = TakenOver("n1", NOW, "alice", "ops", AirlockSemaphore(2, ("a", "b")), kept, closed, {"later": 1})
    assert airlock.decode_mark(airlock.encode_mark(mark), "k") == mark
    assert mark.left == (CLOSED if closed else mark.before)
    assert mark.describe() == "by alice@ops at 2026-11-29T18:00:00Z"


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"nonce":"n","at":"2026-11-29T18:00:00Z","who":"w"}'])
def test_a_mark_that_cannot_be_read_says_so(raw):
    key = keys.airlock_key("default")
    with pytest.raises(CorruptValueError, match="not the mark of an import"):
        airlock.decode_mark(raw, key)
