"""`enroll`: the credentials of locksmith-server. `enroll machine` is in a module of its own."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from locksmith.cli import complete
from locksmith.cli.commands.enroll_machine import enroll_machine, refuse_group
from locksmith.cli.commands.enroll_view import HEAD, certificates_of, fields, row, title, until
from locksmith.cli.go_flags import GoCommand, GoGroup, GoOption
from locksmith.cli.output import json_flag, note, print_json, say, say_all, say_own
from locksmith.cli.session import Session, author, invoking_user, pass_session
from locksmith.cli.table import table, width
from locksmith.errors import LockError, UsageError
from locksmith.fleet.phrases import group_name
from locksmith.host.hostname import read_hostname
from locksmith.lock.credentials import CredentialStore, Kept
from locksmith.lock.history import History
from locksmith.lock.records.credential import CERTIFICATE, ENROLMENT, MACHINE, OPERATOR, VIEWER, Credential
from locksmith.lock.records.event import REVOKED
from locksmith.store.protocol import Store
from locksmith.util.tokens import Token
from locksmith.util.words import named
from locksmith.window.duration import parse_duration

NOTICED: Final = "servers refuse it within 5 s"
LONGEST_SECRET: Final = timedelta(days=7)
"""For how long machines can enrol with one secret at most."""
LONGEST_NAME: Final = 100
"""Characters of a person's name."""
_MACHINE_ID = re.compile("[0-9a-f]{32}")


@click.group(cls=GoGroup, invoke_without_command=True)
@click.pass_context
def enroll(context: click.Context, /) -> None:
    """Give machines, viewers and operators a credential for locksmith-server, and take it away.

    All but `enroll machine` need the right to write below locksmith/credentials/ in etcd. A token is printed once: etcd
    has only its SHA-256.
    """
    if context.invoked_subcommand is None:
        say_own(context.get_help())


enroll.add_command(enroll_machine, "machine")


@enroll.command("open", cls=GoCommand)
@click.argument("group", metavar="[GROUP]", required=False, shell_complete=complete.groups)
@click.option("--lasts", cls=GoOption, metavar="D", default="1h", show_default=True, help="For how long, up to 7d.")
@click.option("--most", cls=GoOption, type=click.IntRange(1), metavar="N", help="Enrol so many machines at most.")
@pass_session
def open_(session: Session, *, group: str | None, lasts: str, most: int | None) -> None:
    """Let machines of a group enrol for a while: print the secret that they need.

    Who has it can enrol machines that are not enrolled, and no other.
    """
    group = session.config.group if group is None else group
    refuse_group(group)
    length = _length(lasts, "--lasts", LONGEST_SECRET)
    new = _new(session, ENROLMENT, "", (group,), length=length, most=most)
    token = session.with_store(lambda store: CredentialStore(store).open_enrolment(new, length.total_seconds()))
    say_own(token.text)
    note(
        f"Machines of {group_name(group)} can enrol with this secret until {until(new)}. Store it in a file on each, "
        "and run enroll machine --secret-file FILE there as root"
    )


@enroll.command("close", cls=GoCommand)
@click.argument("group", metavar="[GROUP]", required=False, shell_complete=complete.groups)
@pass_session
def close(session: Session, *, group: str | None) -> None:
    """End the enrolment secrets of a group. Machines that are enrolled stay so."""
    group = session.config.group if group is None else group
    ended = session.with_store(lambda store: CredentialStore(store).close_enrolments(group))
    name = group_name(group)
    say(f"{name}: {ended} enrolment secret{'s' * (ended != 1)} ended" if ended else f"nothing to end: {name} has none")


only_option = click.option(
    "--only",
    "groups",
    cls=GoOption,
    multiple=True,
    metavar="GROUP",
    shell_complete=complete.groups,
    help="It counts for this group alone; repeated, it adds.",
)
for_option = click.option("--for", "lasts", cls=GoOption, metavar="D", help="End it after a while, like 90d.")


