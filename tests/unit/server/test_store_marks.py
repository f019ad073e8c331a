"""What ends a server's verdict that the store went back: an operator's `resume`, also if clocks are wrong."""

from datetime import UTC, datetime, timedelta

import pytest

from locksmith.server.store_marks import ServerMark
from locksmith.store.protocol import Position
from locksmith.store.settings import StoreSettings

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
AHEAD = timedelta(days=1)


def at(minutes: float) -> datetime:
    """A moment by the operators' clocks."""
    return NOW + timedelta(minutes=minutes)


def judged(offset: timedelta, seen: datetime | None = None) -> ServerMark:
    """The mark of a server with such a clock, which has seen this `resume`, and then that the store went back."""
    mark = ServerMark(StoreSettings(), "web", lambda: NOW + offset)
    mark.answered(Position(131), mark.sending())
    assert mark.went_back(seen) == ""
    mark.answered(Position(118), mark.sending())
    assert mark.verdict
    return mark


@pytest.mark.parametrize("offset", [-AHEAD, timedelta(0), AHEAD])
def test_a_resume_that_is_given_after_the_verdict_ends_it(offset):
    mark = judged(offset, at(-60))
    assert mark.went_back(at(-60))
    assert mark.went_back(at(5)) == ""
    assert not mark.verdict


@pytest.mark.parametrize("in_backup", [None, at(-120), at(-60)])
def test_a_resume_of_the_backup_ends_no_verdict(in_backup):
    mark = judged(AHEAD, at(-60))
    for _ in range(3):
        assert mark.went_back(in_backup)
    assert mark.went_back(at(-60)), "nor does another that was seen before"
    assert mark.went_back(at(5)) == ""


def test_what_was_resumed_before_the_server_noticed_may_be_of_the_backup():
    """By its clock it is older than what the server saw last: the operator gives it again."""
    mark = judged(AHEAD)
    assert mark.went_back(at(5))
    assert mark.went_back(at(5))
    assert mark.went_back(at(6)) == ""


def test_each_verdict_needs_a_resume_of_its_own():
    mark = judged(AHEAD, at(-60))
    assert mark.went_back(at(-60))
    assert mark.went_back(at(5)) == ""
    mark.answered(Position(200), mark.sending())
    mark.answered(Position(118), mark.sending())
    assert mark.went_back(at(5))
    assert mark.went_back(at(5))
    assert mark.went_back(at(6)) == ""
