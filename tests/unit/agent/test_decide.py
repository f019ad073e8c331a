"""The diff: stories of one snapshot and the step it leads to, and what no snapshot may lead to."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from locksmith.agent.decide import decide
from locksmith.agent.facts import (
    Aborting,
    Blocker,
    Checks,
    RebootCall,
    RebootNeed,
    Report,
    ShutdownState,
    Stage,
    StoredFailure,
    Warned,
    WindowSight,
)
from locksmith.agent.journal import TAKEN_OVER, FailedAttempt, Hooks, Journal, Phase, PreRebootState
from locksmith.agent.obstacles import latest
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import (
    Abort,
    Adopt,
    Commit,
    Finish,
    Idle,
    Reboot,
    Release,
    ReportFailure,
    Request,
    Run,
    Step,
    TakeOver,
    Undo,
    Wait,
    Warn,
)
from locksmith.lock.answer import Denied
from locksmith.lock.records.claim import COMMAND, DAEMON
from locksmith.lock.records.past import LastReboot
from locksmith.window.splay import Splay
from tests.builders.snapshots import (
    ALERT,
    BOOTED,
    BY_HAND,
    CLOSED,
    COMMITTED,
    DENIED,
    FOR_UPDATE,
    GRANTED,
    GRANTS,
    LAST_BOOT,
    MINUTE,
    NEEDING,
    NOTHING,
    NOW,
    OPEN,
    REBOOTED,
    REBOOTING,
    REQUESTED,
    SECOND,
    SICK,
    TAKEN_COMMITTED,
    THIS_BOOT,
    WANTED,
    WELL,
    called,
    configured,
    entry,
)
from tests.harness.examples import times

DOWN, UNKNOWN = ShutdownState.GOING_DOWN, ShutdownState.UNKNOWN

ALICE = frozenset({"alice (seat0)"})


def fails(ago: timedelta) -> Journal:
    return Journal(failure=FailedAttempt(NOW - ago, "logind said no"))


def of_command(snapshot: Snapshot) -> Snapshot:
    """Make its claim that of `locksmithctl run`."""
    claimed = snapshot.journal.entry
    assert claimed is not None
    claim = replace(claimed.claim, kind=COMMAND)
    return replace(snapshot, journal=Journal(replace(claimed, claim=claim)))


def splayed(snapshot: Snapshot) -> Snapshot:
    """Let the window have just opened: this machine's moment is a while into it."""
    opened = snapshot.now.replace(minute=0, second=1)
    return configured(replace(snapshot, now=opened), splay=Splay(1.0, "n1"))


BY_HAND_COMMITTED = replace(NEEDING, journal=Journal(entry(Phase.COMMITTED, by="locksmithctl")))
TAKEN = replace(NEEDING, journal=Journal(entry(by=TAKEN_OVER)))
WENT_WRONG = Journal(
    replace(entry(Phase.COMMITTED, LAST_BOOT), claim=entry().claim.gone_wrong("unhealthy", "x.service has failed"))
)
FOR_OLDER = replace(FOR_UPDATE, claim=replace(entry().claim, version="1.2.2"))
FOR_LATER = PreRebootState("update-engine", "flatcar 1.0", version="1.2.3")
OFF = configured(NEEDING, reboots=False)


def logins(ago: timedelta, until: datetime, users: frozenset[str] = ALICE | {"bob (tty2)"}) -> Snapshot:
    """Alice was warned, the first user so long `ago`; users may hold the slot for an hour."""
    now = replace(GRANTS, users=users, warned=Warned(ALICE, until), warned_for=ago)
    return configured(now, sessions=60 * MINUTE)


