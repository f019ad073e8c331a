"""Which reboots went wrong: derived from the claims and from the machines that are present, never stored. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from locksmith.lock.records.claim import DAEMON, HELD, WENT_WRONG, Claim
from locksmith.lock.records.incident import LOST, ORPHANED, Incident
from locksmith.lock.records.node import TTL, Node
from locksmith.util.text import plain
from locksmith.util.words import quoted

ORPHAN_WORDS = (
    "it has rebooted, and its reboot journal does not know this claim (was /var/lib/locksmith lost?); when it is well, "
    "`locksmithctl unlock --force {}` releases its slot"
)


def incidents(
    claims: Iterable[Claim], present: Mapping[str, Node | None], noted: Iterable[Incident], now: datetime
) -> list[Incident]:
    """Tell what went wrong and was not acknowledged: of the holders' claims, and of those whose slot has expired.

    `present` has the machines that are, by their ids (None: what they say cannot be read). Only the reboot of a daemon,
    or of a FleetLock client, can be lost: an operator's lock or a legacy node was never present.
    """
    judged = ((claim, _incident(claim, present, now)) for claim in claims)
    found = {claim.nonce: incident for claim, incident in judged if incident is not None}
    # On v2 what is noted may be of a slot that is still held.
    return [*found.values(), *(one for one in noted if one.claim.nonce not in found)]


def is_orphan(claim: Claim, machine: Node | None) -> bool:
    """Whether a machine's claim has outlived what its machine remembers: no reboot journal releases it any more.

    A daemon shows itself before it commits its own. Where the tool made it, a presence from before says nothing of it.
    """
    if machine is None or not claim.is_journaled:
        return False
    return (claim.who == DAEMON or machine.since > claim.held_since) and machine.has_lost(claim)


def _incident(claim: Claim, present: Mapping[str, Node | None], now: datetime) -> Incident | None:
    if not claim.is_machines or claim.acknowledged:
        return None
    if claim.state in WENT_WRONG:
        return Incident(claim, claim.state, plain(claim.failure))
    if is_orphan(claim, present.get(claim.holder)):
        return Incident(claim, ORPHANED, ORPHAN_WORDS.format(quoted(claim.holder)))
    # One that has just got its slot shows itself at the latest before its point of no return.
    young = claim.state == HELD and now - claim.held_since < timedelta(seconds=TTL)
    if claim.shows_presence and claim.holder not in present and not young:
        return Incident(claim, LOST, "it has not come back")
    return None
