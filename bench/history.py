"""Every value that a group's semaphore ever had, from etcd's own history, by a watch from the first revision."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import urllib3

from locksmith.lock.records import semaphore
from locksmith.lock.records.keys import semaphore_key
from locksmith.lock.records.semaphore import Semaphore
from tests.harness.etcd import Etcd

SILENCE = 30.0
"""Seconds after which a watch that says nothing has failed."""


class LostHistoryError(Exception):
    """The watch did not show every write."""


def semaphores(etcd: Etcd, group: str) -> list[Semaphore]:
    """Give every semaphore that was written, the oldest first; `LostHistoryError` unless it is certainly every one."""
    key = semaphore_key(group)
    encoded = base64.b64encode(key.encode()).decode()
    [now] = etcd.call("/v3/kv/range", key=encoded)["kvs"]
    writes = []
    for kv in _writes(etcd, encoded):
        writes.append(semaphore.decode(base64.b64decode(kv["value"]), key))
        if kv["mod_revision"] == now["mod_revision"]:
            break
    # etcd counts the writes of a key in its `version`.
    if len(writes) != int(now["version"]):
        raise LostHistoryError(f"{key} was written {now['version']} times, the watch showed {len(writes)}")
    return writes


def _writes(etcd: Etcd, encoded: str) -> Iterator[dict[str, Any]]:
    with urllib3.PoolManager(retries=False, timeout=SILENCE) as http:
        stream = http.request(
            "POST",
            f"{etcd.endpoints[0]}/v3/watch",
            json={"create_request": {"key": encoded, "start_revision": "1"}},
            preload_content=False,
        )
        for line in stream:
            for event in json.loads(line)["result"].get("events", []):
                yield event["kv"]