STORIES: list[tuple[str, Snapshot, Step | type[Step] | str]] = [
    # Without a claim: a step, or the code of a reason to wait.
    ("nothing wants a reboot", NOTHING, Idle()),
    ("an update wants one", NEEDING, Request()),
    ("a trigger does not answer", replace(NOTHING, errors=("no engine",)), "trigger"),
    ("one trigger does not answer, another wants a reboot", replace(NEEDING, errors=("no engine",)), Request()),
    ("outside the window", configured(NEEDING, window=CLOSED), "window"),
    ("without a window", configured(NEEDING, window=None), Request()),
    ("a set of windows that is not there", replace(NEEDING, window=WindowSight(error="there is no set")), "window"),
    ("too little of the window is left", configured(NEEDING, min_remaining=timedelta(minutes=31)), "window"),
    ("enough of it is left", configured(NEEDING, min_remaining=timedelta(minutes=5)), Request()),
    ("its own moment in the window is to come", splayed(NEEDING), "splay"),
    ("its moment in a large group is to come", replace(NEEDING, arrival=timedelta(seconds=7)), "arrival"),
    ("a dry run waits for its moment too", configured(splayed(NEEDING), dry_run=True), "splay"),
    ("dry run: the checks are asked at first", configured(NEEDING, dry_run=True), Run(Stage.CHECKS)),
    (
        "dry run outside the window: the window is the reason",
        configured(NEEDING, window=CLOSED, dry_run=True),
        "window",
    ),
    ("another program shuts down", replace(NEEDING, shutdown=DOWN), "going_down"),
    ("logind does not answer", replace(NEEDING, shutdown=UNKNOWN), "logind"),
    ("the last reboot failed a minute ago", replace(NEEDING, journal=fails(MINUTE)), "retry"),
    ("the last reboot failed an hour ago", replace(NEEDING, journal=fails(60 * MINUTE)), Request()),
    (
        "the last reboot failed tomorrow: the clock was wrong then",
        replace(NEEDING, journal=fails(-1440 * MINUTE)),
        Request(),
    ),
    ("the strategy never reboots", OFF, Finish()),
    ("a slot from before the journal", replace(NEEDING, adopts=True), Adopt()),
    ("a slot from before the journal and nothing to do", replace(NOTHING, adopts=True), Adopt()),
    # With a claim that is asked for.
    ("restarted while asking", REQUESTED, Request()),
    ("denied", replace(REQUESTED, answer=DENIED), "slot"),
    (
        "an operator took the slot away: it is not taken again at once",
        replace(REQUESTED, answer=Denied("unlocked", "an operator unlocked it", lost=True)),
        Abort("an operator unlocked it", failed=True),
    ),
    ("granted", replace(REQUESTED, answer=GRANTED), Commit()),
    ("granted, and the update was reset", replace(REQUESTED, needs=(), answer=GRANTED), Abort),
    (
        "granted, and the engine no longer answers",
        replace(REQUESTED, needs=(), errors=("?",), answer=GRANTED),
        Abort,
    ),
    ("granted, and too little of the window is left", configured(GRANTS, min_remaining=timedelta(minutes=31)), Abort),
    (
        "granted, hooks have begun, and little of the window is left",
        configured(replace(GRANTS, journal=Journal(entry(hooks=Hooks.PREPARED))), min_remaining=timedelta(minutes=31)),
        Commit(),
    ),
    ("granted, and the set of windows is gone", replace(GRANTS, window=WindowSight(error="no set")), Abort),
    (
        "committed, and little of the window is left",
        configured(REBOOTING, min_remaining=timedelta(minutes=31)),
        Reboot(),
    ),
    ("committed, and the set of windows is gone", replace(REBOOTING, window=WindowSight(error="no set")), Abort),
    (
        "rebooted, and a command that judges nothing says the same as before",
        replace(
            NOTHING,
            journal=Journal(FOR_UPDATE),
            stage=WELL,
            finished=True,
            needs=(RebootNeed("needs-restarting", "1.2.3", NOW, judges=False),),
        ),
        Release(),
    ),
    ("granted, and the window closed", configured(replace(REQUESTED, answer=GRANTED), window=CLOSED), Abort),
    (
        "denied, and the window closed: the place goes too",
        configured(replace(REQUESTED, answer=DENIED), window=CLOSED),
        Abort,
    ),
    ("granted, and now a dry run", configured(replace(REQUESTED, answer=GRANTED), dry_run=True), Abort),
    ("granted, and now the strategy is off", configured(replace(REQUESTED, answer=GRANTED), reboots=False), Abort),
    ("granted, and now another group", replace(REQUESTED, answer=GRANTED, target_changed=True), Abort),
    ("granted, and another program shuts down", replace(REQUESTED, answer=GRANTED, shutdown=DOWN), "rebooting"),
    ("granted, and logind does not answer", replace(REQUESTED, answer=GRANTED, shutdown=UNKNOWN), Abort),
    # Past the point of no return.
    ("committed a moment ago", REBOOTING, Reboot()),
    ("committed, but the look is old", replace(REBOOTING, observed_ago=11 * SECOND), Abort),
    ("committed, but that was long ago", replace(REBOOTING, commit_age=11 * SECOND), Abort),
    ("committed, but the window closed", configured(REBOOTING, window=CLOSED), Abort),
    ("committed, but another program shuts down", replace(REBOOTING, shutdown=DOWN), "rebooting"),
    ("committed, but logind does not answer", replace(REBOOTING, shutdown=UNKNOWN), "rebooting"),
    ("asked a second ago", called(SECOND), "rebooting"),
    ("asked, going down", called(MINUTE, shutdown=DOWN, shutting_down_for=MINUTE), "rebooting"),
    ("asked, going down for too long", called(11 * MINUTE, shutdown=DOWN, shutting_down_for=11 * MINUTE), "stuck"),
    (
        "asked, and no word from logind for too long",
        called(11 * MINUTE, shutdown=UNKNOWN, shutting_down_for=11 * MINUTE),
        "stuck",
    ),
    ("asked, refused", called(SECOND, "inhibited"), Abort("inhibited", failed=True)),
    ("asked, refused since another program shuts down", called(SECOND, "in progress", shutdown=DOWN), "rebooting"),
    ("asked, and nothing happened", called(20 * SECOND), Abort),
    ("asked outside the window by now", configured(called(SECOND), window=CLOSED), "rebooting"),
    # Past the point of no return, and this daemon is not the one that committed.
    ("restarted: may be asked for already", replace(COMMITTED, orphaned_for=SECOND), "rebooting"),
    ("restarted: and it is going down", replace(COMMITTED, orphaned_for=SECOND, shutdown=DOWN), "rebooting"),
    ("restarted: it is not going down", COMMITTED, Abort),
    ("restarted: logind does not answer", replace(COMMITTED, shutdown=UNKNOWN, shutting_down_for=11 * MINUTE), "stuck"),
    # After the boot.
    ("rebooted", REBOOTED, Release()),
    ("rebooted softly", replace(REBOOTED, journal=COMMITTED.journal, boot=replace(THIS_BOOT, userspace=9)), Release()),
    ("power cut while asking", replace(REBOOTED, journal=Journal(entry(boot=LAST_BOOT))), Release()),
    (
        "rebooted by an operator",
        replace(REBOOTED, journal=Journal(entry(boot=LAST_BOOT, by="locksmithctl"))),
        Release(),
    ),
    (
        "the store knows of a reboot that the disk does not: it is reported, whatever the boot",
        replace(GRANTS, stored=StoredFailure("failed", "its disk is older")),
        Run(Stage.HEALTH),
    ),
    (
        "and it is a failed one",
        replace(REBOOTED, journal=Journal(entry(boot=LAST_BOOT)), stored=StoredFailure("failed", "its disk is older")),
        ReportFailure("failed", "its disk is older"),
    ),
    (
        "an older journal takes the store's word",
        replace(REBOOTED, stored=StoredFailure("unhealthy", "x.service has failed"), acknowledged=False),
        ReportFailure("unhealthy", "x.service has failed"),
    ),
    (
        "it was reported in the same boot while it could not look at itself: it never rebooted",
        replace(GRANTS, journal=Journal(replace(entry(), claim=entry().claim.gone_wrong("unhealthy", "no bus")))),
        Abort("no bus", failed=True),
    ),
    (
        "the disk takes no writes: the slot is released without them",
        replace(GRANTS, failed_writes=3),
        Abort("the reboot journal cannot be written: is the disk full?", failed=True),
    ),
    ("two writes may fail", replace(GRANTS, failed_writes=2, checks=Checks(SECOND)), Commit()),
    (
        "released without its disk: only the journal has to forget it, hooks or not",
        replace(GRANTS, journal=Journal(entry(hooks=Hooks.BEGUN)), released=True),
        Abort("its slot was released already"),
    ),
    (
        "the group remembers a reboot that this machine does not",
        replace(REQUESTED, answer=Denied("repeated", "again", past=(LastReboot("1.2.3", NOW),))),
        Abort("again", past=(LastReboot("1.2.3", NOW),)),
    ),
    ("rebooted, and now the strategy is off", configured(REBOOTED, reboots=False), Release()),
    ("rebooted, and going down once more: the slot stays", replace(REBOOTED, shutdown=DOWN), "rebooting"),
    ("just booted: its health is checked first", BOOTED, Run(Stage.HEALTH)),
    ("healthy: the hooks after the reboot run", replace(BOOTED, stage=WELL), Run(Stage.FINISH)),
    ("those hooks run", replace(BOOTED, stage=Report(Stage.FINISH, SECOND)), "verifying"),
    ("those hooks failed", replace(BOOTED, stage=replace(SICK, stage=Stage.FINISH)), "verifying"),
    ("not healthy yet", replace(BOOTED, stage=SICK), "verifying"),
    (
        "not healthy in time: it is said, and the slot stays",
        replace(BOOTED, stage=SICK, verifying=10 * MINUTE),
        ReportFailure("unhealthy", "x.service has failed"),
    ),
    ("said: it waits", replace(BOOTED, journal=WENT_WRONG, stage=SICK, acknowledged=False), "unhealthy"),
    (
        "acknowledged and still not healthy: the slot stays",
        replace(BOOTED, journal=WENT_WRONG, stage=SICK, acknowledged=True),
        "unhealthy",
    ),
    (
        "healthy again, and nobody has looked: the slot stays",
        replace(BOOTED, journal=WENT_WRONG, stage=WELL, acknowledged=False),
        "unhealthy",
    ),
    (
        "healthy again, and an operator has looked",
        replace(BOOTED, journal=WENT_WRONG, stage=WELL, acknowledged=True),
        Run(Stage.FINISH),
    ),
    (
        "healthy again where nothing halts: nobody is waited for",
        configured(replace(BOOTED, journal=WENT_WRONG, stage=WELL, acknowledged=False), halts=False),
        Run(Stage.FINISH),
    ),
    (
        "the update that followed the one it had waited for is wanted as before",
        replace(BOOTED, journal=Journal(replace(FOR_OLDER, before=FOR_LATER)), stage=WELL, needs=WANTED),
        ReportFailure("failed", "rebooted for update 1.2.3, and it is wanted as before"),
    ),
    (
        "the update is wanted as before",
        replace(BOOTED, journal=Journal(FOR_UPDATE), stage=WELL, needs=WANTED),
        ReportFailure("failed", "rebooted for update 1.2.3, and it is wanted as before"),
    ),
    (
        "another update is wanted: that is a new wish",
        replace(REBOOTED, journal=Journal(FOR_UPDATE), needs=(RebootNeed("update-engine", "1.2.4", NOW),)),
        Release(),
    ),
    (
        "an update of unknown version is wanted: that equals nothing",
        replace(REBOOTED, journal=Journal(FOR_UPDATE), needs=(RebootNeed("update-engine", "0.0.0", NOW),)),
        Release(),
    ),
    (
        "the old system came up",
        replace(BOOTED, journal=Journal(FOR_UPDATE), stage=WELL, system="flatcar 1.0"),
        ReportFailure(
            "failed", "rebooted for update 1.2.3, and came up with the old system (flatcar 1.0): rolled back"
        ),
    ),
    ("the new system came up", replace(REBOOTED, journal=Journal(FOR_UPDATE), system="flatcar 1.2.3"), Release()),
    (
        "the same update is wanted again soon: that would be a loop",
        replace(NEEDING, journal=Journal(done=LastReboot("1.2.3", NOW - MINUTE))),
        "repeated",
    ),
    (
        "the same update is wanted again the day after",
        replace(NEEDING, journal=Journal(done=LastReboot("1.2.3", NOW - 25 * 60 * MINUTE))),
        Request(),
    ),
    (
        "five tries failed",
        replace(NEEDING, journal=Journal(failure=FailedAttempt(NOW - 60 * MINUTE, "no", tries=5))),
        "given_up",
    ),
    (
        "five tries failed for another version",
        replace(NEEDING, journal=Journal(failure=FailedAttempt(NOW, "no", "1.2.2", tries=5))),
        Request(),
    ),
    (
        "the second failure in a row waits twice as long",
        replace(NEEDING, journal=Journal(failure=FailedAttempt(NOW - 20 * MINUTE, "no", tries=2))),
        "retry",
    ),
    # Gates, hooks, users.
    (
        "an inhibitor before the lock",
        replace(NEEDING, blockers=(Blocker("inhibitor", "backup runs"),)),
        "inhibitor",
    ),
    (
        "an inhibitor after the lock",
        replace(GRANTS, blockers=(Blocker("inhibitor", "backup runs"),)),
        Abort("backup runs"),
    ),
    (
        "an inhibitor at the last moment",
        replace(REBOOTING, blockers=(Blocker("inhibitor", "backup runs"),)),
        Abort("at the last moment: backup runs"),
    ),
    ("the slot is there, and no gate was asked", replace(GRANTS, checks=None, prepared=False), Run(Stage.CHECKS)),
    ("an alert fires after the lock", replace(GRANTS, checks=Checks(SECOND, (ALERT,))), Abort(ALERT.text)),
    ("an alert fired a moment ago", replace(NEEDING, checks=Checks(SECOND, (ALERT,))), "alerts"),
    (
        "an alert fired a while ago: it is asked for",
        replace(NEEDING, checks=Checks(MINUTE, (ALERT,))),
        Run(Stage.CHECKS),
    ),
    ("no gate objects: the hooks run", replace(GRANTS, prepared=False), Run(Stage.PREPARE)),
    ("the hooks run", replace(GRANTS, prepared=False, stage=Report(Stage.PREPARE, SECOND)), "hooks"),
    (
        "a hook failed",
        replace(
            GRANTS,
            prepared=False,
            journal=Journal(replace(entry(), hooks=Hooks.BEGUN)),
            stage=Report(Stage.PREPARE, SECOND, over=True, problems=(Blocker("hooks", "drain: no"),)),
        ),
        Undo("drain: no", failed=True),
    ),
    (
        "undone: the slot goes back",
        replace(
            GRANTS,
            journal=Journal(replace(entry(), hooks=Hooks.BEGUN)),
            aborting=Aborting("drain: no", failed=True),
            stage=Report(Stage.UNDO, SECOND, over=True, problems=(Blocker("hooks", "undo: no"),)),
        ),
        Abort("drain: no", failed=True),
    ),
    ("users are logged in: they are warned", replace(GRANTS, users=ALICE), Warn(NOW + 5 * MINUTE)),
    ("they were warned", replace(GRANTS, users=ALICE, warned=Warned(ALICE, NOW + MINUTE)), "sessions"),
    ("their time is over", replace(GRANTS, users=ALICE, warned=Warned(ALICE, NOW)), Commit()),
    ("they have gone", replace(GRANTS, warned=Warned(ALICE, NOW + MINUTE)), Commit()),
    (
        "another user comes: they are warned too",
        replace(GRANTS, users=ALICE | {"bob (tty2)"}, warned=Warned(ALICE, NOW)),
        Warn(NOW + 5 * MINUTE),
    ),
    ("users log in without end, for less than they may", logins(59 * MINUTE, NOW), Warn(NOW + 5 * MINUTE)),
    ("users log in without end, for as long as they may", logins(60 * MINUTE, NOW), Abort),
    ("users log in without end, and may", configured(logins(60 * MINUTE, NOW), sessions=timedelta()), Warn),
    ("the limit comes before the end of their time", logins(60 * MINUTE, NOW + MINUTE, ALICE), Abort),
    ("their time is over with the limit", logins(60 * MINUTE, NOW, ALICE), Commit()),
    ("all have gone when the limit comes", replace(logins(60 * MINUTE, NOW), users=frozenset()), Commit()),
    ("the checks are old after hooks and warning", replace(GRANTS, checks=Checks(11 * SECOND)), Run(Stage.CHECKS)),
    (
        "the group is frozen after the lock",
        replace(REQUESTED, answer=Denied("freeze", "frozen", must_release=True)),
        Abort("frozen"),
    ),
    ("an operator's reboot begins: the daemon makes room", replace(GRANTS, operator=True), Abort),
    # An operator's reboot.
    ("an operator's reboot begins before the daemon asks", replace(NEEDING, operator=True), "operator"),
    ("an operator's reboot is under way", replace(BY_HAND, operator=True), "operator"),
    ("an operator's reboot is past its commit", replace(BY_HAND_COMMITTED, operator=True), "rebooting"),
    ("an operator's reboot went down", replace(BY_HAND_COMMITTED, shutdown=DOWN), "rebooting"),
    ("an operator's reboot crashed, or stands still", BY_HAND, TakeOver()),
    ("it did so past its point of no return", BY_HAND_COMMITTED, TakeOver()),
    ("taken over before it was committed", TAKEN, Abort),
    ("taken over, and it goes on after all", replace(TAKEN, operator=True), Abort),
    ("taken over while it may have asked", replace(TAKEN_COMMITTED, orphaned_for=SECOND), "rebooting"),
    ("taken over, and nothing happened", TAKEN_COMMITTED, Abort),
    ("taken over, and logind is silent", replace(TAKEN_COMMITTED, shutdown=UNKNOWN), "rebooting"),
    ("taken over, and it went down", replace(TAKEN_COMMITTED, shutdown=DOWN), "rebooting"),
    ("a command's tool has ended", of_command(TAKEN), Abort),
    ("it may have ordered a reboot: logind is silent", replace(of_command(TAKEN), shutdown=UNKNOWN), "rebooting"),
    (
        "off, with an operator's reboot under way",
        configured(replace(BY_HAND, operator=True), reboots=False),
        "operator",
    ),
]


