"""All that is wrong with a configuration, so that an operator corrects it at once and not error by error."""

from collections.abc import Callable
from typing import TypeVar

from locksmith.errors import UsageError

T = TypeVar("T")

EVERYTHING = "*"
"""Stands for all tables: a whole file could not be read."""


class Problems:
    """The problems in the order in which they were found.

    A value that cannot be read is left out. What follows from that alone is no problem of its own: after an error in a
    table, the rules between the keys of this table find no other.
    """

    def __init__(self) -> None:
        self._found: list[str] = []
        self._broken: set[str] = set()

    def attempt(self, read: Callable[[], T], instead: T) -> T:
        """Read something; if that fails, note the problem and give what is used instead."""
        try:
            return read()
        except UsageError as error:
            self._found.append(str(error))
            return instead

    def attempt_value(self, read: Callable[[], T], table: str) -> T | None:
        """Read a value of a table, or a whole file (`EVERYTHING`); None: it cannot be read."""
        before = len(self._found)
        value = self.attempt(read, None)
        if len(self._found) > before:
            self._broken.add(table)
        return value

    def check(self, rule: Callable[[], T], instead: T, *tables: str) -> T:
        """Do the same for a rule between keys of some tables, unless one of them has an error already."""
        if self._broken.isdisjoint({*tables, EVERYTHING}):
            return self.attempt(rule, instead)
        try:
            return rule()
        except UsageError:
            return instead

    @property
    def found(self) -> tuple[str, ...]:
        """Give each problem once, as a sentence."""
        return tuple(dict.fromkeys(self._found))

    def refuse(self, program: str, hint: str = "") -> None:
        """Raise a `UsageError` if there is a problem; the `hint` may be its cause."""
        if not (found := self.found):
            return
        more = f" (and {len(found) - 1} more: `{program} --check-config` names each)" if len(found) > 1 else ""
        raise UsageError(f"{found[0]}{more}{hint and f'; {hint}'}")
