"""A burst, then a trickle."""

from locksmith.util.ratelimit import RateLimit


def test_a_burst_is_allowed_then_one_for_each_interval():
    limit = RateLimit(burst=2, per_second=0.5)
    assert [limit.allows(now) for now in (10, 10, 10, 11, 12, 12, 13)] == [True, True, False, False, True, False, False]


def test_after_a_long_quiet_it_is_one_burst_again_and_no_more():
    limit = RateLimit(burst=2, per_second=0.5)
    assert limit.allows(0)
    assert [limit.allows(1000) for _ in range(3)] == [True, True, False]