@pytest.mark.slow
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
        (configured(NEEDING, window=CLOSED), NOW.replace(hour=3, minute=0)),
        (replace(NEEDING, journal=fails(MINUTE)), NOW + 14 * MINUTE),
        (replace(NEEDING, journal=fails(-5 * MINUTE)), NOW + 20 * MINUTE),
        (called(5 * SECOND), NOW + 10 * SECOND),
        (logins(58 * MINUTE, NOW + MINUTE, ALICE), NOW + MINUTE),
        (logins(58 * MINUTE, NOW + 4 * MINUTE, ALICE), NOW + 2 * MINUTE),
        (called(MINUTE, shutdown=DOWN, shutting_down_for=MINUTE), NOW + 9 * MINUTE),
        (replace(COMMITTED, orphaned_for=SECOND), NOW + 14 * SECOND),
    ],
    ids=["window", "retry", "retry, clock set back", "settle", "users", "users, limit", "limit", "restarted"],
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
        (logins(60 * MINUTE, NOW), True),
        (replace(REBOOTING, commit_age=11 * SECOND), True),
        (replace(REBOOTING, observed_ago=11 * SECOND), False),
        (configured(REBOOTING, window=CLOSED), False),
        (replace(REQUESTED, needs=()), False),
    ],
)
def test_only_a_reboot_that_was_or_may_have_been_asked_for_counts_as_failed(snapshot, failed):
    chosen = decide(snapshot)
    assert isinstance(chosen, Abort)
    assert chosen.failed is failed


