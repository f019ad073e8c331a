"""The fields of etcd's v3 API that every message has in common: keys, bytes and numbers. Pure."""

from base64 import b64decode, b64encode
from typing import Any

from locksmith.store.grpc import Message, number
from locksmith.store.protocol import Entry
from locksmith.util.jsonread import BadJsonError, convert, read, shown


def entries(message: Message) -> list[Entry]:
    """Read the keys of an answer."""
    return [entry(kv) for kv in read(message, "kvs", list, [])]


def entry(kv: Any) -> Entry:
    """Read one key."""
    if not isinstance(kv, dict):
        raise BadJsonError(f"a key must be an object, not {shown(kv)}")
    return Entry(
        key=decode(kv, "key").decode(errors="surrogateescape"),
        value=decode(kv, "value"),
        version=positive(kv, "mod_revision"),
        created=positive(kv, "create_revision"),
        lease=number(kv, "lease"),
    )


def revision(message: Message) -> int:
    """Read the revision of the store that answers."""
    return positive(read(message, "header", dict), "revision")


def positive(fields: Message, name: str) -> int:
    """Read a number that is never 0 or less."""
    value = number(fields, name)
    if value <= 0:
        raise BadJsonError(f"the field {name!r} must be a positive number, not {value}")
    return value


def nested(value: Any, *names: str) -> Message:
    """Give what is found below these names; nothing: an empty object."""
    for name in names:
        value = read(value, name, dict) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def raw(key: str) -> bytes:
    """Give the bytes of a key; another program's key that is no UTF-8 comes and goes unchanged."""
    return key.encode(errors="surrogateescape")


def encode(raw: bytes) -> str:
    """Write bytes."""
    return b64encode(raw).decode()


def decode(fields: Message, name: str) -> bytes:
    """Read bytes."""
    return convert(name, read(fields, name, str, ""), lambda text: b64decode(text, validate=True))
