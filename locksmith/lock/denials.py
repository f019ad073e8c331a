"""The answers to a claim that gets no slot, from the errors of the lock. Pure."""

from locksmith.errors import CorruptValueError, StoreFullError
from locksmith.lock.answer import Denied, QueuePosition
from locksmith.lock.errors import NotAdmittedError, OtherClaimError, RepeatedError
from locksmith.lock.records import keys
from locksmith.lock.records.claim import DAEMON, Claim
from locksmith.lock.records.order import SPACING


def queued(place: QueuePosition) -> Denied:
    """Deny a slot to a claim that waits in the queue."""
    return Denied("queue", _queued(place), queued=place)


def other_claim(error: OtherClaimError, own: Claim) -> Denied:
    """Deny a slot to an id that holds one for another claim."""
    return Denied(
        "clone" if _is_clones(error, own) else "orphaned" if _is_orphan(error, own) else "other_claim", str(error)
    )


def not_admitted(error: NotAdmittedError) -> Denied:
    """Deny what the group holds back; only a spacing lets a machine keep its slot meanwhile."""
    return Denied(error.code, str(error), must_release=error.held and error.code != SPACING)


def binds_every_machine(error: BaseException, claim: Claim) -> bool:
    """Tell whether every machine would get this error: a store without space, or a value of the group's own."""
    if isinstance(error, CorruptValueError):
        return error.key.rpartition("/")[2] != keys.segment(claim.holder)
    return isinstance(error, StoreFullError)


def _is_clones(error: OtherClaimError, own: Claim) -> bool:
    """Tell another machine of the same id from this one's own other business."""
    other = error.claim
    return other is not None and other.is_journaled and own.is_journaled and other.hostname != own.hostname


def _is_orphan(error: OtherClaimError, own: Claim) -> bool:
    """Tell a claim that this machine's own daemon has made, and forgotten."""
    other = error.claim
    if other is None or not (other.is_journaled and own.is_journaled):
        return False
    return other.who == own.who == DAEMON and other.hostname == own.hostname


def repeated(error: RepeatedError) -> Denied:
    """Deny what this machine has rebooted for already, or too often."""
    return Denied(error.code, str(error), past=error.past)


def _queued(place: QueuePosition) -> str:
    about = "" if place.counted else "about "
    if place.exact:
        after = f", after {place.predecessor}" if place.predecessor else ""
        return f"queued for a slot: number {place.position} of {about}{place.waiters}{after}"
    return f"queued for a slot: {place.position - 1} or more are before it"
