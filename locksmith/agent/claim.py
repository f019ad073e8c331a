"""The claim a machine makes for its own reboot, as it is written into the journal before anybody is asked."""

import secrets
from dataclasses import replace

from locksmith.agent.decide import wanted
from locksmith.agent.ports import Member, Target
from locksmith.agent.snapshot import Before, Boot, JournalEntry, Phase, Snapshot
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.claim import DAEMON, Claim
from locksmith.util import limits


def new_entry(member: Member, target: Target, snapshot: Snapshot, before: Before) -> JournalEntry:
    """Make a new claim of the daemon's for the first wish, with a nonce that no other claim has."""
    wish = wanted(snapshot)[0]
    claim = Claim(
        holder=member.machine_id,
        kind=claim_record.REBOOT,
        nonce=secrets.token_hex(16),
        since=snapshot.now,
        who=DAEMON,
        hostname=limits.text(member.hostname),
        version=wish.version,
        reason=limits.text(wish.reason or f"{wish.trigger} {wish.version}".strip()),
        rechecked=snapshot.journal.rechecked,
    )
    return entry_for(claim, target, snapshot.boot, by=DAEMON, before=before)


def entry_for(claim: Claim, target: Target, boot: Boot, *, by: str, before: Before) -> JournalEntry:
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
