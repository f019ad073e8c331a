"""What a group's semaphore was at every moment, from etcd's own history."""

import base64
import json

from locksmith.lock.records.keys import semaphore_key
from tests.harness.etcd import Etcd


def holders_over_time(etcd: Etcd, group: str = "", *, member: int = 0) -> list[list[str]]:
    """Every list of holders that was ever written, the oldest first; `member` is the index of the one to ask."""
    history: list[list[str]] = []
    revision = 0
    while entry := _semaphore_at(etcd, group, member, revision):
        history.insert(0, json.loads(base64.b64decode(entry["value"]))["holders"] or [])
        if entry["mod_revision"] == entry["create_revision"]:
            break
        revision = int(entry["mod_revision"]) - 1
    return history


def _semaphore_at(etcd: Etcd, group: str, member: int, revision: int) -> dict[str, str] | None:
    """The semaphore as it was at a revision; 0: as it is."""
    key = base64.b64encode(semaphore_key(group).encode()).decode()
    found: list[dict[str, str]] = etcd.call("/v3/kv/range", member=member, key=key, revision=revision).get("kvs", [])
    return found[0] if found else None
