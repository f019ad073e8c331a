"""A real Prometheus that scrapes daemons on this machine, with the rules of contrib/prometheus.

Its rules hurry like the daemons (hurry/sitecustomize.py): a wait of minutes takes seconds. `hurried` has all of that.
"""

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import urlencode

from tests.harness.ports import free_ports

REPOSITORY = Path(__file__).parents[2]
PROMETHEUS = REPOSITORY / ".cache/prometheus/trixie/usr/bin/prometheus"
PROMTOOL = REPOSITORY / ".cache/promtool/trixie/usr/bin/promtool"
RULES = REPOSITORY / "contrib/prometheus/alerts.yml"
HURRY = Path(__file__).with_name("hurry")
FACTOR = 150
"""How many times as fast the daemons and the rules are."""
SHORTEST = 5.0
"""Seconds that an age must have at least to count: a daemon that is well shows some age too."""
LOOK_BACK = 10.0
"""Seconds that a rule looks back at least: the heartbeat of a loop hurries less, as Prometheus cannot scrape faster."""
LONGEST = 3600
"""Seconds above which a length of time stays as it is."""
MANY = 10
"""How many machines of a group may have a fault before there is one alert for all."""
STOP_LIMIT = 10.0
BAD_QUERY = 400

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def lacking() -> str:
    """Say why there is no Prometheus here; empty: there is."""
    return _lacking(PROMETHEUS, "Prometheus")


def lacking_promtool() -> str:
    """Say why there is no promtool here; empty: there is."""
    return _lacking(PROMTOOL, "promtool")


def _lacking(program: Path, name: str) -> str:
    if program.exists():
        return ""
    said = program.parents[2].with_suffix(".missing")
    return said.read_text().strip() if said.exists() else f"{name} was not fetched: run `make prometheus`"


def documented_queries() -> list[str]:
    """Give the queries of the documentation's examples."""
    text = (REPOSITORY / "docs/metrics.md").read_text()
    blocks = re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


def hurried(rules: str, many: int = MANY) -> str:
    """Give rules whose times are as much shorter as those of the daemons, and of which `many` is another number."""

    def waited(found: re.Match[str]) -> str:
        return f"{found[1]}{_short(int(found[2]) * SECONDS[found[3]]):.0f}s"

    def looked_back(found: re.Match[str]) -> str:
        return f"{found[1]}{max(_short(int(found[2]) * SECONDS[found[3]]), LOOK_BACK):.0f}s"

    def age(found: re.Match[str]) -> str:
        return f"{found[1]}{max(_short(int(found[2])), SHORTEST):g}"

    rules = re.sub(r"(for: )(\d+)([smhd])\b", waited, rules)
    rules = re.sub(r"(\[|offset )(\d+)([smhd])\b", looked_back, rules)
    rules = re.sub(r"( > )(\d{3,})\b", age, rules)
    assert f" > {MANY}\n" in rules
    return rules.replace(f" > {MANY}\n", f" > {many}\n")


def _short(seconds: float) -> float:
    return seconds / FACTOR if seconds <= LONGEST else seconds


class Prometheus:
    """One Prometheus; a context. `targets` are the ports of the daemons, by the names of their machines.

    `every` is how often it scrapes and evaluates its rules, `job` more of what its job says.
    """

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, int],
        rules: str,
        *,
        every: str = "500ms",
        program: Path = PROMETHEUS,
        honor_labels: bool = False,
        job: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder = folder
        self._targets = targets
        self._rules = rules
        self._every = every
        self._program = program
        self._job = {"job_name": "locksmith", "honor_labels": honor_labels, "static_configs": list(self._static())}
        self._job |= job or {}
        [self._port] = free_ports(1)

    def __enter__(self) -> Self:
        self._folder.mkdir()
        (self._folder / "rules.yml").write_text(self._rules)
        config = {
            "global": {
                "scrape_interval": self._every,
                "scrape_timeout": self._every,
                "evaluation_interval": self._every,
            },
            "rule_files": [str(self._folder / "rules.yml")],
            "scrape_configs": [self._job],
        }
        (self._folder / "prometheus.yml").write_text(json.dumps(config))  # every JSON is YAML too
        log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                self._program,
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What it logged."""
        return (self._folder / "log").read_text(errors="replace")

    def alerts(self, state: str = "firing") -> list[dict[str, Any]]:
        """Give each alert in a state; while Prometheus starts there is none."""
        return [alert for alert in self._ask("/api/v1/alerts").get("alerts", []) if alert["state"] == state]

    def firing(self) -> set[tuple[str, str]]:
        """Give the name of each alert that fires, with its machine, or else its group."""
        found = [alert["labels"] for alert in self.alerts()]
        return {(labels["alertname"], labels.get("instance") or labels.get("group", "")) for labels in found}

    def query(self, expression: str) -> Sequence[dict[str, Any]]:
        """Give the results of a query."""
        answer = self._ask(f"/api/v1/query?{urlencode({'query': expression})}")
        found: Sequence[dict[str, Any]] = answer.get("result", [])
        return found

    def history(self, expression: str, begin: float, end: float, step: float) -> Sequence[dict[str, Any]]:
        """Give what a query gave from one Unix time to another."""
        asked = urlencode({"query": expression, "start": begin, "end": end, "step": step})
        found: Sequence[dict[str, Any]] = self._ask(f"/api/v1/query_range?{asked}").get("result", [])
        return found

    def refuses(self, expression: str) -> str:
        """Say why an expression cannot be evaluated; empty: it can."""
        try:
            self._ask(f"/api/v1/query?{urlencode({'query': expression})}")
        except HTTPError as error:
            return error.read().decode()
        return ""

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
        except OSError as error:
            if isinstance(error, HTTPError) and error.code == BAD_QUERY:
                raise
            assert self._process.poll() is None, self.log
            return {}
        return data

    def _static(self) -> list[dict[str, Any]]:
        return [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}} for name, port in self._targets.items()
        ]
