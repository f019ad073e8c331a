"""The one place that keeps secrets on this machine: every text that leaves it passes through `redact`.

`printable` (the log, the terminal, systemd's status, the warning to users, hooks), `records.dump` (etcd), the D-Bus
service and the tool's JSON call it. So no part has to know whether an error, a program's output or a reason of an
operator has a secret in it.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "***"

SHORTEST = 6
"""Characters of the shortest secret that is looked for: a shorter one would be found in ordinary words."""
_CERTAIN = 12
"""A secret of so many characters, with a digit in it, is found within a word too."""
_MOST = 64
"""Renewed secrets that are remembered: a token may be another one every hour."""

_USER = re.compile(
    # all before the last @ of a host, or a password with a slash in it, which is no port
    r"(?<=://)(?:[^\s/?#\"'<>]*|[^\s/?#@:\"'<>]{0,256}:(?!\d+/)[^\s\"'<>]{0,256})@"
)
_HEADER = re.compile(
    r"(?i)\b(authorization[\"']?\s?[:=]\s?[\"']?(?:(?:basic|bearer|digest)\s)?|bearer\s(?=[\w.~+/=-]{16}))[^\s\"',;]+"
)
_FIELD = re.compile(r"(?i)((?:password|passwd|passphrase|secret|token|api[-_]?key)=)(?=[^\s&\"'])[^\s&\"',;]+")

Exempt = frozenset[str]


class _Known:
    """The secrets of this process. One thread adds them, any thread may look for them."""

    def __init__(self) -> None:
        self._lasting: dict[str, re.Pattern[str]] = {}
        self._renewed: dict[str, re.Pattern[str]] = {}

    def add(self, secret: str, *, renewed: bool) -> None:
        if len(secret) < SHORTEST or secret in self._lasting or secret in self._renewed:
            return
        certain = len(secret) >= _CERTAIN and any(char.isdigit() for char in secret)
        # A password like `locksmith` is a word, too: the names that have it in them stay.
        pattern = re.escape(secret) if certain else rf"(?<![\w-]){re.escape(secret)}(?![\w-])"
        compiled = re.compile(pattern)
        if renewed:
            self._renewed = dict([*self._renewed.items(), (secret, compiled)][-_MOST:])
        else:
            self._lasting = {**self._lasting, secret: compiled}

    def hide(self, text: str) -> str:
        known = {**self._lasting, **self._renewed}
        for secret, pattern in sorted(known.items(), key=lambda one: -len(one[0])):  # one may be a part of another
            if secret in text:
                text = pattern.sub(MASK, text)
        return text


_KNOWN = _Known()


def keep_secret(secret: str, user: str = "", *, renewed: bool = False) -> None:
    """Remember a secret, and the forms in which a URL or a header has it, so that `redact` finds it.

    Of those that are `renewed` while the program runs, the oldest are forgotten in the end.
    """
    for form in (secret, quote(secret, safe=""), b64encode(f"{user}:{secret}".encode()).decode() if user else ""):
        _KNOWN.add(form, renewed=renewed)


def redact(text: str) -> str:
    """Give a text without secrets: those of `keep_secret`, users in URLs, and what looks like a password or a token."""
    text = _KNOWN.hide(text)
    if "@" in text:
        text = _USER.sub(f"{MASK}@", text)
    if "=" in text or ":" in text or "earer" in text:
        text = _FIELD.sub(rf"\g<1>{MASK}", _HEADER.sub(rf"\g<1>{MASK}", text))
    return text


def redacted(value: Any, exempt: Exempt = frozenset()) -> Any:
    """Give a value of JSON with each text redacted, except the fields with these names."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: held if name in exempt else redacted(held, exempt) for name, held in value.items()}
    return [redacted(held, exempt) for held in value] if isinstance(value, list | tuple) else value
