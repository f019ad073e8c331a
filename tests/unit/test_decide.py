"""The diff: stories of one snapshot and the step it leads to, and what no snapshot may lead to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from locksmith.decide import (
    Adopt,
    Commit,
    Finish,
    Idle,
    Reboot,
    Release,
    Request,
    Step,
    Wait,
    Withdraw,
    decide,
)
from locksmith.fleet import REBOOT, Claim
from locksmith.snapshot import (
    DAEMON,
    Boot,
    Denied,
    Failure,
    Granted,
    Journal,
    JournalEntry,
    Phase,
    RebootCall,
    Settings,
    ShutdownState,
    Snapshot,
    Wish,
)
from locksmith.window.reboot_window import RebootWindow

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

THIS_BOOT, LAST_BOOT = Boot("boot-2"), Boot("boot-1")
OPEN, CLOSED = RebootWindow.parse("02:00", "30m"), RebootWindow.parse("03:00", "30m")
DOWN, UNKNOWN = ShutdownState.GOING_DOWN, ShutdownState.UNKNOWN
WANTED = (Wish("update_engine", "1.2.3", NOW),)
DENIED, GRANTED = Denied("slot", "held by n2"), Granted()

NOTHING = Snapshot(NOW, THIS_BOOT, Settings(window=OPEN), unattended=MINUTE)


def entry(phase: Phase = Phase.REQUESTED, boot: Boot = THIS_BOOT, by: str = "locksmithd") -> JournalEntry:
    claim = Claim("n1", REBOOT, "nonce", NOW, who="alice")
    return JournalEntry(claim, "etcd-lock", "", 3, ("http://127.0.0.1:2379",), phase, boot, by)


def fails(ago: timedelta) -> Journal:
    return Journal(failure=Failure(NOW - ago, "logind said no"))


def called(ago: timedelta, refused: str | None = None, **more) -> Snapshot:
    return replace(REBOOTING, call=RebootCall(ago, refused), look_age=ago, **more)


def configured(snapshot: Snapshot, **more) -> Snapshot:
    return replace(snapshot, settings=replace(snapshot.settings, **more))


WISHING = replace(NOTHING, wishes=WANTED)
REQUESTED = replace(WISHING, journal=Journal(entry()))
COMMITTED = replace(WISHING, journal=Journal(entry(Phase.COMMITTED)))
REBOOTING = replace(COMMITTED, committed_here=True)
BY_HAND = replace(WISHING, journal=Journal(entry(by="locksmithctl")))
BY_HAND_COMMITTED = replace(WISHING, journal=Journal(entry(Phase.COMMITTED, by="locksmithctl")))
REBOOTED = replace(NOTHING, journal=Journal(entry(Phase.COMMITTED, LAST_BOOT)))
OFF = configured(WISHING, reboots=False)

STORIES: list[tuple[str, Snapshot, Step | type[Step] | str]] = [
    # Without a claim: a step, or the code of a reason to wait.
    ("nothing wants a reboot", NOTHING, Idle()),
    ("an update wants one", WISHING, Request()),
    ("a trigger does not answer", replace(NOTHING, doubts=("no engine",)), "trigger"),
    ("one trigger does not answer, another wants a reboot", replace(WISHING, doubts=("no engine",)), Request()),
    ("outside the window", configured(WISHING, window=CLOSED), "window"),
    ("without a window", configured(WISHING, window=None), Request()),
    ("dry run", configured(WISHING, dry_run=True), "dry_run"),
    (
        "dry run outside the window: the window is the reason",
        configured(WISHING, window=CLOSED, dry_run=True),
        "window",
    ),
    ("somebody else shuts down", replace(WISHING, shutdown=DOWN), "going_down"),
    ("logind does not answer", replace(WISHING, shutdown=UNKNOWN), "logind"),
    ("the last reboot failed a minute ago", replace(WISHING, journal=fails(MINUTE)), "retry"),
    ("the last reboot failed an hour ago", replace(WISHING, journal=fails(60 * MINUTE)), Request()),
    (
        "the last reboot failed tomorrow: the clock was wrong then",
        replace(WISHING, journal=fails(-1440 * MINUTE)),
        Request(),
    ),
    ("the strategy never reboots", OFF, Finish()),
    ("a slot from before the journal", replace(WISHING, adopts=True), Adopt()),
    ("a slot from before the journal and nothing to do", replace(NOTHING, adopts=True), Adopt()),
    # With a claim that is asked for.
    ("restarted while asking", REQUESTED, Request()),
    ("denied", replace(REQUESTED, answer=DENIED), "slot"),
    (
        "an operator took the slot away: it is not taken again at once",
        replace(REQUESTED, answer=Denied("unlocked", "somebody unlocked it", lost=True)),
        Withdraw("somebody unlocked it", failed=True),
    ),
    ("granted", replace(REQUESTED, answer=GRANTED), Commit()),
    ("granted, and the update was reset", replace(REQUESTED, wishes=(), answer=GRANTED), Withdraw),
    (
        "granted, and the engine no longer answers",
        replace(REQUESTED, wishes=(), doubts=("?",), answer=GRANTED),
        Withdraw,
    ),
    ("granted, and the window closed", configured(replace(REQUESTED, answer=GRANTED), window=CLOSED), Withdraw),
    (
        "denied, and the window closed: the place goes too",
        configured(replace(REQUESTED, answer=DENIED), window=CLOSED),
        Withdraw,
    ),
    ("granted, and now a dry run", configured(replace(REQUESTED, answer=GRANTED), dry_run=True), Withdraw),
    ("granted, and now the strategy is off", configured(replace(REQUESTED, answer=GRANTED), reboots=False), Withdraw),
    ("granted, and now another group", replace(REQUESTED, answer=GRANTED, retargeted=True), Withdraw),
    ("granted, and somebody else shuts down", replace(REQUESTED, answer=GRANTED, shutdown=DOWN), "rebooting"),
    ("granted, and logind does not answer", replace(REQUESTED, answer=GRANTED, shutdown=UNKNOWN), Withdraw),
    # Past the point of no return.
    ("committed a moment ago", REBOOTING, Reboot()),
    ("committed, but the look is old", replace(REBOOTING, look_age=11 * SECOND), Withdraw),
    ("committed, but the window closed", configured(REBOOTING, window=CLOSED), Withdraw),
    ("committed, but somebody else shuts down", replace(REBOOTING, shutdown=DOWN), "rebooting"),
    ("committed, but logind does not answer", replace(REBOOTING, shutdown=UNKNOWN), "rebooting"),
    ("asked a second ago", called(SECOND), "rebooting"),
    ("asked, going down", called(MINUTE, shutdown=DOWN, down_for=MINUTE), "rebooting"),
    ("asked, going down for too long", called(11 * MINUTE, shutdown=DOWN, down_for=11 * MINUTE), "stuck"),
    (
        "asked, and no word from logind for too long",
        called(11 * MINUTE, shutdown=UNKNOWN, down_for=11 * MINUTE),
        "stuck",
    ),
    ("asked, refused", called(SECOND, "inhibited"), Withdraw("inhibited", failed=True)),
    ("asked, refused since somebody else shuts down", called(SECOND, "in progress", shutdown=DOWN), "rebooting"),
    ("asked, and nothing happened", called(20 * SECOND), Withdraw),
    ("asked outside the window by now", configured(called(SECOND), window=CLOSED), "rebooting"),
    # Past the point of no return, and this daemon is not the one that committed.
    ("restarted: may be asked for already", replace(COMMITTED, unattended=SECOND), "rebooting"),
    ("restarted: and it is going down", replace(COMMITTED, unattended=SECOND, shutdown=DOWN), "rebooting"),
    ("restarted: it is not going down", COMMITTED, Withdraw),
    ("restarted: logind does not answer", replace(COMMITTED, shutdown=UNKNOWN, down_for=11 * MINUTE), "stuck"),
    # After the boot.
    ("rebooted", REBOOTED, Release()),
    ("rebooted softly", replace(COMMITTED, boot=replace(THIS_BOOT, userspace=9)), Release()),
    ("power cut while asking", replace(NOTHING, journal=Journal(entry(boot=LAST_BOOT))), Release()),
    ("rebooted by an operator", replace(NOTHING, journal=Journal(entry(boot=LAST_BOOT, by="locksmithctl"))), Release()),
    ("rebooted, and now the strategy is off", configured(REBOOTED, reboots=False), Release()),
    ("rebooted, and going down once more", replace(REBOOTED, shutdown=DOWN), Release()),
    # An operator's reboot.
    ("an operator's reboot is under way", replace(BY_HAND, operator=True), "operator"),
    ("an operator's reboot went down", replace(BY_HAND_COMMITTED, shutdown=DOWN), "rebooting"),
    ("an operator's reboot crashed before asking", BY_HAND, Withdraw),
    ("an operator's reboot crashed while asking", replace(BY_HAND_COMMITTED, unattended=SECOND), "rebooting"),
    ("an operator's reboot crashed and nothing happened", BY_HAND_COMMITTED, Withdraw),
    ("an operator's reboot crashed and logind is silent", replace(BY_HAND_COMMITTED, shutdown=UNKNOWN), "rebooting"),
    (
        "off, with an operator's reboot under way",
        configured(replace(BY_HAND, operator=True), reboots=False),
        "operator",
    ),
]


@pytest.mark.parametrize(("snapshot", "step"), [story[1:] for story in STORIES], ids=[story[0] for story in STORIES])
def test_story(snapshot, step):
    chosen = decide(snapshot)
    if isinstance(step, str):
        assert isinstance(chosen, Wait)
        assert chosen.code == step
    elif isinstance(step, type):
        assert isinstance(chosen, step)
    else:
        assert chosen == step


@pytest.mark.parametrize(
    ("snapshot", "until"),
    [
        (configured(WISHING, window=CLOSED), NOW.replace(hour=3, minute=0)),
        (replace(WISHING, journal=fails(MINUTE)), NOW + 14 * MINUTE),
        (replace(WISHING, journal=fails(-5 * MINUTE)), NOW + 20 * MINUTE),
        (called(5 * SECOND), NOW + 10 * SECOND),
        (called(MINUTE, shutdown=DOWN, down_for=MINUTE), NOW + 9 * MINUTE),
        (replace(COMMITTED, unattended=SECOND), NOW + 14 * SECOND),
    ],
    ids=["window", "retry", "retry, clock set back", "settle", "limit", "restarted"],
)
def test_a_wait_that_ends_by_itself_says_when(snapshot, until):
    chosen = decide(snapshot)
    assert isinstance(chosen, Wait)
    assert chosen.until == until


@pytest.mark.parametrize(
    ("snapshot", "failed"),
    [
        (called(20 * SECOND), True),
        (called(SECOND, "inhibited"), True),
        (COMMITTED, True),
        (replace(REBOOTING, look_age=11 * SECOND), False),
        (configured(REBOOTING, window=CLOSED), False),
        (replace(REQUESTED, wishes=()), False),
    ],
)
def test_only_a_reboot_that_was_or_may_have_been_asked_for_counts_as_failed(snapshot, failed):
    chosen = decide(snapshot)
    assert isinstance(chosen, Withdraw)
    assert chosen.failed is failed


spans = st.sampled_from(
    [timedelta(), SECOND, 9 * SECOND, 11 * SECOND, 14 * SECOND, 16 * SECOND, 9 * MINUTE, 20 * MINUTE]
)
entries = st.builds(
    entry,
    phase=st.sampled_from(Phase),
    boot=st.sampled_from([THIS_BOOT, THIS_BOOT, LAST_BOOT, replace(THIS_BOOT, userspace=9)]),
)
snapshots = st.builds(
    Snapshot,
    now=st.just(NOW),
    boot=st.just(THIS_BOOT),
    settings=st.builds(
        Settings,
        reboots=st.sampled_from([True, True, False]),
        window=st.sampled_from([None, OPEN, CLOSED]),
        dry_run=st.sampled_from([False, False, True]),
    ),
    shutdown=st.sampled_from([ShutdownState.RUNNING, ShutdownState.RUNNING, DOWN, UNKNOWN]),
    wishes=st.sampled_from([WANTED, WANTED, ()]),
    doubts=st.sampled_from([(), ("no engine",)]),
    journal=st.builds(
        Journal,
        st.none() | entries,
        st.none() | st.builds(Failure, spans.map(lambda ago: NOW - ago), st.just("logind said no")),
    ),
    answer=st.sampled_from([None, DENIED, GRANTED]),
    call=st.none() | st.builds(RebootCall, spans, st.sampled_from([None, None, "inhibited"])),
    committed_here=st.booleans(),
    look_age=spans,
    unattended=spans,
    down_for=spans,
    retargeted=st.sampled_from([False, False, True]),
    operator=st.sampled_from([False, False, True]),
    adopts=st.sampled_from([False, False, True]),
)
towards_a_reboot = (Request, Commit, Reboot)
many = settings(max_examples=500)


@many
@given(snapshots)
def test_whatever_is_in_the_way_no_step_leads_towards_a_reboot(now):
    window = now.settings.window
    in_the_way = (
        not now.wishes
        or now.shutdown is not ShutdownState.RUNNING
        or now.settings.dry_run
        or not now.settings.reboots
        or (window is not None and not window.contains(now.now))
        or (now.journal.entry is not None and now.journal.entry.by != DAEMON)
        or (now.journal.entry is not None and now.journal.entry.boot != now.boot)
        or (now.journal.entry is not None and now.retargeted)
        or (now.journal.failure is not None and abs(now.now - now.journal.failure.at) < now.settings.retry)
    )
    if in_the_way:
        assert not isinstance(decide(now), towards_a_reboot)


@many
@given(snapshots)
@example(REBOOTING)
def test_a_reboot_is_committed_here_looked_at_freshly_and_asked_for_once(now):
    if isinstance(decide(now), Reboot):
        assert now.journal.entry is not None
        assert now.journal.entry.phase is Phase.COMMITTED
        assert now.committed_here
        assert now.look_age <= now.settings.fresh
        assert now.call is None


@many
@given(snapshots)
@example(replace(REQUESTED, answer=GRANTED))
def test_the_point_of_no_return_is_passed_with_permission_only(now):
    if isinstance(decide(now), Commit):
        assert now.answer == GRANTED
        assert now.journal.entry is not None
        assert now.journal.entry.phase is Phase.REQUESTED


@many
@given(snapshots)
def test_a_claim_of_an_earlier_boot_is_given_back_before_anything_else(now):
    before = now.journal.entry is not None and now.journal.entry.boot != now.boot
    assert isinstance(decide(now), Release) == before


@many
@given(snapshots)
def test_nothing_is_given_back_that_the_journal_does_not_name(now):
    if now.journal.entry is None:
        assert not isinstance(decide(now), Release | Withdraw | Commit | Reboot)
    else:
        assert not isinstance(decide(now), Adopt | Finish | Idle)


@many
@given(snapshots)
def test_a_machine_that_may_still_go_down_keeps_its_slot(now):
    if not isinstance(decide(now), Withdraw):
        return
    assert now.shutdown is not DOWN
    entry = now.journal.entry
    if entry is not None and entry.phase is Phase.COMMITTED:
        refused = now.call is not None and now.call.refused is not None
        assert refused or now.shutdown is not UNKNOWN


@many
@given(snapshots)
def test_a_reboot_that_was_asked_for_is_given_time_to_happen(now):
    step = decide(now)
    entry = now.journal.entry
    if isinstance(step, Withdraw) and entry and entry.phase is Phase.COMMITTED and entry.by == DAEMON:
        if now.call is not None:
            assert now.call.refused or now.call.ago >= now.settings.settle
        elif not now.committed_here:
            assert now.unattended >= now.settings.settle


@many
@given(snapshots)
def test_every_reason_to_wait_has_a_word_a_sentence_and_an_end_that_lies_ahead(now):
    step = decide(now)
    if isinstance(step, Wait):
        assert step.code.replace("_", "").isalpha()
        assert step.text
        assert step.until is None or step.until > now.now


@many
@given(snapshots)
def test_the_same_snapshot_always_leads_to_the_same_step(now):
    assert decide(now) == decide(replace(now))
