"""`enroll`: the credentials of locksmith-server. `enroll machine` is in a module of its own.

Above 300 lines, in one piece: one function for each of its commands.
"""

from datetime import timedelta
from typing import Final

import click

from locksmith.cli import complete
from locksmith.cli.commands.enroll_history import note_again, note_end
from locksmith.cli.commands.enroll_machine import enroll_machine, refuse_group
from locksmith.cli.commands.enroll_names import Meant, find, name_argument, unknown
from locksmith.cli.commands.enroll_person import new_credential, operator, read_length, viewer
from locksmith.cli.commands.enroll_view import HEAD, certificates_of, fields, row, title, until
from locksmith.cli.empty import not_empty
from locksmith.cli.go_flags import GoCommand, GoGroup, GoOption
from locksmith.cli.output import json_flag, note, print_json, say, say_all, say_own
from locksmith.cli.session import Session, invoking_user, pass_session
from locksmith.cli.table import table, width
from locksmith.errors import LockError, UsageError
from locksmith.fleet.phrases import group_name
from locksmith.host.hostname import read_hostname
from locksmith.lock.credentials import CredentialStore
from locksmith.lock.records.credential import ENROLMENT
from locksmith.store.protocol import Store
from locksmith.util.words import quoted

NOTICED: Final = "servers refuse it within 5 s"
LONGEST_SECRET: Final = timedelta(days=7)
"""For how long machines can enrol with one secret at most."""


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
enroll.add_command(viewer, "viewer")
enroll.add_command(operator, "operator")


group_argument = click.argument(
    "group",
    metavar="[GROUP]",
    required=False,
    callback=not_empty("GROUP", "name a group, or leave it out for the configured one"),
    shell_complete=complete.groups,
)


@enroll.command("open", cls=GoCommand)
@group_argument
@click.option("--lasts", cls=GoOption, metavar="D", default="1h", show_default=True, help="For how long, up to 7d.")
@click.option("--most", cls=GoOption, type=click.IntRange(1), metavar="N", help="Enrol so many machines at most.")
@pass_session
def open_(session: Session, *, group: str | None, lasts: str, most: int | None) -> None:
    """Let machines of a group enrol for a while: print the secret that they need.

    Who has it can enrol machines that are not enrolled, and no other.
    """
    group = session.config.group if group is None else group
    refuse_group(group)
    length = read_length(lasts, "--lasts", LONGEST_SECRET)
    new = new_credential(session, ENROLMENT, "", (group,), length=length, most=most)
    token = session.with_store(lambda store: CredentialStore(store).open_enrolment(new, length.total_seconds()))
    say_own(token.text)
    note(
        f"Machines of {group_name(group)} can enrol with this secret until {until(new)}. Store it in a file on each, "
        "and run enroll machine --secret-file FILE there as root"
    )


@enroll.command("close", cls=GoCommand)
@group_argument
@pass_session
def close(session: Session, *, group: str | None) -> None:
    """End the enrolment secrets of a group. Machines that are enrolled stay so."""
    group = session.config.group if group is None else group
    ended = session.with_store(lambda store: CredentialStore(store).close_enrolments(group))
    name = group_name(group)
    say(f"{name}: {ended} enrolment secret{'s' * (ended != 1)} ended" if ended else f"nothing to end: {name} has none")


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


in_option = click.option(
    "--in",
    "group",
    cls=GoOption,
    metavar="GROUP",
    callback=not_empty("--in", "name the group of the token, or leave it out for all that the machine has"),
    shell_complete=complete.groups,
    help="The group of it.",
)
person_option = click.option("--person", cls=GoOption, is_flag=True, help="NAME is a person's, and no machine's.")