@enroll.command("viewer", cls=GoCommand)
@click.argument("name", metavar="NAME")
@only_option
@for_option
@pass_session
def viewer(session: Session, *, name: str, groups: tuple[str, ...], lasts: str | None) -> None:
    """Make a token with which a person, or a program, may see groups: on the page, in the API, the metrics."""
    _person(session, VIEWER, name, groups, lasts)


@enroll.command("operator", cls=GoCommand)
@click.argument("name", metavar="NAME")
@only_option
@for_option
@pass_session
def operator(session: Session, *, name: str, groups: tuple[str, ...], lasts: str | None) -> None:
    """Make a token with which a person may give orders too: freeze, hold, resume, unlock and others."""
    _person(session, OPERATOR, name, groups, lasts)


@enroll.command("list", cls=GoCommand)
@json_flag
@pass_session
def list_(session: Session, *, as_json: bool) -> None:
    """Show every credential: whose it is, since when, and when it ends. No secret is shown: etcd has none."""
    found = session.with_store(lambda store: CredentialStore(store).read_everything())
    for kept in found:
        if kept.bad:
            note(f"Warning: {kept.bad}")
    known = [(kept, kept.one) for kept in found if kept.one is not None]
    if as_json:
        print_json({"credentials": [fields(kept, one) for kept, one in known]})
    elif known:
        say_all(table(HEAD, [row(kept, one) for kept, one in known], width()))
    elif not found:
        note("there is no credential: `locksmithctl enroll` shows how one is made")


@enroll.command("revoke", cls=GoCommand)
@click.argument("name", metavar="NAME")
@click.option("--in", "group", cls=GoOption, metavar="GROUP", shell_complete=complete.groups, help="The group of it.")
@pass_session
def revoke(session: Session, *, name: str, group: str | None) -> None:
    """Let what a machine or a person has count no more: its token, and a machine's client certificates.

    NAME is a machine-id, a host name, or a person's name. Its name stays taken. With --in, only the token of a machine
    in that group is revoked. Client certificates count for all groups, so they are revoked without --in.
    """

    async def work(store: Store) -> list[tuple[str, bool]]:
        every, who = CredentialStore(store), invoking_user()
        found = await _of_one(store, name, group)
        machine = _machine(name, found)
        done = []
        if machine and group is None:
            host = read_hostname(session.paths)
            done.append((certificates_of(machine), await every.revoke_certificates(machine, who, host)))
        done += [(title(kept), await every.revoke(kept, who)) for kept in found if not _is_revocation(kept)]
        if any(is_new for _, is_new in done):
            await _note(store, machine, found, session.config.group)
        return done

    for what, done in session.with_store(work):
        say(f"{what} is revoked: {NOTICED}" if done else f"nothing to revoke: {what} was revoked before")


@enroll.command("forget", cls=GoCommand)
@click.argument("name", metavar="NAME")
@click.option("--in", "group", cls=GoOption, metavar="GROUP", shell_complete=complete.groups, help="The group of it.")
@click.option("--certificates", cls=GoOption, is_flag=True, help="Only let client certificates count again.")
@pass_session
def forget(session: Session, *, name: str, group: str | None, certificates: bool) -> None:
    """Revoke a token and remove it, so that the machine or the person can be enrolled again.

    The client certificates of a machine stay revoked. With --certificates they count again, and tokens stay as they
    are.
    """
    if certificates and group is not None:
        raise UsageError("client certificates count for all groups: leave out --in or --certificates; nothing was done")
    if certificates:
        _let_certificates_count(session, name)
        return

    async def work(store: Store) -> tuple[list[Kept], list[Kept]]:
        found = await _of_one(store, name, group)
        tokens = [kept for kept in found if not _is_revocation(kept)]
        if not tokens:
            raise _unknown(name)
        for kept in tokens:
            await CredentialStore(store).forget(kept, invoking_user())
        if any(kept.one and not kept.one.revoked for kept in tokens):
            await _note(store, _machine(name, found), tokens, session.config.group)
        return tokens, [kept for kept in found if _is_revocation(kept)]

    tokens, revocations = session.with_store(work)
    for kept in tokens:
        say(f"{title(kept)} is forgotten, and can be enrolled again: {NOTICED}")
    for kept in revocations:
        machine = kept.one.holder if kept.one else name
        note(f"{title(kept)} stays revoked: `locksmithctl enroll forget {machine} --certificates` lets it count again")


