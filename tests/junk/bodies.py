"""Bodies of D-Bus messages, whole and broken: other values, other shapes, other types than anybody expects.

A bus delivers no body that its signature does not describe, so both are broken together; `test_bodies.py` sends
them through the library to see that they can be delivered.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.harness.dbus import STRUCT, Message, MessageType, SignatureType, Variant, as_read, types_of

ERRORS = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.login1.OperationInProgress",
    "org.freedesktop.systemd1.NoSuchUnit",
    "a.b",
)
TEXTS = (
    *("", " ", "\n", "\x1b[2J", "é", "\U0001f4a5", "a" * 2000, "{}", "%s", "-1", "nan", "0.0.0", "../..", "a\nb\r\n"),
    *("shutdown", "block", "user", "closing", "stopping", "running", "active", "yes", "tty", "reboot.target", "reboot"),
    *("UPDATE_STATUS_UPDATED_NEED_REBOOT", "UPDATE_STATUS_IDLE", "org.locksmith1.Manager", "State", ":1.1"),
)
BASIC = "ybnqiuxtdsog"
TYPES = (*BASIC, "h", "v", "as", "ay", "a{sv}", "a{us}", "(s)", "a(ss)", "aas", "(sa{sv}v)", "av", "((b)(b))")
_PLAIN: dict[str, tuple[Any, ...]] = {
    "b": (True, False),
    "d": (0.0, -1.0, float("nan"), float("inf"), 1e308),
    "s": TEXTS,
    "o": ("/", "/a", "/org/freedesktop/login1"),
    "g": ("", "s", "a{sv}"),
    "h": (0,),
}
DEEPEST = 2
"""How many variants are in one another, but the last."""
_BITS = {"y": (0, 8), "n": (1, 15), "q": (0, 16), "i": (1, 31), "u": (0, 32), "x": (1, 63), "t": (0, 64)}


@dataclass(frozen=True)
class Body:
    """A body and its signature; `error`: it is that of an error of this name."""

    signature: str
    values: tuple[Any, ...] = ()
    error: str = ""

    @property
    def body(self) -> list[Any]:
        """The values as the library reads them."""
        return [as_read(one) for one in self.values]

    def reply(self) -> Message:
        """Make the answer to a call of it."""
        kind = MessageType.ERROR if self.error else MessageType.METHOD_RETURN
        name = self.error or None
        return Message(message_type=kind, error_name=name, reply_serial=1, signature=self.signature, body=self.body)


def mutate(good: Body, rng: Random) -> Body:
    """Break it: mostly other values of the same types, as those get furthest."""
    types = [one.signature for one in types_of(good.signature)]
    at = rng.randrange(len(types) + 1)
    match rng.randrange(8):
        case 0:
            return Body(*_of(rng.choice(("", "s", "su", "as")), rng), error=rng.choice(ERRORS))
        case 1:
            types[at : at + 1] = []
        case 2:
            types[at:at] = [rng.choice(TYPES)]
        case 3:
            types[at : at + 1] = [_wrapped("".join(types[at : at + 1]) or "s", rng)]
        case _:
            values = tuple(value if rng.random() < 0.5 else _like(value, kind, rng) for value, kind in _each(good))
            return Body(good.signature, values)
    return Body(*_of("".join(types), rng))


def value(of: SignatureType, rng: Random, depth: int = 0) -> Any:
    """Draw a value of a type."""
    if of.token in _PLAIN:
        return rng.choice(_PLAIN[of.token])
    if of.token in _BITS:
        signed, bits = _BITS[of.token]
        return rng.choice((0, 1, 2**bits - 1, -signed * 2**bits, rng.randrange(2**bits)))
    if of.token == "v":
        inner = rng.choice(TYPES if depth < DEEPEST else BASIC)
        return Variant(inner, value(types_of(inner)[0], rng, depth + 1))
    if of.token == "(":
        return STRUCT(value(child, rng, depth) for child in of.children)
    return _array(of.children[0], rng, depth)


def _array(of: SignatureType, rng: Random, depth: int) -> Any:
    if of.token == "{":
        key, held = of.children
        return {value(key, rng, depth): value(held, rng, depth) for _ in range(rng.randrange(3))}
    if of.token == "y":
        return rng.randbytes(rng.randrange(3))
    return [value(of, rng, depth) for _ in range(rng.randrange(4))]


def _each(good: Body) -> list[tuple[Any, SignatureType]]:
    return list(zip(good.values, types_of(good.signature), strict=True))


def _like(old: Any, of: SignatureType, rng: Random) -> Any:
    """Change a value, or some of what is in it."""
    if of.token == "(" or (of.token == "a" and isinstance(old, list) and old):
        kinds = of.children if of.token == "(" else of.children * len(old)
        parts = [_like(one, kind, rng) if rng.random() < 0.4 else one for one, kind in zip(old, kinds, strict=True)]
        return STRUCT(parts) if of.token == "(" else parts
    if of.token == "a" and isinstance(old, dict) and old and rng.random() < 0.7:
        held = of.children[0].children[1]
        kept = {key: _like(one, held, rng) if rng.random() < 0.4 else one for key, one in old.items()}
        kept.pop(rng.choice(list(kept)) if rng.random() < 0.3 else None, None)
        return kept
    return value(of, rng)


def _wrapped(inner: str, rng: Random) -> str:
    return rng.choice((f"({inner})", f"a{inner}", "v", f"a{{s{inner}}}", f"({inner}{inner})"))


def _of(signature: str, rng: Random) -> tuple[str, tuple[Any, ...]]:
    return signature, tuple(value(one, rng) for one in types_of(signature))
