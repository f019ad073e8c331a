"""`--check-config --online`: says what came of asking."""

from collections.abc import Sequence

from locksmith.cli.output import fail, say
from locksmith.cli.run import FAILED
from locksmith.util.contact import Contact


def say_contacts(found: Sequence[Contact]) -> int:
    """Print each; give the exit status: 1 if one could not be asked."""
    for one in found:
        if one.problem:
            fail(f"{one.name}: {one.problem}")
        else:
            say(f"{one.name}: {one.says}")
    return FAILED if any(one.problem for one in found) else 0
