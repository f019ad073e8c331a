"""Arguments that are empty: what a shell makes of a variable that is not set. Each is an error with a way out."""

from collections.abc import Callable
from typing import TypeVar

import click

from locksmith.errors import UsageError

V = TypeVar("V", str, str | None, tuple[str, ...])


def not_empty(what: str, way_out: str) -> Callable[[click.Context, click.Parameter, V], V]:
    """Make a callback that refuses an argument, or one of several, that is empty; one that was not given is none.

    `what` is what people call the argument, and `way_out` an order to them.
    """

    def check(_context: click.Context, _parameter: click.Parameter, value: V) -> V:
        given = (value,) if isinstance(value, str) else value or ()
        if any(not one.strip() for one in given):
            raise UsageError(f"{what} is empty: {way_out}; nothing was done")
        return value

    return check
