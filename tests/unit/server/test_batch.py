"""What several swaps of a semaphore are together."""

from hypothesis import given
from hypothesis import strategies as st

from locksmith.lock.records.semaphore import Semaphore
from locksmith.server.batch import Step, together
from locksmith.store.protocol import MOST_OPERATIONS, Check, Delete, Put

THREE = Semaphore(3, ("a", "b"))


def take(holder, *also):
    return Step(frozenset(), frozenset({holder}), also or (Put(f"holders/{holder}", b"", 0),))


def release(holder, *also):
    return Step(frozenset({holder}), frozenset(), also or (Delete(f"holders/{holder}", 1),))


def commit(holder):
    return Step(frozenset(), frozenset(), (Put(f"holders/{holder}", b"", 1),))


def test_takes_releases_and_commits_are_one_write():
    batch = together(THREE, [release("a"), take("c"), commit("b"), take("d")])
    assert batch.picked == (0, 1, 2, 3)
    assert batch.after == Semaphore(3, ("b", "c", "d"))
    assert [one.key for one in batch.also] == ["holders/a", "holders/c", "holders/b", "holders/d"]


def test_of_more_takes_than_slots_the_first_to_come_fit():
    assert together(THREE, [take("c"), take("d"), release("a"), take("e")]).picked == (0, 2, 3)


def test_nobody_takes_twice_and_nobody_releases_what_is_not_held():
    assert together(THREE, [take("a"), release("c"), release("a"), release("a", Delete("x", 1))]).picked == (2,)


def test_a_release_fits_where_more_hold_slots_than_there_are():
    batch = together(Semaphore(1, ("a", "b", "c")), [release("a"), take("d"), release("b"), take("e")])
    assert batch.picked == (0, 2)
    assert batch.after == Semaphore(1, ("c",))


def test_two_that_write_or_guard_one_key_do_not_go_together():
    shared = Put("shares", b"", 1)
    assert together(THREE, [take("c", shared), release("a", Check("shares", 1)), release("b")]).picked == (0, 2)


def test_a_batch_has_no_more_keys_than_the_store_takes():
    notes = [tuple(Put(f"{number}/{part}", b"", 0) for part in range(10)) for number in range(30)]
    batch = together(THREE, [Step(frozenset(), frozenset(), also) for also in notes])
    assert len(batch.also) + 1 <= MOST_OPERATIONS
    assert len(batch.picked) == 12


def test_a_fence_and_another_number_of_slots_go_alone():
    """What was decided before a fence must not be done after it."""
    put = Put("holders/a", b"", 1)
    assert Step.between(THREE, THREE, ()) is None
    assert Step.between(THREE, THREE, (Delete("holders/c", 1),)) is None
    assert Step.between(THREE, Semaphore(2, ("a", "b")), (put,)) is None
    assert Step.between(THREE, THREE, (put,)) == commit("a")
    assert Step.between(THREE, Semaphore(3, ("a", "c")), (put,)) == Step(frozenset("b"), frozenset("c"), (put,))


@given(
    st.integers(0, 4), st.sets(st.sampled_from("abcdef")), st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")))
)
def test_a_batch_is_what_its_swaps_do_one_after_another(slots, holders, asked):
    now = Semaphore(slots, tuple(sorted(holders)))
    steps = [
        (take if takes else release)(holder, Put(str(number), b"", 0)) for number, (takes, holder) in enumerate(asked)
    ]
    expected = now
    for number in (batch := together(now, steps)).picked:
        takes, holder = asked[number]
        expected = expected.take(holder) if takes else expected.release(holder)
    assert batch.after == expected
    assert len(expected.holders) <= max(slots, len(holders))
