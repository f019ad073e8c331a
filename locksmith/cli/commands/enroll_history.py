"""What becomes of credentials, in the history of the groups for which they count."""

from locksmith.cli.commands.enroll_names import Meant
from locksmith.cli.session import author
from locksmith.lock.history import History
from locksmith.lock.records.credential import Credential
from locksmith.lock.records.event import ENROLLED, REINSTATED, REVOKED
from locksmith.store.protocol import Store


async def note_end(store: Store, meant: Meant, group: str) -> None:
    """Write that what a machine, or a person, has counts no more: in each of its groups, or in this one."""
    if meant.machine:
        await _note_machine(store, meant, group, REVOKED, "")
    for one in (kept.one for kept in meant.tokens if not meant.machine):
        if one is not None:
            await _note_person(store, one, group, REVOKED)


async def note_again(store: Store, meant: Meant, group: str, what: str) -> None:
    """Write that a machine is allowed again what its revocation, or its own token, had ended."""
    if meant.machine:
        await _note_machine(store, meant, group, REINSTATED, what)


async def note_person(store: Store, one: Credential, group: str) -> None:
    """Write that a person has a token now: in each of its groups, or in this one if it counts for all."""
    await _note_person(store, one, group, ENROLLED)


async def _note_machine(store: Store, meant: Meant, group: str, act: str, detail: str) -> None:
    hostnames = {kept.one.groups[0]: kept.one.hostname for kept in meant.tokens if kept.one} or {group: ""}
    for each, hostname in hostnames.items():
        await History(store, each).add(author().act_about(meant.machine, hostname, act, "", detail))


async def _note_person(store: Store, one: Credential, group: str, act: str) -> None:
    of = "" if one.groups else ", of all groups"
    for each in one.groups or (group,):
        if each in {".", ".."}:  # an older tool took them, and no such group has a history
            continue
        await History(store, each).add(author().act(act, "", f"the {one.role} {one.holder}{of}"))
