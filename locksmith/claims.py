"""The claim a machine makes for its own reboot, as it is written into the journal before anybody is asked."""

import secrets

from locksmith import fleet
from locksmith.fleet import Claim
from locksmith.snapshot import JournalEntry, Phase, Snapshot
from locksmith.surroundings import Member, Target

PROGRAM = "locksmithd"


def new_entry(member: Member, target: Target, snapshot: Snapshot) -> JournalEntry:
    """Make a new claim for the first wish, with a nonce that no other claim has."""
    wish = snapshot.wishes[0]
    claim = Claim(
        holder=member.machine_id,
        kind=fleet.REBOOT,
        nonce=secrets.token_hex(16),
        since=snapshot.now,
        who=PROGRAM,
        hostname=member.hostname,
        boot_id=snapshot.boot.boot_id,
        version=wish.version,
        reason=f"{wish.trigger} {wish.version}".strip(),
    )
    return JournalEntry(
        claim=claim,
        strategy=target.strategy,
        group=target.group,
        api=target.api,
        endpoints=target.endpoints,
        phase=Phase.REQUESTED,
        boot=snapshot.boot,
        by=PROGRAM,
    )


def target_of(entry: JournalEntry) -> Target:
    """Say whose permission a claim asked for, whatever the configuration says by now."""
    return Target(entry.strategy, entry.group, entry.api, entry.endpoints)
