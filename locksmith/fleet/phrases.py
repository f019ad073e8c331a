"""How groups, holders of slots and machines are called, for sentences and tables. Pure."""

from datetime import datetime, timedelta

from locksmith.fleet.holders import HolderKind, HolderStatus
from locksmith.lock.records import states
from locksmith.lock.records.claim import FLEETLOCK, Claim
from locksmith.lock.records.member import STOPPED, Member
from locksmith.lock.records.node import TTL, Node
from locksmith.util.words import clock, span


def group_name(group: str) -> str:
    """Name a group in a sentence."""
    return f"group {group}" if group else "the default group"


def holder_words(holding: HolderStatus, now: datetime) -> str:
    """Say in a few words who holds a slot, and how long: `n2 for 41 s (rebooting)`."""
    long = f" for {span(now - holding.since)}" if holding.since else ""
    return f"{holding.name}{long} ({how_words(holding, now)})"


def how_words(holding: HolderStatus, now: datetime) -> str:
    """Say in a few words what a slot is held for."""
    claim, node = holding.claim, holding.node
    who, reason = (claim.who or "an operator", claim.reason) if claim else ("an operator", "")
    return {
        HolderKind.HELD: "about to reboot",
        HolderKind.REBOOTING: "rebooting",
        HolderKind.OVERDUE: f"OVERDUE: {overdue_words(node, now) if node else 'rebooting'}",
        HolderKind.VERIFYING: f"verifying{f': {node.reason}' if node and node.reason else ''}",
        HolderKind.UNHEALTHY: f"UNHEALTHY: {claim.failure if claim else ''}{_seen(claim)}",
        HolderKind.FAILED: f"FAILED: {claim.failure if claim else ''}{_seen(claim)}",
        HolderKind.LOST: f"LOST: not seen for {span_of_presence()} or longer{_seen(claim)}",
        HolderKind.ORPHANED: f"ORPHANED: it has rebooted, and does not know its claim any more{_seen(claim)}",
        HolderKind.COMMAND: f"runs a command of {who}{f': {reason}' if reason else ''}",
        HolderKind.UNSEEN: f"a {claim.kind if claim else ''} that {who} ordered; the machine shows no presence",
        HolderKind.MANUAL: f"locked by {who}{f': {reason}' if reason else ''}",
        HolderKind.UNKNOWN: f"a {claim.kind if claim else ''} claim of {who}{f': {reason}' if reason else ''}",
        HolderKind.LEGACY: "without a record: a legacy node, or a legacy lock",
        HolderKind.UNREADABLE: "its record cannot be read",
    }[holding.how]


def overdue_words(node: Node, now: datetime) -> str:
    """Say that a reboot takes longer than it may, and when its machine counts as lost."""
    limit = (
        f"{'its limit' if node.strategy == FLEETLOCK else 'reboot.limit'} ({span(timedelta(seconds=node.lasts - TTL))})"
    )
    if node.lost_at is None or node.state == states.STUCK:
        return f"it has been going down for longer than {limit}"
    return f"lost at {clock(node.lost_at, now)} unless it is back, as its reboot takes longer than {limit}"


def _seen(claim: Claim | None) -> str:
    return f" (acknowledged {claim.acknowledged})" if claim is not None and claim.acknowledged else ""


def absent_words(member: Member, now: datetime) -> str:
    """Say since when a machine is gone: `not seen since 22:02`."""
    if member.gone is None:
        return f"not seen for {span_of_presence()} or longer"
    if member.how == STOPPED:
        return f"its locksmithd was stopped at {clock(member.gone, now)}"
    return f"not seen since {clock(member.gone, now)}"


def span_of_presence() -> str:
    """Say how long a machine may say nothing before it counts as gone."""
    return f"{TTL / 60:.0f} min"
