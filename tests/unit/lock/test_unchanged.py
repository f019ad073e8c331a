"""For how long an entry has stood: never more than the truth."""

from locksmith.lock.unchanged import MOST, Unchanged
from locksmith.store.protocol import Entry


def entry(version=1, value=b"a", key="k"):
    return Entry(key, value, version, 1)


def test_an_age_counts_from_the_first_sight_of_a_version_and_its_value():
    seen = Unchanged()
    assert [seen.stood(entry(), now) for now in (10, 11, 40)] == [0, 1, 30]
    assert seen.stood(entry(2), 50) == 0
    assert seen.stood(entry(2), 60) == 10
    assert seen.stood(entry(2, b"b"), 70) == 0  # on v2 the version of an entry that expires stays


def test_what_was_seen_longest_ago_is_forgotten():
    seen = Unchanged()
    seen.stood(entry(key="old"), 0)
    for number in range(MOST):
        seen.stood(entry(key=str(number)), 1 + number)
    assert seen.stood(entry(key=str(MOST - 1)), 5000) == 5000 - MOST
    assert seen.stood(entry(key="old"), 5000) == 0


def test_of_too_many_the_half_is_kept_that_was_seen_last():
    seen = Unchanged()
    for number in range(MOST + 1):
        seen.stood(entry(key=str(number)), number)
    half = MOST // 2
    assert seen.stood(entry(key=str(half)), MOST) == MOST - half
    assert seen.stood(entry(key=str(half - 1)), MOST) == 0


def test_all_up_to_the_limit_are_remembered_and_one_seen_again_is_not_the_oldest():
    seen = Unchanged()
    for number in range(MOST):
        seen.stood(entry(key=str(number)), number)
    assert seen.stood(entry(key="0"), MOST) == MOST
    seen.stood(entry(key="one too many"), MOST + 1)
    assert seen.stood(entry(key="0"), MOST + 2) == MOST + 2
