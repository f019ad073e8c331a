"""The reboots that a machine and its group remember, and the reboots that those forbid."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from locksmith.errors import CorruptValueError
from locksmith.lock.records import past
from locksmith.lock.records import reboot as reboot_record
from locksmith.lock.records.cause import MOST_CAUSES, OPERATOR, Cause, cause_of, causes_of
from locksmith.lock.records.claim import DAEMON, REBOOT, Claim
from locksmith.lock.records.past import DAY, MOST_REMEMBERED, LastReboot
from locksmith.lock.records.reboot import RebootRecord
from locksmith.util import limits

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLAIM = Claim("n1", REBOOT, "nonce", NOW, who=DAEMON, boot_id="boot-9", version="b", causes=(Cause("packages", "b"),))


def rebooted(ago: timedelta, *causes: Cause, nonce: str = "") -> LastReboot:
    return LastReboot(causes[0].version, NOW - ago, nonce, causes)


A, B, NAMELESS = Cause("packages", "a"), Cause("packages", "b"), Cause("max-uptime", "")


@pytest.mark.parametrize(
    ("cause", "earlier", "again"),
    [
        (A, A, True),
        (A, B, False),
        (Cause("kernel", "a"), A, True),
        (NAMELESS, NAMELESS, True),
        (Cause("update-engine", "0.0.0"), Cause("update-engine", ""), True),
        (Cause("update-engine", ""), NAMELESS, False),
        (Cause("update-engine", "1.2.3"), Cause("update-engine", ""), False),
        (Cause(OPERATOR, ""), Cause(OPERATOR, ""), False),
        (Cause(OPERATOR, "a"), Cause(OPERATOR, "a"), True),
        (Cause("", ""), Cause("", ""), False),
        (A, Cause("", "a"), True),
    ],
)
def test_a_cause_is_met_again_if_nothing_that_it_names_has_changed(cause, earlier, again):
    found = past.repeated(cause, [rebooted(HOUR, earlier)], NOW, DAY)
    assert (found is not None) == again


def test_a_reboot_meets_every_cause_and_two_that_alternate_are_both_remembered():
    earlier = [rebooted(2 * HOUR, A, NAMELESS), rebooted(HOUR, B)]
    assert past.repeated(A, earlier, NOW, DAY) == earlier[0]
    assert past.repeated(B, earlier, NOW, DAY) == earlier[1]
    assert past.repeated(NAMELESS, earlier, NOW, DAY) == earlier[0]
    assert past.repeated(A, earlier, NOW, 2 * HOUR) is None
    assert past.repeated(A, earlier, NOW - 26 * HOUR, DAY) is None


def test_the_next_reboot_is_allowed_a_day_after_the_third_last():
    three = [rebooted(23 * HOUR, A), rebooted(22 * HOUR, B), rebooted(HOUR, NAMELESS)]
    assert past.next_allowed(three, NOW, 3) == NOW + HOUR
    assert past.next_allowed(three, NOW, 2) == NOW + 2 * HOUR
    assert past.next_allowed(three, NOW, 4) is None
    assert past.next_allowed(three, NOW + HOUR, 3) is None
    assert past.next_allowed(three, NOW, 0) is None
    assert past.next_allowed([], NOW, 1) is None


def test_a_reboot_that_an_operator_ordered_does_not_count():
    ordered = [rebooted(HOUR, Cause(OPERATOR, ""), A)] * 5
    assert past.next_allowed([rebooted(2 * HOUR, A), *ordered], NOW, 2) is None
    assert past.next_allowed([rebooted(2 * HOUR, A), *ordered], NOW, 1) == NOW + 22 * HOUR


def test_the_sentences_name_the_causes():
    three = [
        rebooted(3 * HOUR, Cause("", "1.2.3")),
        rebooted(2 * HOUR, Cause("kernel", "6.1")),
        rebooted(HOUR, NAMELESS),
    ]
    assert past.too_many_words(three, NOW) == (
        "its triggers have caused 3 reboots in 24 hours (reboot.max-per-day), the last for update 1.2.3 at "
        "2026-04-30T23:10:00Z, kernel 6.1 at 2026-05-01T00:10:00Z, max-uptime at 2026-05-01T01:10:00Z; "
        "`locksmithctl recheck` on this machine allows more"
    )
    words = {Cause("needs-restarting", "needs-restarting-12ab"): "needs-restarting", Cause("", ""): "an unknown update"}
    assert {cause: past.named(cause) for cause in words} == words


def test_two_memories_of_one_reboot_are_one():
    own = [rebooted(2 * HOUR, A, nonce="one")]
    group = [replace(rebooted(2 * HOUR + timedelta(minutes=9), A), nonce="one"), rebooted(HOUR, B, nonce="two")]
    assert past.merged(own, group) == (own[0], group[1])
    many = [rebooted(n * HOUR, A, nonce=str(n)) for n in range(100)]
    assert past.merged(many)[-1] == many[0]
    assert len(past.merged(many)) == MOST_REMEMBERED
    old = rebooted(32 * DAY, A, nonce="old")
    assert past.merged([old], [rebooted(HOUR, B)]) == (rebooted(HOUR, B),)
    assert past.merged([old]) == (old,)


def test_a_long_version_and_many_causes_are_cut_and_still_known():
    long = "x" * 5000
    assert len(cause_of("t", long).version) < 100
    assert past.repeated(cause_of("t", long), [rebooted(HOUR, cause_of("t", long))], NOW, DAY)
    assert past.repeated(cause_of("t", long + "y"), [rebooted(HOUR, cause_of("t", long))], NOW, DAY) is None
    assert len(causes_of((str(n), "v") for n in range(100))) == MOST_CAUSES


@pytest.mark.parametrize(
    ("trigger", "version"),
    [("t" * 5000, "\U0001f600" * 5000), ("t" * 99, "v" * 100), ("\\" * 99, '"' * 100)],
    ids=["digests", "as they are", "twice as long in JSON"],
)
def test_the_largest_memory_is_a_record_that_can_be_read(trigger, version):
    causes = causes_of((trigger + str(n), version) for n in range(9))
    record = RebootRecord("v", NOW, "n", "b")
    for n in range(99):
        claim = replace(CLAIM, nonce=f"{n:032}", boot_id=f"boot-{n}", version="v" * 1000, causes=causes)
        record = RebootRecord.of(claim, NOW + n * HOUR, record)
    raw = reboot_record.encode(record)
    assert len(raw) < limits.LAST_REBOOT
    assert len(reboot_record.decode(raw, "k").earlier) == MOST_REMEMBERED - 1


def test_a_record_keeps_what_was_before_it_and_gives_it_back():
    first = RebootRecord.of(replace(CLAIM, nonce="one", boot_id="boot-1"), NOW)
    second = RebootRecord.of(replace(CLAIM, nonce="two", boot_id="boot-2"), NOW + HOUR, first)
    assert reboot_record.decode(reboot_record.encode(second), "k") == second
    assert [one.nonce for one in second.past(CLAIM)] == ["one", "two"]
    assert second.before is not None
    assert second.before.past(CLAIM) == first.past(CLAIM)
    assert first.before is None


def test_a_record_forgets_the_reboots_of_the_month_before():
    first = RebootRecord.of(replace(CLAIM, nonce="one", boot_id="boot-1"), NOW)
    second = RebootRecord.of(replace(CLAIM, nonce="two", boot_id="boot-2"), NOW + 30 * DAY, first)
    third = RebootRecord.of(replace(CLAIM, nonce="three", boot_id="boot-3"), NOW + 32 * DAY, second)
    assert [one.nonce for one in second.earlier] == ["one"]
    assert [one.nonce for one in third.earlier] == ["two"]


def test_a_commit_in_the_same_boot_replaces_one_of_which_nothing_came():
    first = RebootRecord.of(replace(CLAIM, nonce="one", boot_id="boot-1"), NOW)
    again = RebootRecord.of(replace(CLAIM, nonce="two", boot_id="boot-1"), NOW + HOUR, first)
    assert [one.nonce for one in again.past(CLAIM)] == ["two"]


def test_what_an_operator_has_rechecked_does_not_count():
    last = RebootRecord.of(replace(CLAIM, boot_id="boot-1"), NOW)
    assert last.past(replace(CLAIM, rechecked=NOW)) == ()
    assert last.past(replace(CLAIM, rechecked=NOW - HOUR)) != ()


def test_a_record_of_an_earlier_version_forbids_the_same_version_and_counts():
    raw = json.dumps({"schema": 1, "version": "b", "at": "2026-05-01T02:10:00Z", "nonce": "n", "boot_id": "b"}).encode()
    known = reboot_record.decode(raw, "k").past(CLAIM)
    assert reboot_record.forbidden(CLAIM, known, NOW, DAY, 3) is not None
    other = replace(CLAIM, causes=(A,))
    assert reboot_record.forbidden(other, known, NOW, DAY, 3) is None
    code, _ = reboot_record.forbidden(other, known, NOW, DAY, 1) or ("", "")
    assert code == "max_per_day"


@pytest.mark.parametrize(
    "more",
    [
        {"causes": "a"},
        {"causes": ["a"]},
        {"causes": [["a"]]},
        {"causes": [["a", 1]]},
        {"earlier": {}},
        {"earlier": [1]},
        {"earlier": [{"version": "a"}]},
    ],
)
def test_a_memory_that_is_none_is_an_error(more):
    fields = {"version": "b", "at": "2026-05-01T02:10:00Z", "nonce": "n", "boot_id": "b", **more}
    with pytest.raises(CorruptValueError, match="not a last reboot"):
        reboot_record.decode(json.dumps(fields).encode(), "k")


def test_the_record_of_an_earlier_version_counts_no_reboot_of_the_userspace():
    raw = b'{"schema": 1, "version": "1", "at": "2026-05-01T02:10:00Z", "nonce": "n", "boot_id": "b"}'
    assert reboot_record.decode(raw, "key") == RebootRecord("1", NOW, "n", "b", userspace=0)


def test_a_record_counts_in_whole_seconds_as_it_is_written():
    record = RebootRecord.of(CLAIM, NOW + timedelta(microseconds=999_999))
    assert reboot_record.decode(reboot_record.encode(record), "k") == record


def test_a_record_without_causes_or_earlier_reboots_names_neither():
    fields = json.loads(reboot_record.encode(RebootRecord("v", NOW, "n", "b")))
    assert set(fields) == {"schema", "version", "at", "nonce", "boot_id", "userspace"}
