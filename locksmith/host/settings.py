"""The configuration of users' sessions."""

from dataclasses import dataclass

INTERACTIVE, ALL, NONE = "interactive", "all", "none"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Which sessions count: those with a terminal or a desktop (`interactive`), `all` of users, or `none`.

    `ignore` names users whose sessions do not count.
    """

    which: str = INTERACTIVE
    ignore: tuple[str, ...] = ()
