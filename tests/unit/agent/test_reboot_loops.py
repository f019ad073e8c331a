"""Whatever the triggers say, a machine does not reboot in a loop."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locksmith.agent.decide import decide
from locksmith.agent.facts import Boot, RebootNeed, WindowSight
from locksmith.agent.journal import Journal, JournalEntry, PreRebootState, done_by
from locksmith.agent.obstacles import causes, wanted
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Request, Wait
from locksmith.lock.records import reboot as reboot_record
from locksmith.lock.records.cause import Cause
from locksmith.lock.records.past import DAY, LastReboot
from locksmith.lock.records.reboot import RebootRecord
from tests.builders.snapshots import MINUTE, NEEDING, NOW, entry

STEP = 10 * MINUTE
OPERATORS = Cause("operator", "")


class Machine:
    """A machine without windows, whose triggers are asked every ten minutes; its group remembers what it may forget."""

    def __init__(self, most: int = 3, *, group: bool = True) -> None:
        self.now, self.boot = NOW, 1
        self.journal = Journal()
        self.record: RebootRecord | None = None
        self.reboots: list[tuple[datetime, tuple[Cause, ...]]] = []
        self.most, self.group = most, group

    def asked(self, *said: Cause) -> Snapshot:
        needs = tuple(RebootNeed(cause.trigger, cause.version, self.now) for cause in said)
        settings = replace(NEEDING.settings, max_per_day=self.most)
        return replace(
            NEEDING,
            now=self.now,
            boot=Boot(f"boot-{self.boot}"),
            needs=needs,
            journal=self.journal,
            settings=settings,
            window=WindowSight(),
        )

    def cycle(self, *said: Cause, forgets: bool = False) -> None:
        """Ask the triggers once, and reboot if nothing forbids it."""
        self.now += STEP
        self.journal = Journal() if forgets else self.journal
        seen = self.asked(*said)
        if isinstance(decide(seen), Request):
            self._reboot(seen)

    def _reboot(self, seen: Snapshot) -> None:
        found = causes(seen, wanted(seen)[0])
        claim = replace(
            entry().claim,
            who="locksmithd",
            nonce=f"nonce-{self.now}",
            boot_id=seen.boot.boot_id,
            version=found[0].version,
            causes=found,
            rechecked=self.journal.rechecked,
        )
        known = self.record.past(claim) if self.record and self.group else ()
        if reboot_record.forbidden(claim, known, self.now, DAY, self.most):
            self.journal = self.journal.after(past=known)
            return
        self.record = RebootRecord.of(claim, self.now, self.record)
        self.reboots.append((self.now, found))
        self.boot += 1
        made: JournalEntry = replace(entry(), claim=claim, before=PreRebootState(causes=found))
        self.journal = self.journal.after(done_by(made, self.now))


def test_a_trigger_that_always_says_yes_causes_one_reboot_a_day():
    machine = Machine()
    for _ in range(3 * 144):
        machine.cycle(Cause("needs-restarting", "needs-restarting"))
    times = [at for at, _ in machine.reboots]
    assert [later - at for at, later in pairwise(times)] == [DAY, DAY]


@pytest.mark.parametrize(
    "said",
    [
        [(Cause("max-uptime", ""),)],
        [(Cause("packages", "a"),), (Cause("packages", "b"),)],
        [(Cause("packages", "a"),), (Cause("kernel", "6.1"),)],
        [(Cause("packages", ""),), (Cause("kernel", ""),)],
    ],
    ids=["no version", "two outputs that alternate", "two triggers that alternate", "the same without versions"],
)
def test_triggers_that_alternate_cause_one_reboot_a_day_each(said):
    machine = Machine()
    for number in range(144):
        machine.cycle(*said[number % len(said)])
    assert len(machine.reboots) == len(said)


def test_two_that_always_say_yes_are_met_by_one_reboot():
    machine = Machine()
    for _ in range(144):
        machine.cycle(Cause("packages", "a"), Cause("kernel", "6.1"))
    assert len(machine.reboots) == 1


@pytest.mark.parametrize("most", [1, 3, 24])
def test_a_trigger_that_says_another_thing_each_time_causes_so_many_a_day(most):
    machine = Machine(most)
    for number in range(2 * 144):
        machine.cycle(Cause("packages", f"digest-{number}"))
    assert len(machine.reboots) == 2 * most


def test_what_an_operator_requests_is_done_however_often_triggers_had_their_way():
    machine = Machine(1)
    machine.cycle(Cause("packages", "a"))
    for _ in range(5):
        machine.cycle(Cause("packages", "b"))
    assert len(machine.reboots) == 1
    for _ in range(4):
        machine.cycle(Cause("packages", "b"), OPERATORS)
    assert [found[0] for _, found in machine.reboots[1:]] == [OPERATORS] * 4


def test_reboots_that_an_operator_requests_do_not_use_up_those_of_the_day():
    machine = Machine(1)
    for _ in range(5):
        machine.cycle(OPERATORS)
    machine.cycle(Cause("packages", "a"))
    assert len(machine.reboots) == 6


def test_the_reason_says_what_has_rebooted_the_machine_and_until_when_it_waits():
    machine = Machine()
    for number in range(3):
        machine.cycle(Cause("needs-restarting", f"needs-restarting-{number}"))
    machine.now += STEP
    step = decide(machine.asked(Cause("needs-restarting", "needs-restarting-9")))
    assert isinstance(step, Wait)
    assert (step.code, step.until) == ("max_per_day", NOW + STEP + DAY)
    assert step.text.startswith(
        "its triggers have caused 3 reboots in 24 hours (reboot.max-per-day), the last for need"
    )


def test_a_recheck_lets_the_machine_reboot_again():
    machine = Machine(1)
    machine.cycle(Cause("packages", "a"))
    machine.cycle(Cause("packages", "b"))
    assert len(machine.reboots) == 1
    machine.journal = Journal(rechecked=machine.now)
    machine.cycle(Cause("packages", "b"))
    machine.cycle(Cause("packages", "c"))
    assert len(machine.reboots) == 2


def test_a_machine_without_its_memory_learns_from_its_group_and_does_not_loop():
    machine = Machine()
    for number in range(140):
        machine.cycle(Cause("packages", f"{number}"), forgets=True)
    assert len(machine.reboots) == 3
    machine.cycle(Cause("packages", "x"))
    assert len(machine.journal.past) == 3


def test_what_a_machine_learns_from_its_group_is_added_to_what_it_knows():
    one, two = LastReboot("a", NOW, "one"), LastReboot("b", NOW + STEP, "two")
    assert Journal(done=one).after(past=(one, two)) == Journal(done=two, earlier=(one,))
    assert Journal(done=two).after(past=(one,)) == Journal(done=two, earlier=(one,))
    assert Journal(done=one).after(done=two) == Journal(done=two, earlier=(one,))
    assert Journal(done=one, earlier=()).after() == Journal(done=one)


def test_a_machine_whose_clock_was_wrong_takes_the_time_of_a_reboot_from_its_group():
    """Otherwise it would ask, and be denied, again and again."""

    known = LastReboot("a", NOW, "one", (Cause("packages", "a"),))
    own = replace(known, at=NOW + timedelta(days=3650))
    machine = Machine()
    machine.journal = Journal(done=own).after(past=(known,))
    step = decide(machine.asked(Cause("packages", "a")))
    assert isinstance(step, Wait)
    assert (step.code, step.until) == ("repeated", NOW + DAY)


SAID = st.tuples(st.sampled_from(["packages", "kernel", "max-uptime"]), st.sampled_from(["", "0.0.0", "a", "b", "c"]))
CYCLES = st.lists(st.tuples(st.lists(SAID, max_size=3), st.booleans()), max_size=60)


@given(CYCLES, st.integers(1, 4))
def test_whatever_triggers_say_and_a_machine_forgets_it_does_not_loop(cycles, most):
    machine = Machine(most)
    for said, forgets in cycles:
        machine.now += timedelta(hours=1)
        machine.cycle(*(Cause(*one) for one in said), forgets=forgets)
    for number, (at, found) in enumerate(machine.reboots):
        day = [(then, earlier) for then, earlier in machine.reboots[:number] if at - then < DAY]
        assert len(day) < most
        known = {cause.version for _, earlier in day for cause in earlier} - {"", "0.0.0"}
        nameless = {cause.trigger for _, earlier in day for cause in earlier if cause.version in {"", "0.0.0"}}
        cause = found[0]
        assert cause.version not in known
        assert cause.version not in {"", "0.0.0"} or cause.trigger not in nameless
