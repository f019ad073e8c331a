"""Who may do what to whom: the rule of the table in docs/security.md. Pure.

Each route that a caller with a credential may ask puts its question here, and no route has a rule of its own.
"""

from enum import StrEnum

from locksmith.errors import ForbiddenError
from locksmith.server.answers import Answer, unauthorized
from locksmith.server.identity import Identity, Role


class Action(StrEnum):
    """What a caller wants to do."""

    READ = "read"
    """See the state and the history of a group and its machines: page, API, metrics."""
    ORDER = "order"
    """Give an operator's order: freeze, thaw, hold, unhold, resume, unlock, set-max."""
    ACT = "act"
    """Make a machine's own call: request, wait, commit, report a failure, abort, complete, presence, leave."""


_WHO = {
    Action.READ: "a viewer or an operator",
    Action.ORDER: "an operator",
    Action.ACT: "the machine itself",
}
_ROLES = {
    Action.READ: frozenset({Role.VIEWER, Role.OPERATOR}),
    Action.ORDER: frozenset({Role.OPERATOR}),
    Action.ACT: frozenset({Role.MACHINE}),
}


def forbidden(identity: Identity, action: Action, group: str, machine: str = "") -> Answer | None:
    """Give the answer (403) that refuses an action in a group; None: the caller may do it.

    `machine` is the id of the machine for which the caller wants to `ACT`. It counts for no other action.
    """
    if identity.role not in _ROLES[action]:
        return unauthorized(f"this needs the credential of {_WHO[action]}, and this is one of {_a(identity.role)}")
    if not identity.counts_for(group):
        return unauthorized(f"this credential of {_a(identity.role)} does not count for this group")
    if action is Action.ACT and (not machine or machine != identity.name):
        return unauthorized("this credential is of another machine: a machine can act only for itself")
    return None


def require(identity: Identity, action: Action, group: str, machine: str = "") -> None:
    """Do nothing if the caller may do that; `ForbiddenError` has the sentence of `forbidden` if not."""
    answer = forbidden(identity, action, group, machine)
    if answer is not None and answer.refusal is not None:
        raise ForbiddenError(answer.refusal.sentence)


def may(identity: Identity, action: Action, group: str, machine: str = "") -> bool:
    """Tell whether a caller may do something: as a page asks that shows a button or does not."""
    return forbidden(identity, action, group, machine) is None


def _a(role: Role) -> str:
    return f"an {role}" if role is Role.OPERATOR else f"a {role}"
