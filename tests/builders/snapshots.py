"""Snapshots of a machine, from the first need of a reboot to the boot after it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from locksmith.agent.facts import Blocker, Boot, Checks, RebootCall, RebootNeed, Report, Stage, WindowSight
from locksmith.agent.journal import TAKEN_OVER, Hooks, Journal, JournalEntry, Phase, PreRebootState
from locksmith.agent.settings import Settings
from locksmith.agent.snapshot import Snapshot
from locksmith.lock.answer import Denied, Granted
from locksmith.lock.records.claim import REBOOT, Claim
from tests.harness.windows import original

NOW = datetime(2026, 5, 1, 2, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

THIS_BOOT, LAST_BOOT = Boot("boot-2"), Boot("boot-1")
OPEN, CLOSED = original("02:00", "30m"), original("03:00", "30m")
WANTED = (RebootNeed("update_engine", "1.2.3", NOW),)
DENIED, GRANTED = Denied("slot", "held by n2"), Granted()

NOTHING = Snapshot(NOW, THIS_BOOT, Settings(), orphaned_for=MINUTE, window=WindowSight(OPEN))
ALERT = Blocker("alerts", "an alert fires: NodeDown")
WELL = Report(Stage.HEALTH, SECOND, over=True)
SICK = Report(Stage.HEALTH, SECOND, over=True, problems=(Blocker("health", "x.service has failed"),))


def entry(
    phase: Phase = Phase.REQUESTED, boot: Boot = THIS_BOOT, by: str = "locksmithd", hooks: Hooks = Hooks.NONE
) -> JournalEntry:
    claim = Claim("n1", REBOOT, "nonce", NOW, who="alice")
    return JournalEntry(claim, "etcd-lock", "", 3, ("http://127.0.0.1:2379",), phase, boot, by, hooks)


def called(ago: timedelta, refused: str | None = None, **more) -> Snapshot:
    return replace(REBOOTING, call=RebootCall(ago, refused), observed_ago=ago, **more)


def configured(snapshot: Snapshot, **more) -> Snapshot:
    if "window" in more:
        snapshot = replace(snapshot, window=WindowSight(more.pop("window")))
    return replace(snapshot, settings=replace(snapshot.settings, **more))


NEEDING = replace(NOTHING, needs=WANTED)
REQUESTED = replace(NEEDING, journal=Journal(entry()), checks=Checks(SECOND), prepared=True)
GRANTS = replace(REQUESTED, answer=GRANTED)
COMMITTED = replace(NEEDING, journal=Journal(entry(Phase.COMMITTED)))
REBOOTING = replace(COMMITTED, committed_by_this_process=True)
BY_HAND = replace(NEEDING, journal=Journal(entry(by="locksmithctl")))
TAKEN_COMMITTED = replace(NEEDING, journal=Journal(entry(Phase.COMMITTED, by=TAKEN_OVER)))
BOOTED = replace(NOTHING, journal=Journal(entry(Phase.COMMITTED, LAST_BOOT)))
REBOOTED = replace(BOOTED, stage=WELL, finished=True)
FOR_UPDATE = replace(
    entry(Phase.COMMITTED, LAST_BOOT),
    claim=replace(entry().claim, version="1.2.3"),
    before=PreRebootState("update-engine", "flatcar 1.0"),
)
