"""What scripts get of a group, its machines, its queue and its holders (docs/locksmithctl.md)."""

from datetime import UTC, datetime

from locksmith.cli.output import claim_fields, share_fields
from locksmith.fleet.group import GroupView
from locksmith.fleet.holders import HolderKind, HolderStatus, holder_statuses
from locksmith.lock.records.incident import Incident
from locksmith.lock.records.member import Member
from locksmith.lock.records.node import Node
from locksmith.lock.records.order import Order
from locksmith.lock.records.waiter import Waiter
from locksmith.util import records


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


def group_fields(view: GroupView) -> dict[str, object]:
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
        "held_back": {machine: order_fields(order) for machine, order in sorted(view.holds.items())},
        "incidents": [incident_fields(one) for one in view.incidents(datetime.now(UTC))],
    }


def view_fields(view: GroupView) -> dict[str, object]:
    """Give everything about a group."""
    return {
        **group_fields(view),
        "holders": [holder_fields(one) for one in holder_statuses(view)],
        "waiters": [waiter_fields(waiter) for waiter in view.waiters],
        "absent": [member_fields(member) for _, member in sorted(view.absent.items())],
        "nodes": [node_fields(node) for _, node in sorted(view.machines.items())],
        "problems": [str(problem) for problem in view.problems],
    }
