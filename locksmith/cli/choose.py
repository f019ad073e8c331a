"""The machine that a person means by a name: asked where the name may mean several, and never guessed."""

from collections.abc import Sequence

from locksmith.cli.output import ask, can_ask, note
from locksmith.errors import LockError
from locksmith.fleet.lookup import Match


def choose(matches: Sequence[Match], wanted: str, where: str = "") -> str:
    """Give the id of the only machine, or of the likeliest if a person agrees; `LockError` names all of them."""
    return choose_match(matches, wanted, where).machine_id


def choose_match(matches: Sequence[Match], wanted: str, where: str = "") -> Match:
    """Do the same, and give the whole match."""
    first, *others = matches
    if not others:
        return first
    candidates = ", ".join(one.describe() for one in matches)
    if can_ask():
        note(f"{wanted} is more than one machine{where}: {candidates}")
        if ask(f"Do you mean {first.describe()}?"):
            return first
        raise LockError("not confirmed; nothing was changed. Say the whole id of the machine that you mean")
    raise LockError(f"{wanted} is more than one machine{where}: name one of {candidates}")
