"""The reboot journal of one machine, as values: the claim that it made, and what became of earlier ones. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from locksmith.agent.facts import Boot
from locksmith.agent.identity import Target
from locksmith.lock.answer import LastReboot
from locksmith.lock.records.claim import DAEMON, Claim

TAKEN_OVER = "locksmithd (taken over from locksmithctl)"
"""Whose an operator's claim is from the moment on at which the daemon gives it back."""


class Phase(StrEnum):
    """How far the journal's claim has come."""

    REQUESTED = "requested"
    """Permission is asked for, or given: it can still be given back without a reboot."""
    COMMITTED = "committed"
    """Past the point of no return: the reboot was asked for, or was about to be."""


class Hooks(StrEnum):
    """How far the hooks of the journal's claim have come."""

    NONE = ""
    """None has begun: nothing has to be undone."""
    BEGUN = "begun"
    """Those before the reboot have begun."""
    PREPARED = "prepared"
    """Those before the reboot have all succeeded."""
    FINISHED = "finished"
    """Those after the reboot have all succeeded: only the slot is left to be given back."""


@dataclass(frozen=True, slots=True)
class PreRebootState:
    """This machine before its reboot, which proves afterwards that it was one.

    `trigger` wanted the reboot; `system` is what os-release(5) says of the operating system (empty: nothing);
    `failed_units` had failed then, and their failure afterwards says nothing. `version` is what was wanted then, which
    may have come while the claim waited for its slot (empty: the claim's).
    """

    trigger: str = ""
    system: str = ""
    failed_units: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The claim this machine made, and all that is needed to give it back whatever the configuration says by then.

    `by` names the program that made it (`locksmithd`, `locksmithctl`); `boot` is the boot it was made in; `cluster` the
    etcd cluster, where that was known.
    """

    claim: Claim
    strategy: str
    group: str
    api: int
    endpoints: tuple[str, ...]
    phase: Phase
    boot: Boot
    by: str
    hooks: Hooks = Hooks.NONE
    before: PreRebootState = PreRebootState()
    cluster: str = ""

    @property
    def version(self) -> str:
        """What this reboot is for, as far as is known: at the point of no return, or before it at the claim."""
        return self.before.version or self.claim.version

    @property
    def is_operators(self) -> bool:
        """Whether `locksmithctl` made this claim, and the daemon has not taken it over."""
        return self.by not in {DAEMON, TAKEN_OVER}


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A reboot that did not come about: the last of so many `tries` for the same `version`."""

    at: datetime
    reason: str
    version: str = ""
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Journal:
    """The machine's memory: at most one claim, the last failed reboot, and the last that was made.

    `rechecked` is when an operator last had it forget both (`locksmithctl recheck`).
    """

    entry: JournalEntry | None = None
    failure: FailedAttempt | None = None
    done: LastReboot | None = None
    rechecked: datetime | None = None


def entry_for(claim: Claim, target: Target, boot: Boot, *, by: str, before: PreRebootState) -> JournalEntry:
    """Write down a claim that is about to be made, in this boot, by the program of this name."""
    return JournalEntry(
        claim=replace(claim, boot_id=boot.boot_id, userspace=boot.userspace, system=before.system),
        strategy=target.strategy,
        group=target.group,
        api=target.api,
        endpoints=target.endpoints,
        phase=Phase.REQUESTED,
        boot=boot,
        by=by,
        before=before,
    )


def target_of(entry: JournalEntry) -> Target:
    """Say whose permission a claim asked for, whatever the configuration says by now."""
    return Target(entry.strategy, entry.group, entry.api, entry.endpoints, entry.cluster)
