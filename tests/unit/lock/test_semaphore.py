"""The semaphore and its wire format: what a Go node writes is read, what is written a Go node reads."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.errors import CorruptValueError, LockError
from locksmith.lock.records.semaphore import AlreadyHeldError, NoFreeSlotError, NotHeldError, Semaphore, decode, encode
from locksmith.util import limits

KEY = "coreos.com/updateengine/rebootlock/semaphore"


def test_a_fresh_semaphore_is_what_go_writes():
    assert encode(Semaphore()) == b'{"semaphore":1,"max":1,"holders":null}'


def test_holders_are_sorted_and_nothing_is_spaced():
    semaphore = Semaphore(3).take("b").take("a")
    assert encode(semaphore) == b'{"semaphore":1,"max":3,"holders":["a","b"]}'


@pytest.mark.parametrize(
    ("holder", "written"),
    [
        ("<a>&", b'"\\u003ca\\u003e\\u0026"'),
        ("\u2028\u2029", b'"\\u2028\\u2029"'),
        ("\b\f\n\t\r\x01", b'"\\u0008\\u000c\\n\\t\\r\\u0001"'),
        ('q"\\b', b'"q\\"\\\\b"'),
        ("é\x7f", '"é\x7f"'.encode()),
    ],
)
def test_characters_are_escaped_as_go_does(holder, written):
    assert encode(Semaphore(1, (holder,))) == b'{"semaphore":0,"max":1,"holders":[' + written + b"]}"


@pytest.mark.parametrize("empty", [b"null", b"[]"])
def test_both_spellings_of_nobody_are_read(empty):
    assert decode(b'{"semaphore":2,"max":2,"holders":' + empty + b"}", KEY) == Semaphore(2)


def test_a_semaphore_without_slots_is_read_and_can_be_given_back_and_resized():
    closed = decode(b'{"semaphore":-1,"max":0,"holders":["a"]}', KEY)
    with pytest.raises(NoFreeSlotError):
        closed.take("b")
    assert closed.release("a") == Semaphore(0)
    assert closed.resize(2).take("b").holders == ("a", "b")


def test_a_full_semaphore_refuses_before_it_looks_who_asks():
    with pytest.raises(NoFreeSlotError, match="held by a"):
        Semaphore(1, ("a",)).take("a")


def test_nobody_takes_twice_and_nobody_gives_back_what_he_does_not_hold():
    with pytest.raises(AlreadyHeldError):
        Semaphore(2, ("a",)).take("a")
    with pytest.raises(NotHeldError):
        Semaphore(2, ("a",)).release("b")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"hello", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "a JSON object is needed, not a list"),
        (b"{}", "'max' is missing"),
        (b'{"semaphore":1,"max":"1","holders":null}', "'max' must be a whole number, not a string"),
        (b'{"semaphore":1,"max":true,"holders":null}', "'max' must be a whole number, not true or false"),
        (b'{"semaphore":1.0,"max":1,"holders":null}', "'semaphore' must be a whole number, not a number"),
        (b'{"semaphore":1,"max":1}', "'holders' is missing"),
        (b'{"semaphore":0,"max":1,"holders":"a"}', "'holders' must be a list, not a string"),
        (b'{"semaphore":0,"max":1,"holders":[1]}', "list of ids"),
        (b'{"semaphore":0,"max":1,"holders":[""]}', "none of them empty"),
        (b'{"semaphore":0,"max":1,"holders":["\\ud800"]}', "list of ids"),
        (b'{"semaphore":0,"max":2,"holders":["a","a"]}', "'a' is in it twice"),
        (b'{"semaphore":2,"max":2,"holders":["a"]}', "says 2 free, but max is 2 and 1 hold it"),
        (b'{"semaphore":1,"max":1,"holders":null,"owner":"x"}', "'owner' is unknown"),
        (b'{"semaphore":1,"max":1,"max":1,"holders":null}', "'max' appears twice"),
        (b'{"semaphore":99999999999999999999,"max":99999999999999999999,"holders":[]}', "beyond 64 bits"),
        (b'{"total_slots":1,"holders":[]}', "'total_slots' is unknown"),
    ],
)
def test_what_is_no_semaphore_is_refused_with_the_keys_name(raw, problem):
    with pytest.raises(CorruptValueError, match=problem) as caught:
        decode(raw, KEY)
    assert str(caught.value).startswith(KEY)


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(st.integers(-(2**31), 2**31), st.sets(ids))
def test_what_is_written_reads_back(slots, holders):
    semaphore = Semaphore(slots, tuple(sorted(holders)))
    assert decode(encode(semaphore), KEY) == semaphore


@given(st.binary())
def test_no_bytes_end_in_anything_but_a_semaphore_or_a_refusal(raw):
    with contextlib.suppress(CorruptValueError):
        assert isinstance(decode(raw, KEY), Semaphore)


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefg"))))
def test_no_run_of_takes_and_give_backs_holds_more_than_max(slots, acts):
    semaphore = Semaphore(slots)
    for takes, holder in acts:
        try:
            semaphore = semaphore.take(holder) if takes else semaphore.release(holder)
        except (NoFreeSlotError, AlreadyHeldError, NotHeldError):
            continue
        assert len(semaphore.holders) <= slots
        assert semaphore.available == slots - len(semaphore.holders)


def test_a_place_in_the_queue_takes_a_slot_only_if_one_is_free_for_each_before_it():
    semaphore = Semaphore(3, ("a",))
    assert semaphore.take("b", 2).holders == ("a", "b")
    with pytest.raises(NoFreeSlotError, match="2 slots are free, and 2 machines wait before b"):
        semaphore.take("b", 3)


def test_what_is_as_long_as_may_be_read_is_written_and_nothing_longer(monkeypatch):
    semaphore = Semaphore(3, ("a", "b"))
    monkeypatch.setattr(limits, "SEMAPHORE", len(encode(semaphore)))
    assert decode(encode(semaphore), KEY) == semaphore
    monkeypatch.setattr(limits, "SEMAPHORE", limits.SEMAPHORE - 1)
    with pytest.raises(LockError, match="a semaphore with 2 holders has 43 bytes, and at most 42 are read"):
        encode(semaphore)


@pytest.mark.parametrize("slots", [2**63 - 1, -(2**63 - 1), 1])
def test_every_number_of_64_bits_and_every_name_is_read(slots):
    for holders in ((), ("n1",), ("é",)):
        assert decode(encode(Semaphore(slots, holders)), KEY) == Semaphore(slots, holders)
