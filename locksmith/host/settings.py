"""What the configuration says about the sessions of users."""

from dataclasses import dataclass

INTERACTIVE, ALL, NONE = "interactive", "all", "none"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Which sessions count: those with a terminal or a desktop (`interactive`), `all` of users, or `none`.

    `ignore` names users whose sessions do not.
    """

    which: str = INTERACTIVE
    ignore: tuple[str, ...] = ()
