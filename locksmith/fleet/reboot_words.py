"""How far the reboot of a slot's holder has come, in words for the person who is about to free that slot. Pure."""

from locksmith.fleet.phrases import span_of_presence
from locksmith.lock.records import states
from locksmith.lock.records.claim import COMMAND, HELD, MANUAL, WENT_WRONG, Claim
from locksmith.lock.records.node import Node
from locksmith.lock.records.went_wrong import is_orphan
from locksmith.lock.unlocking import MID_REBOOT, ShownNode


def reboot_words(holder: str, claim: Claim | None, presence: ShownNode) -> str:
    """Say how far the reboot or the command has come; empty: the machine does not go down, and no command runs."""
    shown = presence.name if isinstance(presence, Node) else ""
    name = shown or (claim.hostname if claim else "") or holder
    if claim is None:
        return _without_record(name, presence)
    if claim.kind == MANUAL:
        return ""
    words = _held(claim, presence) if claim.state == HELD else _committed(claim, presence)
    return f"{name} {words}" if words else ""


def _held(claim: Claim, presence: ShownNode) -> str:
    """Say what goes on before a point of no return: the machine may have crashed, or go down by another order."""
    if isinstance(presence, Node) and presence.state in MID_REBOOT:
        return _present(presence)
    if claim.kind == COMMAND:
        what = f"a command of {claim.who or 'an operator'}{f': {claim.reason}' if claim.reason else ''}"
        if isinstance(presence, Node):
            return f"runs {what}"
        return f"has its slot for {what}; whether that still runs cannot be told from here"
    return "" if presence is None or isinstance(presence, Node) else "has a slot, and shows what cannot be read"


def _committed(claim: Claim, presence: ShownNode) -> str:
    if claim.state in WENT_WRONG:
        words = f"has rebooted and is {claim.state.upper()}{f': {claim.failure}' if claim.failure else ''}"
        return words if presence is not None else f"{words}; {_not_seen(claim)}"
    if presence is None:
        return f"is past its point of no return; {_not_seen(claim)}, so whether it still reboots cannot be told"
    if not isinstance(presence, Node):
        return "is past its point of no return, and what it shows of itself cannot be read"
    if is_orphan(claim, presence):
        return "has rebooted, and does not know its claim any more: no daemon releases its slot"
    return _present(presence)


def _without_record(name: str, presence: ShownNode) -> str:
    if presence is None or (isinstance(presence, Node) and presence.state not in MID_REBOOT):
        return ""
    words = f"is {presence.state}{_why(presence)}" if isinstance(presence, Node) else "shows what cannot be read"
    return f"{name} has a slot without a record that can be read, and {words}"


def _present(node: Node) -> str:
    match node.state:
        case states.VERIFYING:
            cause = node.reason.removeprefix(states.REBOOTED).removeprefix(states.NOT_HEALTHY)
            return f"has rebooted, and has not proved itself healthy yet{f': {cause}' if cause else ''}"
        case states.RELEASING:
            return "has rebooted, and releases its slot by itself"
        case states.REBOOTING:
            return "is rebooting or about to, which nothing stops now"
        case state if state in states.SICK:
            return f"has rebooted and is {state.upper()}{_why(node)}"
        case states.STUCK:
            return f"is stuck in its reboot{_why(node)}"
        case state:
            return f"is past its point of no return, and {state}{_why(node)}"


def _not_seen(claim: Claim) -> str:
    if claim.shows_presence:
        return f"it was not seen for {span_of_presence()} or longer"
    return "it shows no presence"


def _why(node: Node) -> str:
    return f": {node.reason}" if node.reason else ""
