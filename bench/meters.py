"""etcd's own figures, from its /metrics."""

import re
from dataclasses import dataclass

import urllib3

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_METHOD = re.compile(r'grpc_method="(\w+)",grpc_service="etcdserverpb\.')


@dataclass(frozen=True, slots=True)
class Reading:
    """What one member has counted so far.

    `requests` are by gRPC method (the gateway's calls are its own gRPC calls), `size` is the database's in bytes,
    `memory` what is resident in MiB, `cpu` in seconds.
    """

    requests: dict[str, int]
    watchers: int
    revision: int
    size: int
    memory: float
    cpu: float

    def since(self, before: "Reading") -> dict[str, int]:
        """Count the requests that began since, by method; those of which there were none are left out."""
        methods = {method: count - before.requests.get(method, 0) for method, count in self.requests.items()}
        return {method: count for method, count in sorted(methods.items()) if count}


class Meters:
    """The figures of one member."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/metrics"
        self._http = urllib3.PoolManager(retries=False, timeout=30.0)

    def read(self) -> Reading:
        """Ask once."""
        samples = _SAMPLE.findall(self._http.request("GET", self._url).data.decode())
        single = {name: float(value) for name, labels, value in samples if not labels}
        started = [(labels, value) for name, labels, value in samples if name == "grpc_server_started_total"]
        requests = {method: int(float(value)) for labels, value in started for method in _METHOD.findall(labels)}
        return Reading(
            requests=requests,
            watchers=int(single["etcd_debugging_mvcc_watcher_total"]),
            revision=int(single["etcd_debugging_mvcc_current_revision"]),
            size=int(single["etcd_mvcc_db_total_size_in_use_in_bytes"]),
            memory=single["process_resident_memory_bytes"] / 2**20,
            cpu=single["process_cpu_seconds_total"],
        )
