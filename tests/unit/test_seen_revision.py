"""How far a machine has seen the store come: across restarts, and with a `resume` that is new or is not."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.host.seen_revision import SeenRevision

NOW = datetime(2026, 5, 1, 2, 10, 3, 500_000, tzinfo=UTC)
AT = NOW.replace(microsecond=0)
"""The same as it is written down, as every order is: to the second."""
SECOND = timedelta(seconds=1)


class Machine:
    """One machine's mark, and its clock."""

    def __init__(self, root) -> None:
        self.root = root
        self.now = NOW

    def mark(self) -> SeenRevision:
        """Read it as the next start does."""
        return SeenRevision(Paths(self.root), 3, ["http://etcd"], lambda: self.now)


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_that_has_seen_nothing_believes_every_store(machine):
    assert not machine.mark().went_back(1, None)
    machine.mark().path.parent.mkdir(parents=True)
    machine.mark().path.write_text("rubbish")
    assert not machine.mark().went_back(1, None)


def test_what_is_kept_is_known_to_the_next_start_with_its_resume_and_its_time(machine):
    mark = machine.mark()
    assert not mark.went_back(7, AT - SECOND)
    written = json.loads(mark.path.read_text())
    assert written == {
        "schema": 1,
        "store": "3 http://etcd",
        "revision": 7,
        "resumed": "2026-05-01T02:10:02Z",
        "at": "2026-05-01T02:10:03Z",
    }
    assert machine.mark().went_back(6, AT - SECOND)


def test_the_same_resume_again_is_written_once(machine):
    mark = machine.mark()
    resumed = AT - SECOND
    mark.went_back(7, resumed)
    mark.path.write_text("{}")
    mark.went_back(8, resumed)
    assert mark.path.read_text() == "{}"
    mark.went_back(8, resumed + SECOND)
    assert json.loads(mark.path.read_text())["revision"] == 8


def test_without_a_resume_nothing_is_written_until_the_machine_goes_down(machine):
    mark = machine.mark()
    mark.went_back(7, None)
    assert not mark.path.exists()
    mark.keep()
    assert mark.path.exists()


def test_a_resume_counts_where_it_is_later_than_all_that_the_machine_has_seen(machine):
    mark = machine.mark()
    mark.seen(7)
    assert mark.went_back(3, AT)
    assert not mark.went_back(3, AT + SECOND)
    mark.seen(9)
    assert mark.went_back(3, AT + SECOND)


def test_the_store_as_it_was_moves_the_mark_no_further(machine):
    """What was said since it was first seen like this is new."""
    mark = machine.mark()
    mark.seen(7)
    machine.now = NOW + 10 * SECOND
    mark.seen(7)
    mark.seen(6)
    assert not mark.went_back(3, AT + 5 * SECOND)


def test_a_restored_store_is_the_measure_once_an_operator_has_said_resume(machine):
    mark = machine.mark()
    mark.seen(7)
    assert not mark.went_back(3, AT + SECOND)
    assert not mark.went_back(4, AT + SECOND)
    assert machine.mark().went_back(2, AT + SECOND)


def test_a_resume_that_does_not_reach_the_disk_is_an_error_and_is_tried_again(machine):
    (machine.root / "var").write_text("no directory")
    mark = machine.mark()
    with pytest.raises(HostError, match=r"seen\.json cannot be written"):
        mark.went_back(7, AT)
    (machine.root / "var").unlink()
    mark.keep()
    assert machine.mark().went_back(6, AT)
