"""What a machine remembers of a store, and how its parts are read from the file. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from locksmith.store.cluster import parse_id
from locksmith.store.protocol import Fingerprint
from locksmith.util import jsonread


@dataclass(frozen=True, slots=True)
class Seen:
    """The highest revision seen, when that was, and the last `resume` that was known then; of which cluster, and where.

    `entry` is the youngest of the lock's key, `entry_at` when it was first seen. `back` is when the store was seen
    to have gone back (None: it has not), `why` by what.
    """

    revision: int = 0
    at: datetime | None = None
    resumed: datetime | None = None
    cluster: str = ""
    cluster_at: str = ""
    entry: Fingerprint | None = None
    entry_at: datetime | None = None
    back: datetime | None = None
    why: str = ""


def read_cluster(fields: dict[str, Any], store: str) -> str:
    """Read the id; a file of an earlier version has it as the API writes it."""
    if "cluster" in fields and "cluster_id" not in fields:
        older = jsonread.read(fields, "cluster", str)
        return parse_id(older, 16 if store.startswith("2 ") else 10, "cluster") if older else ""
    cluster = jsonread.read(fields, "cluster_id", str, "")
    return parse_id(cluster, 16, "cluster_id") if cluster else ""


def read_entry(fields: object) -> Fingerprint | None:
    """Read what is remembered of an entry; None: nothing is."""
    if not isinstance(fields, dict):
        return None
    names = ("key", str), ("digest", str)
    key, digest = (jsonread.read(fields, name, kind) for name, kind in names)
    return Fingerprint(key, jsonread.read(fields, "version", int), digest)
