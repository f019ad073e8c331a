"""The counting semaphore and its wire format, byte for byte what CoreOS locksmith's Go encoder writes.

`{"semaphore":1,"max":1,"holders":null}`: `semaphore` is the number of free slots, `max - len(holders)` (negative
after a resize below what is held), `holders` sorted, no spaces, no further fields: a Go node drops what it does not
know when it writes, so anything more about a holder lives in sibling keys.
"""

import json
import re
from dataclasses import dataclass

from locksmith.errors import CorruptValueError, LockError
from locksmith.util import jsonread, limits
from locksmith.util.words import named

INT64_MAX = 2**63 - 1


class NoFreeSlotError(LockError):
    """Not done: every slot is held, or `max` is 0 or less and there is none."""


class AlreadyHeldError(LockError):
    """Not done: the holder has a slot already."""


class NotHeldError(LockError):
    """Not done: the holder has no slot."""


@dataclass(frozen=True, slots=True)
class Semaphore:
    """Who holds a slot, and how many there are. Immutable: each change makes a new one."""

    max: int = 1
    holders: tuple[str, ...] = ()

    @property
    def available(self) -> int:
        """The number of free slots; negative when more are held than `max`."""
        return self.max - len(self.holders)

    def take(self, holder: str, position: int = 1) -> "Semaphore":
        """Add a holder. `NoFreeSlotError` is checked first, then `AlreadyHeldError`, as in CoreOS locksmith.

        With a `position` in the queue, a slot must be free for each place before it too.
        """
        if self.available <= 0:
            held = named(self.holders) or "no machine"
            raise NoFreeSlotError(f"no slot is free: max is {self.max}, held by {held}")
        if holder in self.holders:
            raise AlreadyHeldError(f"{holder} holds a slot already")
        if self.available < position:
            raise NoFreeSlotError(f"{self.available} slots are free, and {position - 1} machines wait before {holder}")
        return Semaphore(self.max, tuple(sorted((*self.holders, holder))))

    def release(self, holder: str) -> "Semaphore":
        """Remove a holder, or raise `NotHeldError`."""
        if holder not in self.holders:
            raise NotHeldError(f"{holder} holds no slot")
        return Semaphore(self.max, tuple(other for other in self.holders if other != holder))

    def resize(self, slots: int) -> "Semaphore":
        """Change `max`; no holder loses a slot by it."""
        return Semaphore(slots, self.holders)


def encode(semaphore: Semaphore) -> bytes:
    """Write the semaphore as Go's `encoding/json` does; `LockError`: it would be too long to be read again."""
    fields = {
        "semaphore": semaphore.available,
        "max": semaphore.max,
        "holders": list(semaphore.holders) or None,
    }
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    raw = _SHORT_ESCAPE.sub(_spell_out, text).translate(_GO_ESCAPES).encode()
    if len(raw) > limits.SEMAPHORE:
        raise LockError(
            f"a semaphore with {len(semaphore.holders)} holders has {len(raw)} bytes, and at most {limits.SEMAPHORE} "
            "are read; nothing was changed. `locksmithctl unlock --stale` frees slots"
        )
    return raw


def decode(raw: bytes, key: str) -> Semaphore:
    """Read a semaphore; `CorruptValueError`, with the key's name: the value is not exactly one."""
    try:
        return _parse(jsonread.load_record(raw, limits.SEMAPHORE))
    except jsonread.BadJsonError as error:
        raise CorruptValueError(
            key,
            f"not a semaphore: {error}; nothing was changed. `locksmithctl repair --max 1` shows it and makes it new",
        ) from None


_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_SHORT_ESCAPE = re.compile(r"\\[\\bf]")
"""Python shortens these two control characters, Go does not; an escaped backslash is passed over as one."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_FIELDS = {"semaphore", "max", "holders"}


def _spell_out(escape: re.Match[str]) -> str:
    return {"\\b": "\\u0008", "\\f": "\\u000c"}.get(escape[0], escape[0])


def _parse(fields: dict[str, object]) -> Semaphore:
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise jsonread.BadJsonError(f"the field {unknown[0]!r} is unknown")
    slots = jsonread.read(fields, "max", int)
    free = jsonread.read(fields, "semaphore", int)
    holders = read_holders(fields)
    if not -INT64_MAX <= slots <= INT64_MAX:
        raise jsonread.BadJsonError("the field 'max' is beyond 64 bits")
    if free != slots - len(holders):
        raise jsonread.BadJsonError(f"it says {free} free, but max is {slots} and {len(holders)} hold it")
    return Semaphore(slots, tuple(sorted(holders)))


def read_holders(fields: dict[str, object]) -> list[str]:
    """Read the ids of the field `holders`, in their order, or raise `BadJsonError`; null is none."""
    holders: list[object] = []
    if fields.get("holders", ()) is not None:
        holders = jsonread.read(fields, "holders", list)
    names = [name for name in holders if isinstance(name, str) and name and _encodable(name)]
    if len(names) != len(holders):
        raise jsonread.BadJsonError("the field 'holders' must be a list of ids, none of them empty")
    twice = jsonread.twice(names)
    if twice is not None:
        raise jsonread.BadJsonError(f"the holder {twice!r} is in it twice")
    return names


def _encodable(name: str) -> bool:
    """Whether a name is Unicode text: JSON can spell half a surrogate pair, UTF-8 can not."""
    return name.isascii() or not _SURROGATE.search(name)
