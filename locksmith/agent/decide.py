"""A snapshot in, one step out. Pure: no clock, no IO, no await.

    boot -> verifying -> idle -> wanted -> waiting (window | gates | freeze | queue)
         -> requested -> prepared (checks, hooks, warning) -> committed -> rebooting -> boot

Fail closed: if a fact is not known, the step does not lead to a reboot.
"""

from datetime import timedelta

from locksmith.agent.facts import Checks, RebootCall, ShutdownState, Stage
from locksmith.agent.journal import TAKEN_OVER, Hooks, JournalEntry, Phase
from locksmith.agent.obstacles import first_obstacle, splayed
from locksmith.agent.rehearsal import rehearse
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import (
    Abort,
    Adopt,
    Commit,
    Finish,
    Reboot,
    Request,
    Run,
    Step,
    TakeOver,
    Undo,
    Wait,
    Warn,
)
from locksmith.agent.verify import booted, still_up
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.records.claim import COMMAND, DAEMON, FAILED, WENT_WRONG
from locksmith.util.words import span

ABORT_WITHOUT_WRITES = 3
"""How many writes of the reboot journal in a row may fail, before the slot is released without them."""


def decide(now: Snapshot) -> Step:
    """Choose the one next step."""
    entry = now.journal.entry
    if entry is None:
        return _without_claim(now)
    # If the store knows more than the disk, the machine has rebooted. A resumed snapshot has its old boot id.
    if entry.boot != now.boot or now.stored is not None or entry.claim.state == FAILED:
        return booted(now, entry)
    if now.shutdown is ShutdownState.GOING_DOWN:
        return still_up(now)
    if now.released:
        step: Step = Abort("its slot was released already")
    elif entry.by != DAEMON:
        step = _with_operators_claim(now, entry)
    elif entry.phase is Phase.COMMITTED:
        step = _committed(now)
    elif now.aborting is not None:
        step = Abort(now.aborting.reason, now.aborting.failed)
    else:
        step = _with_claim(now, entry)
    if isinstance(step, Abort) and entry.hooks is not Hooks.NONE and not now.released:
        return _undoing(now, step)
    return step


def _stage(now: Snapshot, stage: Stage, code: str, what: str) -> Run | Wait | None:
    """Begin a stage, or wait while it runs; None: it is over."""
    report = now.stage
    if report is None or report.stage is not stage:
        return Run(stage)
    return None if report.over else Wait(code, what)


def _undoing(now: Snapshot, step: Abort) -> Step:
    """Undo the hooks first. Even if that fails, the machine stays up and the slot is released."""
    report = now.stage
    if report is None or report.stage is not Stage.UNDO:
        return Undo(step.reason, step.failed)
    return step if report.over else Wait("hooks", f"undoing the hooks: {step.reason}")


def _without_claim(now: Snapshot) -> Step:
    if not now.settings.reboots:
        return Finish()
    if now.adopts:
        return Adopt()
    obstacle = first_obstacle(now) or splayed(now)
    if obstacle is not None:
        return obstacle
    if now.settings.dry_run:
        return _recently_blocked(now) or rehearse(now)
    return _recently_blocked(now) or _arriving(now) or Request()


def _recently_blocked(now: Snapshot) -> Step | None:
    """Obey the answer of an expensive gate for a while; then ask that gate again, before the request for a slot."""
    checks = now.checks
    if checks is None or not checks.blockers:
        return None
    first = checks.blockers[0]
    if checks.ago < now.settings.recheck:
        return Wait(first.gate, first.text, now.now + now.settings.recheck - checks.ago)
    # A stage that is over answered an earlier question. Without a new check a slot would be taken for nothing.
    under_way = now.stage is not None and now.stage.stage is Stage.CHECKS and not now.stage.over
    return Wait(first.gate, f"asking again: {first.text}") if under_way else Run(Stage.CHECKS)


def _with_claim(now: Snapshot, entry: JournalEntry) -> Step:
    step = _to_abort(now, entry)
    return step if step is not None else _answered(now, entry)


def _to_abort(now: Snapshot, entry: JournalEntry) -> Abort | None:
    """Abort a request that would not be made now, or that this machine cannot continue."""
    reason = _no_longer(now)
    if reason is not None:
        return Abort(reason)
    if now.failed_writes >= ABORT_WITHOUT_WRITES:
        return Abort("the reboot journal cannot be written: is the disk full?", failed=True)
    return Abort(entry.claim.failure, failed=True) if entry.claim.state in WENT_WRONG else None


def _answered(now: Snapshot, entry: JournalEntry) -> Step:
    """Follow the strategy's answer, or ask for it."""
    match now.answer:
        case None:
            return Request()
        case Denied(text=text, past=past) if past:
            return Abort(text, past=past)
        case Denied(text=text, lost=True):
            return Abort(text, failed=True)
        case Denied(text=text, must_release=True):
            return Abort(text)
        case Denied(code, text, until=until):
            return Wait(code, text, until)
        case Granted():
            return _granted(now, entry)


def _granted(now: Snapshot, entry: JournalEntry) -> Step:
    """Do all that needs the slot: ask every gate, run the hooks, warn the users; then ask every gate once more."""
    if now.checks is None or (entry.hooks is Hooks.NONE and now.checks.ago > now.settings.recheck):
        return _checks(now)
    if now.checks.blockers:
        return Abort(now.checks.blockers[0].text)
    if not now.prepared:
        if (step := _stage(now, Stage.PREPARE, "hooks", "the hooks before the reboot run")) is not None:
            return step
        report = now.stage
        return Abort("; ".join(one.text for one in report.problems) if report else "", failed=True)
    return _warning(now) or _last_check(now, now.checks)


