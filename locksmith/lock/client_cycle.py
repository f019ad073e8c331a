"""What the store knows of a FleetLock client: the claim of its cycle, from one pre-reboot to the next steady-state.

No server remembers a client. The nonce of its cycle is in the record of its slot, else in its place in the queue. So
each server goes on where another has stopped, and calls that are repeated, or run at once, are about one claim.
"""

from dataclasses import dataclass
from datetime import datetime

from locksmith.lock import client_presence, places
from locksmith.lock.guarded import Guarded
from locksmith.lock.holder import HolderState
from locksmith.lock.own_claim import Known
from locksmith.lock.queue_places import read as read_place
from locksmith.lock.records import keys
from locksmith.lock.records.claim import COMMITTED, FLEETLOCK, SERVER, Claim
from locksmith.store.protocol import Entry

REASON = "FleetLock"
"""The reason of a client's claim: FleetLock has no field for another."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One client. `held`: its claim, with a slot; `queued`: its claim in the queue.

    `left`: a claim of its own whose record a take has left without a slot (v2 alone): that take may win still.
    `other`: its id holds a slot for something else. `machine`: a machine with its id is present. `place` is the ticket
    and the place of what is queued, `shown` the client's presence.
    """

    held: Claim | None = None
    queued: Claim | None = None
    left: Claim | None = None
    other: HolderState | None = None
    machine: bool = False
    place: tuple[Entry, Entry] | None = None
    shown: Entry | None = None
    known: Known | None = None
    """What a release of the slot may start from (where one transaction has read it)."""

    @property
    def claim(self) -> Claim | None:
        """The claim of the cycle; None: there is none, or none that is known."""
        return self.held or self.queued

    @property
    def committed(self) -> bool:
        """Whether the client was told that it may reboot, or may have been."""
        return self.held is not None and self.held.state == COMMITTED

    @property
    def is_idle(self) -> bool:
        """Whether the client has nothing that a steady-state could release."""
        return self.held is None and self.queued is None and self.left is None


def new_claim(client: str, nonce: str, now: datetime, name: str) -> Claim:
    """Make the claim of a new cycle; `name` is what people call the client's machine (empty: its id)."""
    return Claim(client, FLEETLOCK, nonce, now.replace(microsecond=0), who=SERVER, hostname=name, reason=REASON)


async def read(guarded: Guarded, client: str) -> Cycle:
    """Read what the store knows of a client. Errors are the store's, `CorruptValueError`.

    The place is read after all others. If it is gone by then, a take may have removed it: all is read once more. (On v2
    a ticket may stay without its place.)
    """
    cycle, whole = await _read(guarded, client)
    return cycle if whole else (await _read(guarded, client))[0]


async def _read(guarded: Guarded, client: str) -> tuple[Cycle, bool]:
    """Read it, and tell whether the ticket had its place."""
    group, probe = guarded.group, Claim(client, FLEETLOCK, "", datetime.min)  # noqa: DTZ901 - only its names are used
    wanted = [keys.node_key(group, client), places.ticket_key(group, probe), keys.reboot_key(group, client)]
    read = await guarded.store.read([guarded.key, guarded.record_key(client), *wanted])
    semaphore, record, node, ticket, memory = read
    state = guarded.holder_state_in(client, semaphore, record)
    own = state.claim if state.claim is not None and state.claim.is_clients else None
    queued, both, whole = None, None, True
    if ticket.entry is not None and (number := places.number_of_ticket(ticket.entry.value)) is not None:
        place = (await guarded.store.get(places.place_key(group, probe, number))).entry
        whole = place is not None
        queued = read_place(place, lambda found: found.claim) if place is not None else None
        both = (ticket.entry, place) if place is not None and queued is not None else None
    clients = node.entry is not None and client_presence.is_clients(node.entry, client)
    cycle = Cycle(
        held=own if state.listed else None,
        queued=queued,
        left=None if state.listed else own,
        other=state if state.listed and own is None else None,
        machine=node.entry is not None and not clients,
        place=both,
        shown=node.entry if clients else None,
        known=Known(state, memory) if state.listed and guarded.store.transactional else None,
    )
    return cycle, whole
