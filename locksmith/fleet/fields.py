"""What scripts get of a group, its machines, its queue and its holders: JSON of the tool and of the server. Pure.

docs/locksmithctl.md has the names.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from locksmith.errors import CorruptValueError
from locksmith.fleet.case import Case
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, HolderStatus, holder_statuses
from locksmith.lock.records.claim import Claim
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.semaphore import Semaphore
from locksmith.lock.records.share import Share
from locksmith.lock.records.waiter import Waiter
from locksmith.util import records

Held = Claim | CorruptValueError | None
"""The record of an id that holds a slot: None, there is none."""


def node_fields(node: Node) -> dict[str, object]:
    """Give what a machine says of itself."""
    return {
        "id": node.machine_id,
        "hostname": node.hostname,
        "group": node.group,
        "strategy": node.strategy,
        "boot_id": node.boot_id,
        "version": node.version,
        "state": node.state,
        "code": node.code,
        "reason": node.reason,
        "since": records.moment(node.since),
        "until": records.optional_moment(node.until) or None,
        "need": {
            "trigger": node.need,
            "version": node.need_version,
            "since": records.optional_moment(node.need_since) or None,
            "reasons": list(node.need_reasons),
        }
        if node.need
        else None,
        "window": {
            "opens": records.moment(node.window_opens),
            "closes": records.optional_moment(node.window_closes) or None,
            "moment": records.optional_moment(node.window_moment) or None,
        }
        if node.window_opens
        else None,
        "clone": node.clone or None,
        "dry_run": node.dry_run,
    }


def holder_fields(holding: HolderStatus) -> dict[str, object]:
    """Give the status of a holder."""
    return {
        "id": holding.holder,
        "name": holding.name,
        "how": holding.how.value,
        "since": records.optional_moment(holding.since) or None,
        "lost_at": records.optional_moment(_lost_at(holding)) or None,
        "claim": claim_fields(holding.claim),
    }


def _lost_at(holding: HolderStatus) -> datetime | None:
    return holding.node.lost_at if holding.node and holding.how is HolderKind.OVERDUE else None


def member_fields(member: Member) -> dict[str, object]:
    """Give what is remembered of a machine that is gone."""
    return {
        "id": member.machine_id,
        "hostname": member.hostname,
        "gone": records.optional_moment(member.gone) or None,
        "how": member.how or None,
        "need": {"what": member.need, "since": records.optional_moment(member.need_since) or None}
        if member.need
        else None,
    }


def waiter_fields(waiter: Waiter) -> dict[str, object]:
    """Give a place in the queue."""
    return {
        "id": waiter.holder,
        "hostname": waiter.hostname,
        "kind": waiter.kind,
        "who": waiter.who,
        "since": records.moment(waiter.since),
        "reason": waiter.reason,
        "version": waiter.version,
    }


def order_fields(order: Order) -> dict[str, object]:
    """Give an operator's order, or the pause after a reboot."""
    return {
        "who": order.who,
        "since": records.moment(order.since),
        "until": records.optional_moment(order.until) or None,
        "reason": order.reason,
        "fenced_max": order.slots,
    }


def incident_fields(incident: Incident) -> dict[str, object]:
    """Give a reboot that went wrong."""
    return {"id": incident.claim.holder, "name": incident.name, "how": incident.how, "why": incident.why}


def group_fields(view: GroupView, now: datetime) -> dict[str, object]:
    """Give a group's sums."""
    held = holder_statuses(view)
    return {
        "group": view.group,
        "max": view.semaphore.max,
        "available": view.semaphore.available,
        "share": share_fields(view.share, view.semaphore.max),
        "held": len(held),
        "waiting": len(view.waiters),
        "present": len(view.machines),
        "lost": sum(one.how is HolderKind.LOST for one in held),
        "overdue": sum(one.how is HolderKind.OVERDUE for one in held),
        "unhealthy": sum(one.how is HolderKind.UNHEALTHY for one in held),
        "failed": sum(one.how is HolderKind.FAILED for one in held),
        "orphaned": sum(one.how is HolderKind.ORPHANED for one in held),
        "dry_run": sum(node.dry_run for node in view.machines.values()),
        "freeze": order_fields(view.freeze) if view.freeze else None,
        "spacing": order_fields(view.spacing) if view.spacing else None,
        "held_back": {machine: order_fields(order) for machine, order in sorted(view.held_back.items())},
        "incidents": [incident_fields(one) for one in view.incidents(now)],
    }


def view_fields(view: GroupView, now: datetime) -> dict[str, object]:
    """Give everything about a group."""
    return {
        **group_fields(view, now),
        "holders": [holder_fields(one) for one in holder_statuses(view)],
        "waiters": [waiter_fields(waiter) for waiter in view.waiters],
        "absent": [member_fields(member) for _, member in sorted(view.absent.items())],
        "nodes": [node_fields(node) for _, node in sorted(view.machines.items())],
        "problems": [str(problem) for problem in view.problems],
    }


def share_fields(share: Share | CorruptValueError | None, slots: int) -> dict[str, object] | None:
    """Give what scripts may know of a share and its `max`; None where there is none that can be read."""
    return {"percent": share.percent, "void": share.is_void(slots)} if isinstance(share, Share) else None


def claim_fields(claim: Held) -> dict[str, str] | None:
    """Give what scripts may know of a claim; None where there is no record that can be read."""
    if not isinstance(claim, Claim):
        return None
    return {
        "kind": claim.kind,
        "who": claim.who,
        "hostname": claim.hostname,
        "since": records.moment(claim.since),
        "state": claim.state,
        "reason": claim.reason,
        "version": claim.version,
        **({"failure": claim.failure} if claim.failure else {}),
        **({"acknowledged": claim.acknowledged} if claim.acknowledged else {}),
    }


def slots_fields(
    semaphore: Semaphore,
    claims: Mapping[str, Claim | CorruptValueError | None],
    shared: Share | CorruptValueError | None,
) -> dict[str, object]:
    """Give the slots of a group, who holds them, and the share that `max` follows."""
    return {
        "available": semaphore.available,
        "max": semaphore.max,
        "holders": [_slot_fields(holder, claims.get(holder)) for holder in semaphore.holders],
        "share": share_fields(shared, semaphore.max),
    }


def _slot_fields(holder: str, claim: Held) -> dict[str, object]:
    problem = {"problem": str(claim)} if isinstance(claim, CorruptValueError) else {}
    return {"id": holder, "claim": claim_fields(claim), **problem}


def case_fields(found: Case, sentences: Sequence[str]) -> dict[str, object]:
    """Give a machine of a group, and the sentences that say why it does not reboot."""
    view = found.view
    return {
        "group": view.group,
        "id": found.machine_id,
        "name": found.name,
        "present": found.node is not None,
        "node": node_fields(found.node) if found.node else None,
        "position": found.place,
        "waiting": len(view.waiters),
        "holding": holder_fields(found.held) if found.held else None,
        "why": list(sentences),
    }
