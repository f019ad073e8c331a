"""The presence of a FleetLock client, which the server shows for it: until when its machine may be down.

A client says nothing of itself between its calls. So each call that keeps its slot writes `nodes/<id>`, to expire when
the client should long have called again. A claim with a slot whose presence is gone is lost, as a daemon's is.
"""

from contextlib import suppress
from datetime import datetime, timedelta

from locksmith import __version__
from locksmith.errors import ConflictError
from locksmith.lock.errors import OtherMachineError
from locksmith.lock.records import keys, node
from locksmith.lock.records.claim import FLEETLOCK, Claim
from locksmith.lock.records.node import TTL, Node
from locksmith.lock.records.states import PREPARING, REBOOTING
from locksmith.store.protocol import Entry, Store

REASON = "its client asks for it by FleetLock"
_TRIES = 5
"""How often it is written against others who write it too: other servers, for the same client."""


def presence_of(claim: Claim, group: str, now: datetime, limit: timedelta | None) -> Node:
    """Give what the server shows of a client with a slot; `limit`: for its reboot (None: it may not reboot yet)."""
    return Node(
        machine_id=claim.holder,
        hostname=claim.hostname,
        boot_id="",
        group=group,
        strategy=FLEETLOCK,
        state=PREPARING if limit is None else REBOOTING,
        since=now.replace(microsecond=0),
        version=__version__,
        need=FLEETLOCK,
        need_since=claim.since,
        need_reasons=(REASON,),
        claim=claim.nonce,
        written=now.replace(microsecond=0),
        lasts=int(TTL + (limit.total_seconds() if limit else 0)),
    )


async def show(store: Store, shown: Node, known: Entry | None) -> Entry:
    """Write the presence of a client, over what is `known` of it, or where none is, and give it.

    `OtherMachineError`: a machine of this id is present. Others: the store's.
    """
    key, record, ttl = keys.node_key(shown.group, shown.machine_id), node.encode(shown), float(shown.lasts)
    for _ in range(_TRIES):
        with suppress(ConflictError):
            return await (store.replace(known, record, ttl) if known else store.create(key, record, ttl=ttl))
        known = (await store.get(key)).entry
        if known is not None and not is_clients(known, shown.machine_id):
            raise OtherMachineError(shown.machine_id)
    raise ConflictError(f"{key} is written by others again and again")


def is_clients(entry: Entry, client: str) -> bool:
    """Tell whether a presence is that of a client, as against a machine with a daemon. `CorruptValueError`: neither."""
    return node.decode(entry.value, entry.key, client).strategy == FLEETLOCK
