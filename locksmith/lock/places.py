"""The keys of the queue: places in the order of their names, and the tickets that lead to them. Pure.

A place is the key `waiters/!<number>-<name>`; its number is the store's revision right before it was made. So the keys
sort in the order of the queue, by no machine's clock. A ticket, `tickets/<slice>/<name>`, says the number: by it a
machine finds its place again, and makes no second one. `!` sorts before each character with which a name can begin, and
no name begins with `!`. So a place of a version before this one, `waiters/<name>`, sorts after all others; its turn is
by its creation.
"""

import re

from locksmith.lock.records import keys
from locksmith.lock.records.claim import JOURNALED, Claim
from locksmith.lock.records.waiter import Waiter

DIGITS = 18
"""Digits of the highest number that a ticket may have."""

_PLACE = re.compile(r"!([0-9a-f]{16})-(.*)")


def name_of(claim: Claim | Waiter) -> str:
    """Name who waits, as the keys do: a machine is its id. An operator, or a client, of the same id is another."""
    return claim.holder if claim.kind in JOURNALED else f"{claim.kind}:{claim.holder}"


def ticket_key(group: str, claim: Claim | Waiter) -> str:
    """Name the key of a claim's ticket."""
    return keys.ticket_key(group, name_of(claim))


def place_key(group: str, claim: Claim | Waiter, number: int) -> str:
    """Name the key of a claim's place."""
    return numbered_key(group, name_of(claim), number)


def numbered_key(group: str, name: str, number: int) -> str:
    """Name the key of the place of `name`."""
    return f"{bound(group, number)}-{keys.segment(name)}"


def older_key(group: str, claim: Claim | Waiter) -> str:
    """Name the key of a claim's place as a version before this one makes it."""
    return keys.waiters_prefix(group) + keys.segment(name_of(claim))


def bound(group: str, number: int) -> str:
    """Name what sorts before the place of this number, and after that of each lower one."""
    return f"{keys.waiters_prefix(group)}!{number:016x}"


def past(prefix: str) -> str:
    """Name what sorts after each key that begins with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def number_of(key: str) -> int | None:
    """Read the number of a place; None: a version before this one made it."""
    found = _PLACE.fullmatch(key.rpartition("/")[2])
    return int(found[1], 16) if found else None


def number_of_ticket(value: bytes) -> int | None:
    """Read the number that a ticket leads to; None: it is none."""
    return int(value) if value.isdigit() and len(value) <= DIGITS else None


def name_in(key: str) -> str:
    """Read from the key of a place who waits there."""
    last = key.rpartition("/")[2]
    found = _PLACE.fullmatch(last)
    return keys.unsegment(found[2] if found else last)


def turn(key: str, created: int) -> tuple[int, str]:
    """Give what places are sorted by, of all versions: where they came into the queue."""
    number = number_of(key)
    return (created if number is None else number, key)
