"""The claim that a machine makes for its own reboot. It is in the reboot journal before the first request."""

import secrets

from locksmith.agent.identity import Member, Target
from locksmith.agent.journal import JournalEntry, PreRebootState, entry_for
from locksmith.agent.obstacles import causes, wanted
from locksmith.agent.snapshot import Snapshot
from locksmith.lock.records import claim as claim_record
from locksmith.lock.records.claim import DAEMON, Claim
from locksmith.util import limits


def new_entry(member: Member, target: Target, snapshot: Snapshot, before: PreRebootState) -> JournalEntry:
    """Make a new claim of the daemon for the first need, with a nonce that no other claim has."""
    need = wanted(snapshot)[0]
    claim = Claim(
        holder=member.machine_id,
        kind=claim_record.REBOOT,
        nonce=secrets.token_hex(16),
        since=snapshot.now,
        who=DAEMON,
        hostname=limits.text(member.hostname),
        version=need.version,
        reason=limits.text(need.reason or f"{need.trigger} {need.version}".strip()),
        rechecked=snapshot.journal.rechecked,
        causes=causes(snapshot, need),
    )
    return entry_for(claim, target, snapshot.boot, by=DAEMON, before=before)