spans = st.sampled_from(
    [timedelta(), SECOND, 9 * SECOND, 11 * SECOND, 14 * SECOND, 16 * SECOND, 9 * MINUTE, 20 * MINUTE]
)
entries = st.builds(
    entry,
    phase=st.sampled_from(Phase),
    hooks=st.sampled_from(Hooks),
    boot=st.sampled_from([THIS_BOOT, THIS_BOOT, LAST_BOOT, replace(THIS_BOOT, userspace=9)]),
)
snapshots = st.builds(
    Snapshot,
    now=st.just(NOW),
    boot=st.just(THIS_BOOT),
    settings=st.builds(
        Settings,
        reboots=st.sampled_from([True, True, False]),
        dry_run=st.sampled_from([False, False, True]),
    ),
    shutdown=st.sampled_from([ShutdownState.RUNNING, ShutdownState.RUNNING, DOWN, UNKNOWN]),
    needs=st.sampled_from([WANTED, WANTED, ()]),
    errors=st.sampled_from([(), ("no engine",)]),
    journal=st.builds(
        Journal,
        st.none() | entries,
        st.none() | st.builds(FailedAttempt, spans.map(lambda ago: NOW - ago), st.just("logind said no")),
    ),
    answer=st.sampled_from([None, DENIED, GRANTED]),
    blockers=st.sampled_from([(), (), (Blocker("inhibitor", "backup runs"),)]),
    checks=st.none() | st.builds(Checks, spans, st.sampled_from([(), (), (ALERT,)])),
    stage=st.none() | st.builds(Report, st.sampled_from(Stage), spans, st.booleans(), st.sampled_from([(), (ALERT,)])),
    prepared=st.booleans(),
    finished=st.booleans(),
    verifying=spans,
    acknowledged=st.sampled_from([None, False, True]),
    aborting=st.sampled_from([None, None, Aborting("frozen")]),
    users=st.sampled_from([frozenset(), ALICE]),
    warned=st.sampled_from([None, Warned(ALICE, NOW), Warned(ALICE, NOW + MINUTE)]),
    call=st.none() | st.builds(RebootCall, spans, st.sampled_from([None, None, "inhibited"])),
    committed_by_this_process=st.booleans(),
    observed_ago=spans,
    commit_age=spans,
    orphaned_for=spans,
    shutting_down_for=spans,
    target_changed=st.sampled_from([False, False, True]),
    operator=st.sampled_from([False, False, True]),
    adopts=st.sampled_from([False, False, True]),
    window=st.sampled_from([WindowSight(), WindowSight(OPEN), WindowSight(CLOSED), WindowSight(OPEN, "no set")]),
)
towards_a_reboot = (Request, Commit, Reboot)
many = settings(max_examples=times(5))