@enroll.command("revoke", cls=GoCommand)
@name_argument
@in_option
@person_option
@pass_session
def revoke(session: Session, *, name: str, group: str | None, person: bool) -> None:
    """Let what a machine or a person has count no more: its token, and a machine's client certificates.

    NAME is a machine-id, a host name, or a person's name. Its name stays taken, and the machine cannot enrol in any
    group. With --in, only the token of a machine in that group is revoked. Client certificates count for all groups, so
    they are revoked without --in.
    """
    _refuse_mixture(group, person=person)

    async def work(store: Store) -> list[str]:
        every, who = CredentialStore(store), invoking_user()
        meant = await find(store, name, group, person=person)
        done = []
        if meant.machine and group is None:
            is_new = await every.revoke_certificates(meant.machine, who, read_hostname(session.paths))
            done.append((certificates_of(meant.machine), is_new))
            meant = await find(store, meant.machine, None)  # it may have enrolled meanwhile, and cannot any more
            if not meant.tokens:
                note("no token of this id is known")
        unread = [kept for kept in meant.tokens if kept.one is None]
        done += [(title(kept), await every.revoke(kept, who)) for kept in meant.tokens if kept not in unread]
        if any(is_new for _, is_new in done):
            await note_end(store, meant, session.config.group)
        way = f"`locksmithctl enroll forget {quoted(name)}` removes it"
        if person:
            way = f"`locksmithctl enroll forget --person {quoted(name)}` removes it"
        return [
            *(
                f"{what} is revoked: {NOTICED}" if new else f"nothing to revoke: {what} was revoked before"
                for what, new in done
            ),
            *(f"{title(kept)} cannot be read, so it lets no caller in: {way}" for kept in unread),
        ]

    for line in session.with_store(work):
        say(line)


@enroll.command("forget", cls=GoCommand)
@name_argument
@in_option
@person_option
@click.option("--certificates", cls=GoOption, is_flag=True, help="Only let client certificates count again.")
@pass_session
def forget(session: Session, *, name: str, group: str | None, person: bool, certificates: bool) -> None:
    """Revoke a token and remove it, so that the machine or the person can be enrolled again.

    The client certificates of a machine stay revoked. With --certificates they count again, and tokens stay as they
    are.
    """
    _refuse_mixture(group, person=person, certificates=certificates)
    if certificates:
        _let_certificates_count(session, name)
        return

    async def work(store: Store) -> Meant:
        meant = await find(store, name, group, person=person)
        if not meant.tokens and not meant.revocation:
            raise unknown(name)
        for kept in meant.tokens:
            await CredentialStore(store).forget(kept, invoking_user())
        if meant.revocation:
            await CredentialStore(store).let_enrol(meant.revocation)
        if any(kept.one and not kept.one.revoked for kept in meant.tokens):
            await note_end(store, meant, session.config.group)
        await note_again(store, meant, session.config.group, "it may enrol again")
        return meant

    meant = session.with_store(work)
    for kept in meant.tokens:
        say(f"{title(kept)} is forgotten, and can be enrolled again: {NOTICED}")
    if meant.revocation and not meant.tokens:
        say(f"the machine {meant.machine} can be enrolled again")
    if meant.revocation:
        way = f"`locksmithctl enroll forget {meant.machine} --certificates` lets it count again"
        note(f"{certificates_of(meant.machine)} stays revoked: {way}")


def _refuse_mixture(group: str | None, *, person: bool, certificates: bool = False) -> None:
    if certificates and (person or group is not None):
        raise UsageError(
            "client certificates are a machine's, for all groups: leave out --in and --person, or --certificates; "
            "nothing was done"
        )
    if person and group is not None:
        raise UsageError("a person has one token for all its groups: leave out --in or --person; nothing was done")


def _let_certificates_count(session: Session, name: str) -> None:
    """Remove the revocation of a machine's client certificates. `LockError`: there is none."""

    async def work(store: Store) -> str:
        meant = await find(store, name, None)
        if meant.revocation is None:
            raise LockError(f"no client certificates of {name!r} are revoked; nothing was done")
        await CredentialStore(store).forget(meant.revocation, invoking_user())
        await note_again(store, meant, session.config.group, "its client certificates count again")
        return meant.machine

    say(f"{certificates_of(session.with_store(work))} counts again, within 5 s")
