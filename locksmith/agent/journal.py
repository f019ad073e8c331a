"""The reboot journal of one machine, as values: the claim that it made, and what became of earlier ones. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from locksmith.agent.facts import Boot
from locksmith.agent.identity import Target
from locksmith.lock.records.cause import OPERATOR, Cause, cause_of
from locksmith.lock.records.claim import DAEMON, Claim
from locksmith.lock.records.past import LastReboot, Past, merged

TAKEN_OVER = "locksmithd (taken over from locksmithctl)"
"""The owner of an operator's claim, as soon as the daemon releases that claim."""


class Phase(StrEnum):
    """How far the claim in the reboot journal has come."""

    REQUESTED = "requested"
    """Permission is asked for, or given: the claim can still be released without a reboot."""
    COMMITTED = "committed"
    """Past the point of no return: the reboot was asked for, or was about to be."""


class Hooks(StrEnum):
    """How far the hooks of the claim in the reboot journal have come."""

    NONE = ""
    """None has begun: nothing has to be undone."""
    BEGUN = "begun"
    """Those before the reboot have begun."""
    PREPARED = "prepared"
    """Those before the reboot have all succeeded."""
    FINISHED = "finished"
    """Those after the reboot have all succeeded: only the slot is left to be released."""


@dataclass(frozen=True, slots=True)
class PreRebootState:
    """This machine before its reboot, to compare with the machine after it."""

    trigger: str = ""
    """The trigger that needed the reboot."""
    system: str = ""
    """The operating system, as os-release(5) names it (empty: not named)."""
    failed_units: tuple[str, ...] = ()
    """Units that had failed before. Their failure after the reboot says nothing."""
    version: str = ""
    """The version that was needed at the commit. It may have come while the claim waited (empty: the claim's)."""
    causes: tuple[Cause, ...] = ()
    """All that wanted the reboot at the commit, first what it is for (empty: what the claim says)."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """The claim that this machine made, with all that its release needs, even if the configuration changes."""

    claim: Claim
    strategy: str
    group: str
    api: int
    endpoints: tuple[str, ...]
    phase: Phase
    boot: Boot
    """The boot in which the claim was made."""
    by: str
    """The program that made the claim (`locksmithd`, `locksmithctl`)."""
    hooks: Hooks = Hooks.NONE
    before: PreRebootState = PreRebootState()
    cluster: str = ""
    """The etcd cluster in which the claim was made (empty: not known)."""
    unsent: bool = False
    """True: no write of the semaphore was sent to the store, and no request to the server, for this claim.

    So it has no slot, now or later. Of a store that is known only while it had given no answer to the claim's program.
    """
    client: str = ""
    """The configured id of this machine at the server where the claim was made (empty: derived)."""

    @property
    def version(self) -> str:
        """What this reboot is for, as far as is known: at the point of no return, or before it at the claim."""
        return self.before.version or self.claim.version

    @property
    def causes(self) -> tuple[Cause, ...]:
        """All that wanted this reboot, as far as is known."""
        found = self.before.causes or self.claim.causes
        return found or (cause_of(self.before.trigger if self.by == DAEMON else OPERATOR, self.version),)

    @property
    def is_operators(self) -> bool:
        """Whether `locksmithctl` made this claim, and the daemon has not taken it over."""
        return self.by not in {DAEMON, TAKEN_OVER}


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A reboot that did not happen."""

    at: datetime
    reason: str
    version: str = ""
    tries: int = 1
    """How many reboots for this version have failed in a row."""


@dataclass(frozen=True, slots=True)
class Journal:
    """The machine's memory of its reboots."""

    entry: JournalEntry | None = None
    """The claim that is not released yet."""
    failure: FailedAttempt | None = None
    """The last reboot, if it failed."""
    done: LastReboot | None = None
    """The last reboot that happened."""
    earlier: tuple[LastReboot, ...] = ()
    """The reboots before that one, the last of them at the end."""
    rechecked: datetime | None = None
    """When `locksmithctl recheck` last made the machine forget all of these."""

    @property
    def past(self) -> tuple[LastReboot, ...]:
        """Every reboot that is remembered, the last one at the end."""
        return (*self.earlier, self.done) if self.done else self.earlier

    def after(self, done: LastReboot | None = None, past: Past = ()) -> "Journal":
        """Give the reboot journal without its claim, after a reboot that is done; what the group remembers is added."""
        if done is None and not past:
            return replace(self, entry=None)
        # The group's word comes first: what it denies, this machine must not ask for again at once.
        remembered = merged(past, self.past)
        if done is None:
            return Journal(done=remembered[-1], earlier=remembered[:-1])
        return Journal(done=done, earlier=tuple(one for one in remembered if one.nonce != done.nonce or not one.nonce))


def entry_for(claim: Claim, target: Target, boot: Boot, *, by: str, before: PreRebootState) -> JournalEntry:
    """Make the entry for a claim that the named program is about to make in this boot."""
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
        client=target.client,
    )


def target_of(entry: JournalEntry) -> Target:
    """Give the lock that a claim asked, even if another lock is configured now."""
    return Target(entry.strategy, entry.group, entry.api, entry.endpoints, entry.cluster, entry.client)


def done_by(entry: JournalEntry, now: datetime) -> LastReboot:
    """Make the memory of a claim's reboot, which has happened."""
    return LastReboot(entry.version, now, entry.claim.nonce, entry.causes)
