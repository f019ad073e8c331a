"""`python -m bench.alerts [MACHINES]`: what the rules of contrib/prometheus cost a real Prometheus, for a large fleet.

One target serves the series of all machines, as their daemons do, in groups of 1,000. So scrapes are cheaper than in a
fleet; the series, the memory and the rules are the same.
"""

import re
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from locksmith.daemon.group_metrics import GroupMetrics
from locksmith.daemon.lock_metrics import LockMetrics
from locksmith.daemon.metrics import Identity, Metrics
from tests.harness.prometheus import REPOSITORY, RULES, Prometheus

MACHINES = 10_000
GROUP = 1_000
DROPPED = re.compile(r"regex: (locksmith_.*)")
MOVING = ("locksmith_last_cycle_timestamp_seconds", "locksmith_presence_timestamp_seconds")
EVALUATIONS = 6
EVERY = 30
COSTS = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "prometheus_rule_group_last_duration_seconds",
    "prometheus_tsdb_head_series ",
)


def series() -> tuple[str, int]:
    """Give the lines of one machine, with `INSTANCE` and `GROUP` and `NOW` in them, as scrape.yml keeps them."""
    registry = CollectorRegistry()
    Metrics(registry, Identity("GROUP", "etcd-lock"))
    LockMetrics(registry, GroupMetrics(registry, "GROUP"))
    [dropped] = DROPPED.findall((REPOSITORY / "contrib/prometheus/scrape.yml").read_text())
    lines = []
    for line in generate_latest(registry).decode().splitlines():
        name = re.match(r"\w+", line)
        if name is None or name[0].endswith("_created") or re.fullmatch(dropped, name[0]):
            continue
        labels, value = re.fullmatch(r"\w+(?:{(.*)})? (\S+)", line).groups()  # type: ignore[union-attr]  # all are so
        own = f'job="locksmith",instance="INSTANCE"{"," + labels if labels else ""}'
        lines.append(f"{name[0]}{{{own}}} {'NOW' if name[0] in MOVING else value}")
    return "\n".join([*lines, 'up{job="locksmith",instance="INSTANCE"} 1', ""]), len(lines)


def main() -> None:
    """Measure."""
    machines = int(sys.argv[1]) if len(sys.argv) > 1 else MACHINES
    template, each = series()
    blocks = [
        template.replace("INSTANCE", f"n{number}").replace("GROUP", f"g{number // GROUP}") for number in range(machines)
    ]

    class Fleet(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            now = f"{time.time():.1f}"
            self.send_response(200)
            self.end_headers()
            for block in blocks:
                self.wfile.write(block.replace("NOW", now).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fleet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        ports, every = {"fleet": server.server_port}, f"{EVERY}s"
        with Prometheus(Path(folder) / "p", ports, RULES.read_text(), every=every, honor_labels=True) as prometheus:
            for _ in range(EVALUATIONS):
                time.sleep(EVERY)
                with urllib.request.urlopen(f"{prometheus.url}/metrics") as answer:
                    said = answer.read().decode().splitlines()
                print(machines, each, [line for line in said if line.startswith(COSTS)], flush=True)
                print(prometheus.query("count(instance:locksmith_machine)"), prometheus.firing(), flush=True)
    server.shutdown()


if __name__ == "__main__":
    main()
