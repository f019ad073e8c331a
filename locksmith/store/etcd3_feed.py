"""The messages of a watch of a prefix, as etcd's gateway writes them. Pure.

A transaction is never torn: its events come in one message, or in fragments of one, of which the last is not marked.
"""

from typing import Any

from locksmith.store import etcd3_fields as fields
from locksmith.store.etcd3_wire import is_compacted
from locksmith.store.feed import Batch, Hear, Opened, Removed
from locksmith.store.grpc import Message
from locksmith.store.protocol import Entry
from locksmith.util.jsonread import BadJsonError, read, shown


class Messages:
    """Tells what the messages of one watch say. `BadJsonError`: etcd never says that."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._fragments: list[Entry | Removed] = []
        self._opened = False

    def __call__(self, message: Message) -> bool | None:
        """Tell what a message says; True: the store was compacted, so changes are missing."""
        if read(message, "canceled", bool, default=False):
            return is_compacted(message)
        if read(message, "created", bool, default=False):
            # After a new token the gateway opens the same watch again: it begins where this one began.
            self._fragments, self._opened = [], True
            self._hear(Opened(fields.revision(message)))
        events = read(message, "events", list, [])
        if events and not self._opened:
            raise BadJsonError("a watch tells of events before it says that it is open")
        self._fragments += [_change(event) for event in events]
        if self._fragments and not read(message, "fragment", bool, default=False):
            changes, self._fragments = tuple(self._fragments), []
            last = changes[-1]
            # The header's revision may be past changes that are still to come.
            self._hear(Batch(changes, last.version if isinstance(last, Entry) else last.revision))
        return None


def _change(event: Any) -> Entry | Removed:
    if not isinstance(event, dict):
        raise BadJsonError(f"an event must be an object, not {shown(event)}")
    kind, kv = read(event, "type", str, "PUT"), read(event, "kv", dict)
    if kind == "PUT":
        return fields.entry(kv)
    if kind != "DELETE":
        raise BadJsonError(f"an event must be PUT or DELETE, not {shown(kind)}")
    return Removed(fields.decode(kv, "key").decode(errors="surrogateescape"), fields.positive(kv, "mod_revision"))