def _last_check(now: Snapshot, checks: Checks) -> Step:
    """Ask every gate again after the hooks and the warning, and then pass the point of no return at once."""
    return _checks(now) if checks.ago > now.settings.max_age else Commit()


def _checks(now: Snapshot) -> Step:
    if now.stage is not None and now.stage.stage is Stage.CHECKS and not now.stage.over:
        return Wait("checks", "the checks before the reboot run")
    return Run(Stage.CHECKS)


def _warning(now: Snapshot) -> Warn | Wait | Abort | None:
    """Give every user who is logged in the time to end their work; None: no user is, or the time is over.

    Each new user gets the whole time. All of them together do not hold the slot for longer than `sessions`.
    """
    if not now.users:
        return None
    known = now.warned is not None and now.users <= now.warned.users
    if now.warned is not None and known and now.now >= now.warned.until:
        return None
    names, most, left = ", ".join(sorted(now.users)), now.settings.sessions, now.settings.sessions - now.warned_for
    if most and left <= timedelta(0):
        return Abort(f"users kept logging in for {span(most)} after the first was warned: {names}", failed=True)
    if now.warned is None or not known:
        return Warn(now.now + now.settings.grace)
    return Wait(
        "sessions",
        f"{names} logged in, and warned",
        min(now.warned.until, now.now + left) if most else now.warned.until,
    )


def _no_longer(now: Snapshot) -> str | None:
    """Say why a request that was made would not be made now."""
    if now.target_changed:
        return "the configuration names another strategy, group or store now"
    if now.settings.dry_run or not now.settings.reboots:
        return "the configuration no longer lets this machine reboot"
    obstacle = first_obstacle(now)
    if isinstance(obstacle, Wait):
        return obstacle.text
    return None if obstacle is None else "nothing wants a reboot any more"


def _committed(now: Snapshot) -> Step:
    """Past the point of no return there is only the reboot, or the proof that it did not and will not happen."""
    if now.call is not None:
        return _called(now, now.call)
    if now.shutdown is ShutdownState.UNKNOWN:
        return still_up(now)
    if now.committed_by_this_process:
        return _last_moment(now)
    if now.orphaned_for < now.settings.settle:
        until = now.now + now.settings.settle - now.orphaned_for
        return Wait("rebooting", "a reboot may have been asked for before this daemon started", until)
    return Abort("the daemon ended before the reboot was asked for", failed=True)


def _last_moment(now: Snapshot) -> Step:
    """Check once more after the commit. A blocker, an old commit or an old observation prevents the reboot.

    A machine whose commit is old stood still, or had no bus. Another machine may have its slot by now, and its
    users and checks may have changed. So the machine begins again, after the pause of a failed attempt.
    """
    if now.commit_age > now.settings.max_age:
        age = f"{now.commit_age.total_seconds():.0f} s"
        return Abort(f"the point of no return was passed {age} ago, and no reboot was asked for since", failed=True)
    if now.observed_ago > now.settings.max_age:
        return Abort(
            f"the last observation is {now.observed_ago.total_seconds():.0f} s old: everything is observed again"
        )
    reason = _no_longer(now)
    return Reboot() if reason is None else Abort(f"at the last moment: {reason}")


def _called(now: Snapshot, call: RebootCall) -> Step:
    if call.refused is not None:
        return Abort(call.refused, failed=True)
    if now.shutdown is ShutdownState.UNKNOWN:
        return still_up(now)
    if call.ago < now.settings.settle:
        return Wait("rebooting", "the reboot was asked for", now.now + now.settings.settle - call.ago)
    return Abort("logind was asked for the reboot, and neither logind nor systemd is shutting down", failed=True)


def _with_operators_claim(now: Snapshot, entry: JournalEntry) -> Step:
    """Leave the claim of a `locksmithctl` that runs alone; take over the claim of a `locksmithctl` that has ended."""
    is_command = entry.claim.kind == COMMAND
    if entry.by != TAKEN_OVER:
        if entry.phase is Phase.COMMITTED and now.operator:
            return Wait("rebooting", ordered_by(entry))
        what = "command" if is_command else "reboot"
        under_way = Wait("operator", f"a {what} by {entry.claim.who or 'an operator'} is under way")
        return under_way if now.operator else TakeOver()
    # A command may have ordered a reboot itself, without a point of no return.
    if (entry.phase is Phase.COMMITTED or is_command) and now.shutdown is ShutdownState.UNKNOWN:
        return still_up(now)
    if entry.phase is Phase.COMMITTED and now.orphaned_for < now.settings.settle:
        until = now.now + now.settings.settle - now.orphaned_for
        return Wait("rebooting", "a reboot was asked for by an operator", until)
    return Abort(
        "the locksmithctl that ran a command has ended" if is_command else "the operator's reboot did not happen"
    )


def ordered_by(entry: JournalEntry) -> str:
    """Say who has ordered the reboot of a claim that `locksmithctl` has made."""
    return f"a reboot was asked for by {entry.claim.who or 'an operator'}"


def _arriving(now: Snapshot) -> Wait | None:
    """Let this machine ask at a moment of its own, where many may ask at this one."""
    if now.arrival <= timedelta(0):
        return None
    text = "the machines of this large group ask for a slot one after another, and this machine's moment is to come"
    return Wait("arrival", text, now.now + now.arrival)
