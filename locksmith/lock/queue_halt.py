"""Whether incidents halt every machine in a queue, by the rule that each of them has written into its place."""

from locksmith.lock import places
from locksmith.lock.queue_places import read
from locksmith.lock.records import keys
from locksmith.lock.records.incident import HaltAfter, parse_halt_after
from locksmith.store.protocol import Entry, Store

SEEN_FOR_HALT = 1000
"""How many places, the first ones, a halted machine compares its rule with: 280 kB in one request."""


async def halts_all(store: Store, group: str, incidents: int) -> bool:
    """Tell whether so many incidents halt each of the first `SEEN_FOR_HALT` machines. A rule that is unknown halts."""
    prefix = keys.waiters_prefix(group)
    found = await store.range(prefix, places.past(prefix), limit=SEEN_FOR_HALT)
    rules = {rule for place in found.entries if (rule := _halt_after(place)) is not None}
    if not rules:
        return True
    relative = any(rule.percent is not None for rule in rules)
    machines = await store.count(keys.nodes_prefix(group)) if relative else 0
    limits = [rule.of(machines) for rule in rules]
    return all(limit is not None and incidents >= limit for limit in limits)


def _halt_after(entry: Entry) -> HaltAfter | None:
    """Read by which rule the machine of a place halts; None: the place does not say, or not in words known here."""
    words = read(entry, lambda found: found.halt_after)
    try:
        return parse_halt_after(words) if words else None
    except ValueError:
        return None
