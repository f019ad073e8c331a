"""What a dry run does instead of a reboot: all that comes before the commit and changes nothing. Pure.

Checks, alerts, hooks and users come after the slot. A dry run takes no slot. So it asks and runs them without a slot,
and names the hooks that it cannot run.
"""

from locksmith.agent.facts import UNREHEARSED, Checks, Stage
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import Run, Step, Wait
from locksmith.util.words import listed
from locksmith.window.duration import format_duration

STAGES = (Stage.CHECKS, Stage.REHEARSAL)


def rehearse(now: Snapshot) -> Step:
    """Rehearse what was not rehearsed lately; then say what would happen now."""
    if now.stage is not None and now.stage.stage in STAGES and not now.stage.over:
        return Wait("dry_run", "the checks and the hooks are rehearsed")
    if _is_old(now.checks, now):
        return Run(Stage.CHECKS)
    if now.rehearsed is None or _is_old(now.rehearsed, now):
        return Run(Stage.REHEARSAL)
    return Wait("dry_run", _sentence(now, now.rehearsed))


def _is_old(checks: Checks | None, now: Snapshot) -> bool:
    return checks is None or checks.ago >= now.settings.rehearse


def _sentence(now: Snapshot, rehearsed: Checks) -> str:
    failed = [one.text for one in rehearsed.blockers if one.gate != UNREHEARSED]
    left_out = [one.text for one in rehearsed.blockers if one.gate == UNREHEARSED]
    ends = f"but its reboot would fail: {'; '.join(failed)}" if failed else "and reboot"
    words = f"would ask the strategy {now.settings.strategy} now, {ends}"
    if now.users:
        words += f"; would warn {listed(sorted(now.users))} {format_duration(now.settings.grace)} before"
    if left_out:
        words += f"; not rehearsed, as it has no `locksmith: dry-run`: {listed(left_out)}"
    return words
