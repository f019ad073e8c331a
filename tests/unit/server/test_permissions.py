"""Who may do what to whom."""

import pytest

from locksmith.server.identity import Identity, Role
from locksmith.server.permissions import Action, forbidden, may

MACHINE = Identity(Role.MACHINE, "n1", frozenset({"web"}))
VIEWER = Identity(Role.VIEWER, "vera")
OPERATOR = Identity(Role.OPERATOR, "olga")
OF_WEB = Identity(Role.OPERATOR, "otto", frozenset({"web"}))


@pytest.mark.parametrize(
    ("identity", "action", "group", "machine", "says"),
    [
        (MACHINE, Action.ACT, "web", "n1", ""),
        (MACHINE, Action.ACT, "web", "n2", "a machine can act only for itself"),
        (MACHINE, Action.ACT, "web", "", "a machine can act only for itself"),
        (MACHINE, Action.ACT, "web", "N1", "a machine can act only for itself"),
        (MACHINE, Action.ACT, "db", "n1", "does not count for this group"),
        (MACHINE, Action.READ, "web", "n1", "of a viewer or an operator, and this is one of a machine"),
        (MACHINE, Action.ORDER, "web", "n1", "of an operator, and this is one of a machine"),
        (VIEWER, Action.READ, "web", "", ""),
        (VIEWER, Action.ORDER, "web", "", "of an operator, and this is one of a viewer"),
        (VIEWER, Action.ACT, "web", "vera", "of the machine itself, and this is one of a viewer"),
        (OPERATOR, Action.READ, "web", "", ""),
        (OPERATOR, Action.ORDER, "db", "", ""),
        (OPERATOR, Action.ACT, "web", "olga", "of the machine itself, and this is one of an operator"),
        (OF_WEB, Action.ORDER, "web", "", ""),
        (OF_WEB, Action.ORDER, "db", "", "does not count for this group"),
        (OF_WEB, Action.READ, "db", "", "does not count for this group"),
        (OF_WEB, Action.READ, "", "", "does not count for this group"),
    ],
)
def test_each_role_does_its_own_and_no_more(identity, action, group, machine, says):
    answer = forbidden(identity, action, group, machine)
    assert may(identity, action, group, machine) == (not says)
    if answer is None:
        assert not says
    else:
        assert answer.status == 403
        assert answer.refusal
        assert says
        assert says in answer.refusal.sentence
