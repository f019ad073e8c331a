"""A group that an order names: in use, or perhaps a typo, which a person has to confirm."""

import contextlib

from locksmith.cli.output import ask, can_ask, note
from locksmith.cli.session import Session
from locksmith.errors import LockError, StoreError, StoreRefusedError
from locksmith.fleet.phrases import group_name
from locksmith.fleet.reader import is_used, list_groups
from locksmith.store.protocol import Store
from locksmith.util.words import listed, nearest


def confirm_group(session: Session, deed: str, *, sure: bool) -> bool:
    """Tell whether the group is in use. If not: warn if a person is `sure`, else ask; `LockError`: it stays undone.

    `deed` is the command's word, like `freeze`.
    """
    session.group_config()
    words = unknown_group(session)
    if not words:
        return True
    if sure:
        note(f"Warning: {words}")
    elif not can_ask():
        raise LockError(f"{words} Nothing was done: to {deed} it all the same, use --yes")
    elif not ask(f"{words} {deed.capitalize()} it all the same?"):
        raise LockError("not confirmed; nothing was done")
    return False


def note_unknown_group(session: Session) -> None:
    """Warn if the group is not in use: what was found of it may be nothing because its name is a typo.

    The command is done: a store that fails by now does not make it fail.
    """
    with contextlib.suppress(StoreError):
        if words := unknown_group(session):
            note(f"Warning: {words}")


def unknown_group(session: Session) -> str:
    """Say that the group is not in use, and which names are like it; empty: it is in use."""
    group = session.config.group
    known = session.with_store(lambda store: _known(store, group))
    if known is None:
        return ""
    near = nearest(group, [one for one in known if one]) if group else []
    if near:
        hint = f"did you mean {listed(near)}?"
    else:
        others = listed([one or "(default)" for one in known])
        hint = f"in use are: {others}." if known else "no group is in use yet."
    return f"nothing has locked in {group_name(group)}, and no machine of it is present; {hint}"


async def _known(store: Store, group: str) -> list[str] | None:
    """Give the groups in use, as far as they can be read; None: this one is among them."""
    if await is_used(store, group):
        return None
    with contextlib.suppress(StoreRefusedError):  # an etcd user may be bound to its own group
        return await list_groups(store)
    return []
