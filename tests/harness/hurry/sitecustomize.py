"""Makes the programs of a node hurry: what takes minutes takes seconds. Python reads this file when it starts.

A test puts this folder into PYTHONPATH. The code is the real one; only the lengths of time differ, all by the same
factor. So rules that wait for a quarter of an hour can be tested in seconds, if they hurry as well.
"""

from locksmith.agent import loop, node_status
from locksmith.daemon import checked_presence, daemon, group_metrics, group_sight
from locksmith.lock import presence
from locksmith.lock.records import node, went_wrong

FACTOR = 150
"""How many times as fast."""

for module in (node, went_wrong, presence, node_status, group_sight):
    vars(module)["TTL"] /= FACTOR
presence.KEEP_AFTER /= FACTOR
presence.HOLD_OFF /= FACTOR
presence.PER_SECOND *= FACTOR
checked_presence.CHECK_AFTER /= FACTOR
checked_presence.HOLD_OFF /= FACTOR
group_metrics.FRESH /= FACTOR
vars(daemon)["HEARTBEAT"] /= 30
loop.STEP_LIMIT /= 30
loop.SHOW_LIMIT /= 10
