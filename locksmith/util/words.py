"""Times, numbers and names for sentences. Pure."""

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

MOST_NAMED = 10
"""Names in a sentence; a group may have a thousand machines."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def named(things: Sequence[str], between: str = ", ") -> str:
    """Give the first names, and the number of the others: `n1, n2 and 998 more`."""
    more = len(things) - MOST_NAMED
    if more <= 1:  # the last name is as short as the number
        return between.join(things)
    return f"{between.join(things[:MOST_NAMED])} and {more} more"


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Give the known words that are most like one, which may have a typo in it; case does not count."""
    import difflib  # noqa: PLC0415 - only for this error

    cases = {one.casefold(): one for one in known}
    return [cases[one] for one in difflib.get_close_matches(word.casefold(), cases, most, cutoff=0.55)]


def did_you_mean(near: Sequence[str]) -> str:
    """End a sentence about an unknown word with those that are like it."""
    return f"; did you mean {' or '.join(near)}?" if near else ""


def instead_of(word: str, known: Iterable[str]) -> str:
    """End a sentence about an unknown word: the words that there are, and those that are like it."""
    names = sorted(known)
    near = nearest(word, names)
    return f"{', '.join(names) or 'none'}{did_you_mean(near)}"


_ESCAPES = str.maketrans({"`": r"\140", "'": r"\'", "\\": r"\\"})


def quoted(argument: object) -> str:
    """Give an argument for a suggested command: a shell reads it as one word, and the tool reads no option.

    It has no backquote, at which the command would end (commands.py): `$'...'` of POSIX 2024 has an escape for it.
    """
    text = str(argument)
    word = f"$'{text.translate(_ESCAPES)}'" if "`" in text else shlex.quote(text)
    return f"-- {word}" if word.startswith("-") else word


def span(length: timedelta) -> str:
    """Write a length of time: `41 s`, `12 min`, `3 h 5 min`, `2 d 4 h`; a negative length is `0 s`."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 120:  # noqa: PLR2004 - two minutes: below, seconds still matter
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 2:  # noqa: PLR2004 - two hours
        return f"{minutes} min"
    if hours < 48:  # noqa: PLR2004 - two days
        return _two(hours, "h", minutes % 60, "min")
    return _two(days, "d", hours % 24, "h")


def clock(when: datetime, now: datetime) -> str:
    """Write a moment in the zone of `now`: `02:14` today, `Fri 02:14` within six days, else with its date."""
    local = when.astimezone(now.tzinfo)
    days = abs((local.date() - now.date()).days)
    if days == 0:
        return f"{local:%H:%M}"
    return f"{local:%a %H:%M}" if days < 7 else f"{local:%Y-%m-%d %H:%M}"  # noqa: PLR2004 - a week


def ordinal(number: int) -> str:
    """Write a place in the queue: `third`, `21st`."""
    if 1 <= number <= len(_ORDINALS):
        return _ORDINALS[number - 1]
    teens = 10 < number % 100 < 14  # noqa: PLR2004 - 11th, 12th, 13th
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def count(number: int) -> str:
    """Write a number: `two`; from ten on in digits, `1,200`."""
    return _NUMBERS[number] if 0 <= number < len(_NUMBERS) else f"{number:,}"


def listed(names: list[str], most: int = 5) -> str:
    """Write names for a sentence: `a`, `a and b`, `a, b and c`; the rest as a number."""
    shown = names if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} others"]
    return " and ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"
