"""The diff: a snapshot in, one step out. Pure: no clock, no IO, no await.

    boot -> releasing -> idle -> wanted -> waiting (window | in line) -> requested -> committed -> rebooting -> boot

Whatever is in doubt ends in a step that does not reboot.
"""

from dataclasses import dataclass
from datetime import datetime

from locksmith.snapshot import DAEMON, Denied, Granted, JournalEntry, Phase, RebootCall, ShutdownState, Snapshot


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing wants a reboot."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A reboot (or a give-back) has to wait: why, in one word for metrics and a sentence, and until when if known."""

    code: str
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The strategy never reboots and nothing is left to give back: the daemon may end."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Give back what this machine held before it had a journal, once after a boot."""


@dataclass(frozen=True, slots=True)
class Request:
    """Ask the strategy for permission."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Pass the point of no return."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """Ask logind for the reboot."""


@dataclass(frozen=True, slots=True)
class Release:
    """The machine has rebooted: give the permission back."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take the request back without a reboot; `failed`: the reboot was asked for and did not happen."""

    reason: str
    failed: bool = False


Step = Idle | Wait | Finish | Adopt | Request | Commit | Reboot | Release | Withdraw


def decide(now: Snapshot) -> Step:
    """Choose the one next step."""
    entry = now.journal.entry
    if entry is None:
        return _without_claim(now)
    if entry.boot != now.boot:
        return Release()
    if now.shutdown is ShutdownState.GOING_DOWN:
        return _still_up(now)
    if entry.by != DAEMON:
        return _with_operators_claim(now, entry)
    if entry.phase is Phase.COMMITTED:
        return _committed(now)
    return _with_claim(now)


def _without_claim(now: Snapshot) -> Step:
    if not now.settings.reboots:
        return Finish()
    if now.adopts:
        return Adopt()
    obstacle = _obstacle(now)
    if obstacle is not None:
        return obstacle
    if now.settings.dry_run:
        return Wait("dry_run", f"dry run: would ask the strategy {now.settings.strategy} now, and reboot")
    return Request()


def _with_claim(now: Snapshot) -> Step:
    reason = _no_longer(now)
    if reason is not None:
        return Withdraw(reason)
    match now.answer:
        case None:
            return Request()
        case Denied(text=text, lost=True):
            return Withdraw(text, failed=True)
        case Denied(code, text):
            return Wait(code, text)
        case Granted():
            return Commit()


def _no_longer(now: Snapshot) -> str | None:
    """Say why a request that was made would not be made now."""
    if now.retargeted:
        return "the configuration names another strategy, group or store now"
    if now.settings.dry_run or not now.settings.reboots:
        return "the configuration no longer lets this machine reboot"
    obstacle = _obstacle(now)
    if isinstance(obstacle, Wait):
        return obstacle.text
    return None if obstacle is None else "nothing wants a reboot any more"


def _committed(now: Snapshot) -> Step:
    """Past the point of no return there is only the reboot, or the proof that it did not and will not happen."""
    if now.call is not None:
        return _called(now, now.call)
    if now.shutdown is ShutdownState.UNKNOWN:
        return _still_up(now)
    if now.committed_here:
        return _last_moment(now)
    if now.unattended < now.settings.settle:
        until = now.now + now.settings.settle - now.unattended
        return Wait("rebooting", "a reboot may have been asked for before this daemon started", until)
    return Withdraw("the daemon ended before the reboot was asked for", failed=True)


def _last_moment(now: Snapshot) -> Step:
    """Look once more, behind the commit: reboot unless something came between, or that look took too long."""
    if now.look_age > now.settings.fresh:
        return Withdraw(f"the last look is {now.look_age.total_seconds():.0f} s old: everything is looked at again")
    reason = _no_longer(now)
    return Reboot() if reason is None else Withdraw(f"at the last moment: {reason}")


def _called(now: Snapshot, call: RebootCall) -> Step:
    if call.refused is not None:
        return Withdraw(call.refused, failed=True)
    if now.shutdown is ShutdownState.UNKNOWN:
        return _still_up(now)
    if call.ago < now.settings.settle:
        return Wait("rebooting", "the reboot was asked for", now.now + now.settings.settle - call.ago)
    return Withdraw("logind was asked for the reboot, and neither logind nor systemd is shutting down", failed=True)


def _still_up(now: Snapshot) -> Step:
    """Wait while it is going down, by whosever order, or may be: it has not given up rebooting, so the slot stays."""
    if now.down_for < now.settings.limit:
        return Wait("rebooting", _going_down(now), now.now + now.settings.limit - now.down_for)
    return Wait(
        "stuck",
        f"stuck in shutdown: {_going_down(now)}; the slot stays taken; "
        "see `systemctl list-jobs` and `systemd-inhibit --list` on this machine",
    )


def _going_down(now: Snapshot) -> str:
    if now.shutdown is ShutdownState.GOING_DOWN:
        return "the machine is going down"
    return "the machine may be going down, logind or systemd does not say"


def _with_operators_claim(now: Snapshot, entry: JournalEntry) -> Step:
    """Leave a claim of `locksmithctl reboot` alone while that runs; give back what it can no longer give back."""
    if now.operator:
        return Wait("operator", f"a reboot by {entry.claim.who or 'an operator'} is under way")
    if entry.phase is Phase.COMMITTED and now.shutdown is ShutdownState.UNKNOWN:
        return _still_up(now)
    if entry.phase is Phase.COMMITTED and now.unattended < now.settings.settle:
        until = now.now + now.settings.settle - now.unattended
        return Wait("rebooting", "a reboot was asked for by an operator", until)
    return Withdraw("the operator's reboot did not happen")


def _obstacle(now: Snapshot) -> Idle | Wait | None:
    """Name what stands between a wish and the request for permission, the most telling first."""
    if not now.wishes:
        return Wait("trigger", "; ".join(now.doubts)) if now.doubts else Idle()
    if now.shutdown is ShutdownState.GOING_DOWN:
        return Wait("going_down", "the machine is going down already, by somebody else's order")
    if now.shutdown is ShutdownState.UNKNOWN:
        return Wait("logind", "logind or systemd does not say whether the machine is going down")
    if now.twin:
        return Wait(
            "clone",
            f"{now.twin} has this machine's id too (a copied image?), so neither reboots: give one of them an id of "
            "its own (remove /etc/machine-id there and run `systemd-machine-id-setup`), and restart locksmithd on both",
        )
    return _failed_lately(now) or _outside_window(now)


def _failed_lately(now: Snapshot) -> Wait | None:
    failure, retry = now.journal.failure, now.settings.retry
    # A failure from far ahead was written by a clock that has been set back since: it must not delay for as long.
    if failure is None or abs(now.now - failure.at) >= retry:
        return None
    return Wait("retry", f"the last reboot failed: {failure.reason}", failure.at + retry)


def _outside_window(now: Snapshot) -> Wait | None:
    window = now.settings.window
    if window is None or window.contains(now.now):
        return None
    return Wait("window", "outside the reboot window", window.next_open(now.now))
