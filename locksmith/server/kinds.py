"""Which kind of refusal FleetLock's client gets for each denial of the lock. Pure."""

import logging
from collections.abc import Mapping

from locksmith.lock.answer import Denied
from locksmith.lock.records.order import FREEZE, HALT, HOLD, OTHER_CLUSTER, RESTORED, SPACING, TAKE_FAILS
from locksmith.lock.records.reboot import REPEATED, TOO_MANY
from locksmith.server.refusal import Refusal, RefusalKind
from locksmith.util.text import one_line

log = logging.getLogger(__name__)

LONGEST = 1000
"""Characters of a sentence: FleetLock's clients log it."""

KINDS: Mapping[str, RefusalKind] = {
    "queue": RefusalKind.QUEUED,
    "slot": RefusalKind.NO_SLOT,
    SPACING: RefusalKind.NO_SLOT,
    FREEZE: RefusalKind.FROZEN,
    HOLD: RefusalKind.HELD,
    HALT: RefusalKind.HALTED,
    "unlocked": RefusalKind.NO_SLOT,
    "other_claim": RefusalKind.NO_SLOT,
    "orphaned": RefusalKind.NO_SLOT,
    "clone": RefusalKind.NO_SLOT,
    REPEATED: RefusalKind.NO_SLOT,
    TOO_MANY: RefusalKind.NO_SLOT,
    RESTORED: RefusalKind.STORE,
    OTHER_CLUSTER: RefusalKind.STORE,
    TAKE_FAILS: RefusalKind.STORE,
}
"""The kinds of all codes with which the lock denies a slot (`Denied.code`)."""


def refused(denied: Denied) -> Refusal:
    """Give the refusal for a denial, with the lock's own sentence: it says who is in the way, and until when."""
    return refusal(KINDS.get(denied.code, RefusalKind.NO_SLOT), denied.text)


def refusal(kind: RefusalKind, sentence: str) -> Refusal:
    """Give a refusal whose sentence is one line, and not empty: some clients take an empty one for no answer at all."""
    return Refusal(kind, one_line(sentence, LONGEST) or kind.value)
