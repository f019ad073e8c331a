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
"""Renewed secrets of a file that are remembered: a token may be another one every hour."""

_USER = re.compile(
    # all before the last @ of a host, or a password with a slash in it, which is no port
    r"(?<=://)(?:[^\s/?#\"'<>]*|[^\s/?#@:\"'<>]{0,256}:(?!\d+/)[^\s\"'<>]{0,256})@"
)
_HEADER = re.compile(
    r"(?i)\b(authorization[\"']?\s?[:=]\s?[\"']?(?:(?:basic|bearer|digest)\s)?|bearer\s(?=[\w.~+/=-]{16}))[^\s\"',;]+"
)
_FIELD = re.compile(r"(?i)((?:password|passwd|passphrase|secret|token|api[-_]?key)=)(?=[^\s&\"'])[^\s&\"',;]+")

TOKENS: Final = r"ls[mvoes]_[0-9a-f]{32}_[A-Za-z0-9_-]{43}"
"""The tokens of locksmith-server (tokens.py): each is a secret in any text."""
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_-]){TOKENS}(?![A-Za-z0-9_-])")

Exempt = frozenset[str]


class _Known:
    """The secrets of this process, by the file that renews them; those without a file last.

    Each file may have its own thread that adds; any thread may look. So each step on `_by_file` is a single one.
    """

    def __init__(self) -> None:
        self._by_file: dict[str, dict[str, re.Pattern[str]]] = {}

    def add(self, secret: str, file: str) -> None:
        if len(secret) < SHORTEST:
            return
        # Each file has a limit of its own: a token of each hour must not push a password out that is in use.
        held = dict(self._by_file.get(file, {}))
        held[secret] = held.pop(secret) if secret in held else _pattern(secret)
        self._by_file[file] = dict([*held.items()][-_MOST:]) if file else held

    def hide(self, text: str) -> str:
        known = {secret: pattern for held in list(self._by_file.values()) for secret, pattern in held.items()}
        for secret, pattern in sorted(known.items(), key=lambda one: -len(one[0])):  # one may be a part of another
            if secret in text:
                text = pattern.sub(MASK, text)
        return text


def _pattern(secret: str) -> re.Pattern[str]:
    certain = len(secret) >= _CERTAIN and any(char.isdigit() for char in secret)
    # A password like `locksmith` is a word, too: the names that have it in them stay.
    return re.compile(re.escape(secret) if certain else rf"(?<![\w-]){re.escape(secret)}(?![\w-])")


_KNOWN = _Known()


def keep_secret(secret: str, user: str = "", *, renewed_in: str = "") -> None:
    """Remember a secret, and the forms in which a URL or a header has it, so that `redact` finds it.

    Of those that a file renews while the program runs, the oldest of this file are forgotten in the end.
    """
    for form in (secret, quote(secret, safe=""), b64encode(f"{user}:{secret}".encode()).decode() if user else ""):
        _KNOWN.add(form, renewed_in)


def redact(text: str) -> str:
    """Give a text without secrets: those of `keep_secret`, users in URLs, and what looks like a password or a token."""
    text = _KNOWN.hide(text)
    if "_" in text:
        text = _TOKEN.sub(MASK, text)
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
