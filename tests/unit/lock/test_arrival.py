"""When the machines of a large group ask: how far they spread, and how long they pause after a failure."""

from random import Random

import pytest

from locksmith.lock.arrival import LONGEST_RETRY, PER_SECOND, RETRY, SOON, WIDEST, Arrival, pause, spread


class Highest(Random):
    """Draws the greatest number, or the least."""

    def __init__(self, *, least: bool = False) -> None:
        super().__init__()
        self.least = least

    def random(self) -> float:
        return 0.0 if self.least else 1.0

    def uniform(self, a: float, b: float) -> float:
        return a if self.least else b


@pytest.mark.parametrize(
    ("machines", "seconds"),
    [(0, 0), (1, 0), (PER_SECOND, 0), (PER_SECOND + 1, 1 + 1 / PER_SECOND), (10_000, 10_000 / PER_SECOND)],
)
def test_a_group_spreads_over_the_seconds_etcd_needs_and_a_small_group_does_not(machines, seconds):
    assert spread(machines) == pytest.approx(seconds)


@pytest.mark.parametrize("machines", [None, 1, PER_SECOND])
def test_a_machine_that_failed_with_few_others_tries_again_soon(machines):
    for failures in range(1, SOON + 1):
        assert pause(failures, Random(), machines) == RETRY
    assert pause(SOON + 1, Highest(), machines) == 2 * RETRY
    assert pause(SOON + 1, Highest(least=True), machines) == RETRY
    assert pause(10_000, Highest(), machines) == LONGEST_RETRY


def test_machines_of_a_group_of_unknown_size_do_not_come_back_at_one_moment():
    assert pause(1, Highest(least=True), 0) == RETRY / 2
    assert pause(1, Highest(), 0) == RETRY


def test_a_large_group_comes_back_over_a_time_that_grows_with_each_failure():
    wide = spread(10_000)
    assert [pause(failures, Highest(), 10_000) / wide for failures in (1, 2, 3, 10_000)] == [2, 4, 8, WIDEST]
    assert pause(1, Highest(least=True), 10_000) == RETRY / 2


def test_a_group_that_spreads_less_than_a_pause_keeps_to_the_pauses_of_small_ones():
    assert pause(1, Highest(), int(PER_SECOND * RETRY / 2)) == RETRY


def test_a_group_a_little_larger_than_that_does_not_come_back_sooner_than_small_ones():
    machines = int(PER_SECOND * 1.5)
    assert pause(2, Highest(), machines) == 6
    assert pause(10_000, Highest(), machines) == LONGEST_RETRY


def test_the_moment_counts_from_when_the_machine_became_able_to_ask():
    arrival, wide = Arrival(Highest()), spread(10_000)
    assert arrival.left(10_000, 50.0) == wide
    arrival.note(50.0, able=True)
    arrival.note(60.0, able=True)
    assert arrival.left(10_000, 60.0) == wide - 10
    assert arrival.left(10_000, 50.0 + wide) == 0.0
    assert arrival.left(PER_SECOND, 51.0) == 0.0


def test_a_machine_that_becomes_able_again_draws_another_moment():
    arrival = Arrival(Random(1))
    first = arrival.left(10_000, 0.0)
    arrival.note(0.0, able=False)
    assert arrival.left(10_000, 0.0) == first
    arrival.note(0.0, able=True)
    arrival.note(1.0, able=False)
    assert arrival.left(10_000, 1.0) not in {first, first - 1.0}
