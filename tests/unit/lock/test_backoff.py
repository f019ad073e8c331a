"""When a machine leaves the queue, and for how long."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from locksmith.lock.backoff import FAILING_LIMIT, FAILURES, FIRST_PAUSE, JITTER, LONGEST_PAUSE, BackOff


def fail(back_off: BackOff, now: float, began: float | None = None):
    return back_off.failed("take_fails", "no", now, began=now if began is None else began)


def test_it_leaves_after_some_failures_in_a_row():
    back_off = BackOff(Random(1))
    assert [fail(back_off, number) is not None for number in range(FAILURES)] == [False] * (FAILURES - 1) + [True]


def test_a_denial_for_all_in_between_begins_the_count_again():
    back_off = BackOff(Random(1))
    for number in range(10):
        assert fail(back_off, number) is None
        back_off.answered()


def test_one_attempt_that_takes_too_long_is_enough():
    assert fail(BackOff(Random(1)), FAILING_LIMIT, began=0) is not None


def test_what_left_before_leaves_after_one_failure_until_it_has_taken_a_slot():
    back_off = BackOff(Random(1))
    back_off.denied("restored", "no", 0, key="k", revision=7)
    back_off.answered()
    assert fail(back_off, 100) is not None
    back_off.forget()
    assert fail(back_off, 200) is None


@given(st.integers(0, 30), st.integers())
def test_each_pause_is_longer_up_to_a_limit(times, seed):
    back_off = BackOff(Random(seed))
    for _ in range(times):
        back_off.denied("restored", "no", 0, key="k", revision=7)
    absence = back_off.denied("restored", "no", 1000, key="k", revision=7)
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**times)
    assert JITTER * longest <= absence.ends - 1000 <= longest
    assert (absence.code, absence.text, absence.key, absence.revision) == ("restored", "no", "k", 7)
