"""`enroll viewer` and `enroll operator`: the tokens of people; and what is common to all that `enroll` makes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from locksmith.cli import complete
from locksmith.cli.commands.enroll_history import note_person
from locksmith.cli.commands.enroll_names import MACHINE_ID
from locksmith.cli.commands.enroll_view import until
from locksmith.cli.empty import not_empty
from locksmith.cli.go_flags import GoCommand, GoOption
from locksmith.cli.output import note, say_own
from locksmith.cli.session import Session, invoking_user, pass_session
from locksmith.errors import UsageError
from locksmith.host.hostname import read_hostname
from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records import keys
from locksmith.lock.records.credential import OPERATOR, VIEWER, Credential
from locksmith.store.protocol import Store
from locksmith.util.tokens import Token
from locksmith.window.duration import parse_duration

DEFAULT: Final = "(default)"
"""The default group, as the server's addresses have it."""
LONGEST_NAME: Final = 100
"""Characters of a person's name."""


_only = not_empty("--only", f"name a group, {DEFAULT!r} for the default one, or leave it out for all")


def _groups(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    groups = tuple("" if name == DEFAULT else name for name in _only(context, parameter, names))
    for group in groups:
        try:
            keys.group_prefix(group)
        except UsageError as error:  # before the token is made: the history of its groups is written after that
            raise UsageError(f"--only: {error}; nothing was done") from None
    return groups


only_option = click.option(
    "--only",
    "groups",
    cls=GoOption,
    multiple=True,
    metavar="GROUP",
    callback=_groups,
    shell_complete=complete.groups,
    help=f"It counts for this group alone; repeated, it adds. The default group is {DEFAULT!r}.",
)
for_option = click.option("--for", "lasts", cls=GoOption, metavar="D", help="End it after a while, like 90d.")


@click.command("viewer", cls=GoCommand)
@click.argument("name", metavar="NAME")
@only_option
@for_option
@pass_session
def viewer(session: Session, *, name: str, groups: tuple[str, ...], lasts: str | None) -> None:
    """Make a token with which a person, or a program, may see groups: on the page, in the API, the metrics."""
    _person(session, VIEWER, name, groups, lasts)


@click.command("operator", cls=GoCommand)
@click.argument("name", metavar="NAME")
@only_option
@for_option
@pass_session
def operator(session: Session, *, name: str, groups: tuple[str, ...], lasts: str | None) -> None:
    """Make a token with which a person may give orders too: freeze, hold, resume, unlock and others."""
    _person(session, OPERATOR, name, groups, lasts)


def _person(session: Session, role: str, name: str, groups: Sequence[str], lasts: str | None) -> None:
    if not name.isprintable() or not 0 < len(name.strip()) <= LONGEST_NAME:
        raise UsageError(f"a name has 1 to {LONGEST_NAME} characters that can be printed; nothing was done")
    if MACHINE_ID.fullmatch(name):
        raise UsageError(f"{name} is a machine-id, which means that machine alone: use another name; nothing was done")
    length = read_length(lasts, "--for") if lasts is not None else None
    new = new_credential(session, role, name, tuple(groups), length=length)
    ttl = length.total_seconds() if length else None

    async def work(store: Store) -> Token:
        token = await CredentialStore(store).add_person(new, ttl)
        await note_person(store, new, session.config.group)
        return token

    say_own(session.with_store(work).text)
    ends = f", until {until(new)}" if new.until else ""
    note(f"{name} is enrolled as {role}{ends}. This is the only time that the token is shown: give it to {name} alone")


def new_credential(
    session: Session,
    role: str,
    holder: str,
    groups: tuple[str, ...],
    *,
    length: timedelta | None,
    most: int | None = None,
) -> Credential:
    """Make a credential, from now on, by the person who types; its store adds the digest."""
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


def read_length(text: str, flag: str, longest: timedelta = timedelta(days=3660)) -> timedelta:
    """Read for how long a credential is to count. `UsageError`: it cannot be read, or is too long."""
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if not timedelta(seconds=1) <= length <= longest:
        raise UsageError(f"{flag}: {text} is not between 1s and {longest.days}d; nothing was done")
    return length