@many
@given(snapshots)
def test_whatever_is_in_the_way_no_step_leads_towards_a_reboot(now):
    window = now.window.windows
    in_the_way = (
        not now.needs
        or now.shutdown is not ShutdownState.RUNNING
        or now.settings.dry_run
        or not now.settings.reboots
        or now.window.error
        or (window is not None and not window.contains(now.now))
        or (now.journal.entry is not None and now.journal.entry.by != DAEMON)
        or (now.journal.entry is not None and now.journal.entry.boot != now.boot)
        or (now.journal.entry is not None and now.target_changed)
        or now.blockers
        or (now.journal.failure is not None and abs(now.now - now.journal.failure.at) < now.settings.retry)
    )
    if in_the_way:
        assert not isinstance(decide(now), towards_a_reboot)


@pytest.mark.slow
@many
@given(snapshots)
@example(REBOOTING)
def test_a_reboot_is_committed_here_looked_at_freshly_and_asked_for_once(now):
    if isinstance(decide(now), Reboot):
        assert now.journal.entry is not None
        assert now.journal.entry.phase is Phase.COMMITTED
        assert now.committed_by_this_process
        assert now.observed_ago <= now.settings.max_age
        assert now.commit_age <= now.settings.max_age
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
@example(GRANTS)
def test_it_is_passed_behind_all_hooks_and_checks_and_with_users_who_had_their_time(now):
    if isinstance(decide(now), Commit):
        assert now.prepared
        assert now.checks is not None
        assert now.checks.ago <= now.settings.max_age
        assert not now.checks.blockers
        assert not now.users or (now.warned is not None and now.warned.until <= now.now)


