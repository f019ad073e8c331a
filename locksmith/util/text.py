"""Text from elsewhere, made safe for a terminal, a log and a variable of the environment. Pure.

Everything that is printed or logged passes through `one_line`: a record in the store may have any character. Secrets
are left out (`locksmith/util/secret.py`).
"""

import re

from locksmith.util.secret import redact

LONGEST_TEXT_LINE = 4000
"""Characters of a line that is shown."""
_TAIL = 4
"""A line that is cut keeps this fraction at its end, which says what to do."""

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that count as printable and are invisible: two names that look alike would differ."""


def printable(text: str) -> str:
    """Spell out characters that break the line or steer the terminal; the others stay as they are.

    These are Unicode's control and format characters (bidirectional overrides, zero width), lone halves of surrogate
    pairs, separators of lines and paragraphs, and invisible characters. Secrets are left out.
    """
    text = redact(text)
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_SPELLING)


_OWN_WAY_OUT = re.compile(r"`(locksmithctl (?:nodes|recheck|resume(?: --replaces [0-9a-f]+)?|status|why))`")
"""The commands that daemons themselves name in their reasons. They name no machine and no slot."""


def plain(text: str) -> str:
    """Give a text of others without backquotes, in which our sentences have their commands (commands.py).

    A machine could otherwise have a command shown to an operator, with the flags with which it works. The ways out that
    a daemon names stay commands: `resume`, and those that only ask.
    """
    if "`" not in text:
        return text
    parts = _OWN_WAY_OUT.split(text)  # each second one is a command
    return "".join(f"`{part}`" if number % 2 else part.replace("`", "'") for number, part in enumerate(parts))


def one_line(text: str, most: int = LONGEST_TEXT_LINE) -> str:
    """Give any text as a line with single spaces; a line that is too long is cut, with a mark."""
    return cut(printable(" ".join(text.split())), most)


def cut(text: str, most: int) -> str:
    """Give a text of at most that length: its middle is left out, and the cut says how much."""
    if len(text) <= most:
        return text
    text = redact(text)  # a secret that is cut in two would not be found any more
    if len(text) <= most:
        return text
    tail = most // _TAIL
    head = most - tail
    return f"{text[:head]}[... {len(text) - head - tail} more characters ...]{text[-tail:]}"


class _Spelling(dict[int, str]):
    """The text of each character; known characters are kept, so that a long text costs little."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        seen = char.isprintable() and not _UNSEEN.match(char)
        spelt = char if seen else char.encode("unicode_escape").decode()
        if len(self) < _KEPT:
            self[code] = spelt
        return spelt


_KEPT = 4096
_SPELLING = _Spelling()
