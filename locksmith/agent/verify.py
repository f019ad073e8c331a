"""What a machine does after its reboot, before it releases its slot: is it healthy, and is the update there? Pure."""

from locksmith.agent.facts import ShutdownState, Stage
from locksmith.agent.journal import JournalEntry, Phase
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import (
    Release,
    ReportFailure,
    Run,
    Step,
    Wait,
)
from locksmith.lock.records import states
from locksmith.lock.records.claim import FAILED, UNHEALTHY, UNKNOWN_VERSIONS, WENT_WRONG

WHOLE_SYSTEMS = {"update-engine"}
"""Triggers whose updates replace the operating system: after one, os-release says another system than before."""


def booted(now: Snapshot, entry: JournalEntry) -> Step:
    """Check whether the update is there and the machine is healthy. Only then the slot is released."""
    if now.shutdown is ShutdownState.GOING_DOWN:
        return still_up(now)
    return _examined(now) or _judged(now, entry)


def _examined(now: Snapshot) -> Step | None:
    """Check the health, or wait while that check or the hooks after it run; None: they are over."""
    report = now.stage
    if report is None or report.stage not in {Stage.HEALTH, Stage.FINISH}:
        return Run(Stage.HEALTH)
    if not report.over:
        what = "the hooks after the reboot run" if report.stage is Stage.FINISH else "its health is checked"
        return Wait("verifying", f"{states.REBOOTED}{what}")
    return None


def _judged(now: Snapshot, entry: JournalEntry) -> Step:
    sick = "; ".join(one.text for one in now.stage.problems) if now.stage else ""
    state, failure = _gone_wrong(now, entry, sick)
    if state:
        if now.acknowledged is None or (entry.claim.state, entry.claim.failure) != (state, failure):
            return ReportFailure(state, failure)
        if sick:
            return Wait(state, f"{failure}; the slot stays taken until this machine is healthy")
        if now.settings.halts and not now.acknowledged:
            return Wait(
                state, f"{failure}; no unit or check complains now: once you have looked, say `locksmithctl resume`"
            )
    elif sick:
        until = now.now + now.settings.health - now.verifying
        return Wait("verifying", f"{states.NOT_HEALTHY}{sick}", until)
    return Release() if now.finished else Run(Stage.FINISH)


def _gone_wrong(now: Snapshot, entry: JournalEntry, sick: str) -> tuple[str, str]:
    """Say in which way the reboot went wrong, and why; empty: in none. What was said once still counts."""
    if now.stored is not None and entry.claim.state not in WENT_WRONG:
        return now.stored.state, now.stored.failure
    if (failed := _failed(now, entry)) is not None:
        return FAILED, failed
    if sick and (now.verifying >= now.settings.health or entry.claim.state == UNHEALTHY):
        return UNHEALTHY, sick
    if entry.claim.state in WENT_WRONG:
        return entry.claim.state, entry.claim.failure
    return "", ""


def _failed(now: Snapshot, entry: JournalEntry) -> str | None:
    version, before = entry.version, entry.before
    if entry.phase is not Phase.COMMITTED or version in UNKNOWN_VERSIONS:
        return None
    if any(need.version == version and need.judges for need in now.needs):
        return f"rebooted for update {version}, and it is wanted as before"
    if version in now.not_applied:
        return f"rebooted for update {version}, and came up without it"
    if before.trigger in WHOLE_SYSTEMS and before.system and before.system == now.system:
        return f"rebooted for update {version}, and came up with the old system ({now.system}): rolled back"
    return None


def still_up(now: Snapshot) -> Step:
    """Wait while the machine goes down, or may go down. It may still reboot, so its slot stays taken."""
    if now.shutting_down_for < now.settings.limit:
        return Wait("rebooting", _going_down(now), now.now + now.settings.limit - now.shutting_down_for)
    return Wait(
        "stuck",
        f"stuck in shutdown: {_going_down(now)}; the slot stays taken; "
        "see `systemctl list-jobs` and `systemd-inhibit --list` on this machine",
    )


def _going_down(now: Snapshot) -> str:
    if now.shutdown is ShutdownState.GOING_DOWN:
        return "the machine is going down"
    return "the machine may be going down, logind or systemd does not say"