def _let_certificates_count(session: Session, name: str) -> None:
    """Remove the revocation of a machine's client certificates. `LockError`: there is none."""

    async def work(store: Store) -> Kept:
        for kept in await _of_one(store, name, None):
            if _is_revocation(kept):
                await CredentialStore(store).forget(kept, invoking_user())
                return kept
        raise LockError(f"no client certificates of {name!r} are revoked; nothing was done")

    say(f"{title(session.with_store(work))} counts again, within 5 s")


def _person(session: Session, role: str, name: str, groups: Sequence[str], lasts: str | None) -> None:
    if not name.isprintable() or not 0 < len(name.strip()) <= LONGEST_NAME:
        raise UsageError(f"a name has 1 to {LONGEST_NAME} characters that can be printed; nothing was done")
    length = _length(lasts, "--for") if lasts is not None else None
    new = _new(session, role, name, tuple(groups), length=length)
    ttl = length.total_seconds() if length else None

    async def work(store: Store) -> Token:
        return await CredentialStore(store).add_person(new, ttl)

    say_own(session.with_store(work).text)
    ends = f", until {until(new)}" if new.until else ""
    note(f"{name} is enrolled as {role}{ends}. This is the only time that the token is shown: give it to {name} alone")


def _new(
    session: Session,
    role: str,
    holder: str,
    groups: tuple[str, ...],
    *,
    length: timedelta | None,
    most: int | None = None,
) -> Credential:
    now = datetime.now(UTC).replace(microsecond=0)
    return Credential(
        role=role,
        holder=holder,
        digest="",
        since=now,
        groups=groups,
        who=invoking_user(),
        host=read_hostname(session.paths),
        until=now + length if length else None,
        most=most,
    )


def _length(text: str, flag: str, longest: timedelta = timedelta(days=3660)) -> timedelta:
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if not timedelta(seconds=1) <= length <= longest:
        raise UsageError(f"{flag}: {text} is not between 1s and {longest.days}d; nothing was done")
    return length


async def _of_one(store: Store, name: str, group: str | None) -> list[Kept]:
    """Find what a machine, or a person, has. `LockError`: none is known, or the name means several machines.

    A machine-id of which nothing is known may have a certificate: then there is nothing, and no error.
    """
    every = CredentialStore(store)
    found = list(await every.named(name, group))
    if _MACHINE_ID.fullmatch(name):  # another machine may call itself so
        found = [kept for kept in found if kept.one and kept.one.holder == name]
    if len({kept.one.holder if kept.one else kept.entry.key for kept in found}) > 1:
        said = named([title(kept) for kept in found])
        raise LockError(f"{name!r} means {said}: give the machine-id; nothing was done")
    machine = _machine(name, found)
    if machine and group is None:
        named_so = [kept for kept in await every.named(machine) if kept.one and kept.one.holder == machine]
        revoked = await every.revoked_certificates(machine)
        found = [*named_so, *([revoked] if revoked else [])]
    elif not found:
        raise _unknown(name)
    return found


async def _note(store: Store, machine: str, found: Sequence[Kept], group: str) -> None:
    """Write into the history that a machine's credential counts no more: of each of its groups, or of this one."""
    if not machine:
        return
    tokens = [kept.one for kept in found if kept.one and kept.one.role == MACHINE]
    hostnames = {one.groups[0]: one.hostname for one in tokens} or {group: ""}
    for each, hostname in hostnames.items():
        await History(store, each).add(author().act_about(machine, hostname, REVOKED, ""))


def _unknown(name: str) -> LockError:
    return LockError(f"there is no credential of {name!r}: see `locksmithctl enroll list`; nothing was done")


def _machine(name: str, found: Sequence[Kept]) -> str:
    """Give the machine-id that a name means; empty: it is a person's."""
    if _MACHINE_ID.fullmatch(name):
        return name
    one = found[0].one if found else None
    return one.holder if one and one.role == MACHINE else ""


def _is_revocation(kept: Kept) -> bool:
    return kept.one is not None and kept.one.role == CERTIFICATE