@many
@given(snapshots)
@example(REBOOTED)
def test_a_slot_goes_back_behind_a_boot_a_look_at_the_health_and_the_hooks(now):
    if isinstance(decide(now), Release):
        assert now.journal.entry is not None
        assert now.journal.entry.boot != now.boot
        assert now.stage is not None
        assert now.stage.over
        assert not now.stage.problems
        assert now.finished


@pytest.mark.slow
@many
@given(snapshots)
def test_a_claim_of_an_earlier_boot_is_dealt_with_before_anything_else(now):
    if now.journal.entry is not None and now.journal.entry.boot != now.boot:
        assert isinstance(decide(now), Run | ReportFailure | Release | Wait)


@many
@given(snapshots)
def test_hooks_that_have_begun_are_undone_before_the_slot_goes_back(now):
    entry = now.journal.entry
    if isinstance(decide(now), Abort) and entry is not None and entry.hooks is not Hooks.NONE:
        assert now.stage is not None
        assert now.stage.stage is Stage.UNDO
        assert now.stage.over


@many
@given(snapshots)
def test_nothing_is_given_back_that_the_journal_does_not_name(now):
    if now.journal.entry is None:
        assert not isinstance(decide(now), Release | Abort | Commit | Reboot)
    else:
        assert not isinstance(decide(now), Adopt | Finish | Idle)


