"""What is written below a prefix of etcd, and when it was seen: a watch that runs beside the benchmark."""

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import urllib3

from tests.harness.etcd import Etcd

SILENCE = 600.0
"""Seconds after which a watch that says nothing has failed."""


@dataclass(frozen=True, slots=True)
class Written:
    """One write, or with no value one removal; `at` is when it was seen, in seconds of the wall clock."""

    at: float
    key: str
    value: bytes | None


class Recorder:
    """Keeps every write below a prefix from the `with` block's beginning to its end."""

    def __init__(self, etcd: Etcd, prefix: str) -> None:
        self.written: list[Written] = []
        self._http = urllib3.PoolManager(retries=False, timeout=SILENCE)
        last = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        create = {"key": _base64(prefix), "range_end": _base64(last)}
        self._stream = self._http.request(
            "POST", f"{etcd.endpoints[0]}/v3/watch", json={"create_request": create}, preload_content=False
        )
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, name=f"recorder of {prefix}", daemon=True)

    def __enter__(self) -> Self:
        """Begin to keep what is written; the watch itself stands already."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the watch."""
        self._stream.shutdown()
        self._thread.join()
        self._http.clear()

    def wait(self, holds: Callable[[list[Written]], bool], limit: float) -> None:
        """Wait until what was seen is enough; `TimeoutError` after `limit` seconds."""
        with self._news:
            if not self._news.wait_for(lambda: holds(self.written), limit):
                raise TimeoutError(f"not written within {limit:g} s")

    def _listen(self) -> None:
        try:
            for line in self._stream:
                at = time.time()
                events = json.loads(line)["result"].get("events", [])
                with self._news:
                    self.written += [_written(at, event) for event in events]
                    self._news.notify_all()
        except urllib3.exceptions.HTTPError:
            return  # shut down at the end


def _written(at: float, event: dict[str, Any]) -> Written:
    kv = event["kv"]
    removed = event.get("type") == "DELETE"
    return Written(at, base64.b64decode(kv["key"]).decode(), None if removed else base64.b64decode(kv.get("value", "")))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
