"""What the NAME of `enroll revoke` and `enroll forget` means: one machine, or one person."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from locksmith.cli.commands.enroll_view import title
from locksmith.cli.empty import not_empty
from locksmith.errors import LockError
from locksmith.lock.credentials import CredentialStore, Kept
from locksmith.lock.records.credential import MACHINE
from locksmith.store.protocol import Store
from locksmith.util.words import named

MACHINE_ID: Final = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Meant:
    """What a name means: the machine with this id (empty: a person), its tokens, or that of the person.

    `revocation` is that of the machine's client certificates, if they were revoked.
    """

    machine: str
    tokens: Sequence[Kept]
    revocation: Kept | None = None


name_argument = click.argument(
    "name", metavar="NAME", callback=not_empty("NAME", "give a machine-id, a host name, or a person's name")
)


async def find(store: Store, name: str, group: str | None, *, person: bool = False) -> Meant:
    """Find what a machine, or a person, has. `LockError`: none is known, or the name means several.

    A machine-id means that machine alone, also if another machine, or a person, is named so. It is no error if nothing
    is known of a machine-id: there may be a certificate.
    """
    every = CredentialStore(store)
    found = await every.named(name, group)
    is_id = not person and MACHINE_ID.fullmatch(name) is not None
    if person:
        found = [kept for kept in found if kept.is_person]
    elif is_id:
        found = [kept for kept in found if _machine_of(kept) == name]
    if not found and not (is_id and group is None):
        raise unknown(name)
    if len({_machine_of(kept) for kept in found}) > 1:
        way = "give the machine-id" + (", or --person for the person" if found[0].is_person else "")
        raise LockError(f"{name!r} means {named([title(kept) for kept in found])}: {way}; nothing was done")
    machine = name if is_id else _machine_of(found[0])
    if not machine:
        return Meant("", found)
    if group is None and not is_id:  # it may have another host name in another group
        found = [kept for kept in await every.named(machine) if _machine_of(kept) == machine]
    return Meant(machine, found, await every.revoked_certificates(machine))


def unknown(name: str) -> LockError:
    """Make the error that a name has no credential."""
    return LockError(f"there is no credential of {name!r}: see `locksmithctl enroll list`; nothing was done")


def _machine_of(kept: Kept) -> str:
    """Give the id of the machine whose token this is; empty: it is a person's."""
    return kept.one.holder if kept.one and kept.one.role == MACHINE else ""
