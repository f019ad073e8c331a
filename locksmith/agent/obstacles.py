"""Why a machine may not ask for a slot now. Pure."""

from datetime import timedelta

from locksmith.agent.facts import RebootNeed, ShutdownState
from locksmith.agent.journal import Hooks, JournalEntry, Phase
from locksmith.agent.snapshot import Snapshot
from locksmith.agent.steps import (
    Idle,
    Wait,
)
from locksmith.lock.records.cause import OPERATOR, Cause, cause_of, causes_of
from locksmith.lock.records.claim import UNKNOWN_VERSIONS
from locksmith.lock.records.past import (
    LastReboot,
    next_allowed,
    repeated,
    repeated_words,
    too_many_words,
)
from locksmith.window.duration import format_duration

LONGEST_RETRY = timedelta(hours=4)
"""The longest pause after a failed reboot, unless the first is longer."""


def wanted(now: Snapshot) -> tuple[RebootNeed, ...]:
    """Give the needs that may cause a reboot: without those that this machine rebooted for a short while ago.

    If triggers have caused as many reboots as they may in 24 hours, only the operator's request is left.
    """
    new = tuple(need for need in now.needs if _met(now, need) is None)
    if next_allowed(now.journal.past, now.now, now.settings.max_per_day) is None:
        return new
    return tuple(need for need in new if need.trigger == OPERATOR)


def causes(now: Snapshot, need: RebootNeed) -> tuple[Cause, ...]:
    """Give the causes of a reboot for a need: the reboot meets every other need too."""
    return causes_of((one.trigger, one.version) for one in (need, *now.needs))


def _met(now: Snapshot, need: RebootNeed) -> LastReboot | None:
    """Give the reboot that was for the same cause as a need a short while ago."""
    return repeated(_cause(need), now.journal.past, now.now, now.settings.repeat)


def _cause(need: RebootNeed) -> Cause:
    return cause_of(need.trigger, need.version)


def latest(now: Snapshot, entry: JournalEntry) -> RebootNeed:
    """Give what the reboot of a claim is for by now: the need of its own trigger, or else the first need."""
    needs = wanted(now)
    claimed = RebootNeed(entry.before.trigger, entry.claim.version, entry.claim.since)
    return next((need for need in needs if need.trigger == claimed.trigger), needs[0] if needs else claimed)


def first_obstacle(now: Snapshot) -> Idle | Wait | None:
    """Name the first reason not to ask for permission, the most important first."""
    if not now.needs:
        return Wait("trigger", "; ".join(now.errors)) if now.errors else Idle()
    if now.operator:
        return Wait("operator", "an operator's reboot is under way")
    if not wanted(now):
        return _met_already(now)
    return _bars(now) or _failed_lately(now) or _outside_window(now) or _gate(now)


def _bars(now: Snapshot) -> Wait | None:
    """Name what forbids every reboot of this machine, for all needs."""
    if now.shutdown is ShutdownState.GOING_DOWN:
        return Wait("going_down", "the machine is going down already, by another order")
    if now.shutdown is ShutdownState.UNKNOWN:
        return Wait("logind", "logind or systemd does not say whether the machine is going down")
    if now.clone:
        return Wait(
            "clone",
            f"{now.clone} has this machine's id too (a copied image?), so neither reboots: give one of them an id of "
            "its own (remove /etc/machine-id there and run `systemd-machine-id-setup`), and restart locksmithd on both",
        )
    return None


def _met_already(now: Snapshot) -> Wait:
    """Say why no need may cause a reboot, and until when: of what was met, the first that may be repeated."""
    met = {need: last for need in now.needs if (last := _met(now, need)) is not None}
    if len(met) < len(now.needs):
        until = next_allowed(now.journal.past, now.now, now.settings.max_per_day)
        return Wait("max_per_day", too_many_words(now.journal.past, now.now), until)
    first = min(met, key=lambda need: met[need].at)
    return Wait("repeated", repeated_words(_cause(first)), met[first].at + now.settings.repeat)


def _failed_lately(now: Snapshot) -> Wait | None:
    failure, settings = now.journal.failure, now.settings
    if failure is None or is_another(wanted(now)[0].version, failure.version):
        return None
    if 0 < settings.tries <= failure.tries:
        return Wait(
            "given_up",
            f"{failure.tries} tries to reboot failed, the last one: {failure.reason}; `locksmithctl recheck` on this "
            "machine has it try again",
        )
    longest = max(LONGEST_RETRY, settings.retry)
    retry = min(longest, settings.retry * 2 ** min(failure.tries - 1, 16))
    # A failure from far ahead was written by a clock that has been set back since: it must not delay for as long.
    if abs(now.now - failure.at) >= retry:
        return None
    return Wait("retry", f"the last reboot failed: {failure.reason}", failure.at + retry)


def is_another(version: str, than: str) -> bool:
    """Whether two versions are known to differ."""
    return version != than and not {version, than} & UNKNOWN_VERSIONS


def _gate(now: Snapshot) -> Wait | None:
    """Name the first blocker of the cheap gates."""
    return next((Wait(one.gate, one.text, one.until) for one in now.blockers), None)


def _outside_window(now: Snapshot) -> Wait | None:
    """Name the window that is closed, or that has too little left for a reboot to begin."""
    if now.window.error:
        return Wait("window", now.window.error)
    windows = now.window.windows
    if windows is None:
        return None
    least = timedelta(0) if _has_begun(now) else now.settings.min_remaining
    if windows.contains(now.now, least):
        return None
    text, opens = "outside the reboot window", windows.next_open(now.now, least)
    if windows.contains(now.now):
        text = f"too little of the reboot window is left: a reboot begins with {format_duration(least)} at least"
    return Wait("window", text if opens else f"{text}, and none is to come", opens)


def _has_begun(now: Snapshot) -> bool:
    """Whether hooks, warning or the reboot itself are under way: from then on the window has to be open, no more."""
    entry = now.journal.entry
    if entry is None:
        return False
    return entry.phase is Phase.COMMITTED or entry.hooks is not Hooks.NONE or now.warned is not None


def splayed(now: Snapshot) -> Wait | None:
    """Name this machine's own moment in the window, if it is still to come."""
    windows, settings = now.window.windows, now.settings
    moment = windows and settings.splay.asks_from(windows, now.now, settings.min_remaining)
    text = "the machines spread over the window, and this one's moment in it is to come"
    return Wait("splay", text, moment) if moment else None