@many
@given(snapshots)
def test_a_machine_that_may_still_go_down_keeps_its_slot(now):
    if not isinstance(decide(now), Abort):
        return
    assert now.shutdown is not DOWN
    entry = now.journal.entry
    if entry is not None and entry.phase is Phase.COMMITTED:
        refused = now.call is not None and now.call.refused is not None
        assert refused or now.shutdown is not UNKNOWN


@pytest.mark.slow
@many
@given(snapshots)
def test_a_reboot_that_was_asked_for_is_given_time_to_happen(now):
    step = decide(now)
    entry = now.journal.entry
    if isinstance(step, Abort) and entry and entry.phase is Phase.COMMITTED and entry.by == DAEMON:
        if now.call is not None:
            assert now.call.refused or now.call.ago >= now.settings.settle
        elif not now.committed_by_this_process:
            assert now.orphaned_for >= now.settings.settle


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


def test_a_reboot_is_for_the_need_of_now_and_not_for_the_need_of_its_claim():
    """A newer update may have come in the line; where its own trigger wants none any more, another's wish counts."""
    now = RebootNeed("update-engine", "1.2.4", NOW)
    packages = RebootNeed("reboot-required", "of-the-night", NOW)
    assert latest(replace(NOTHING, needs=(packages, now)), FOR_UPDATE) == now
    assert latest(replace(NOTHING, needs=(packages,)), FOR_UPDATE) == packages
    assert latest(NOTHING, FOR_UPDATE).version == "1.2.3"
