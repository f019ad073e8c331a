"""A real Prometheus that scrapes the nodes of the demo, with the rules of contrib/prometheus."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from demo.dashboard import picture
from tests.harness.prometheus import PROMETHEUS, RULES, Prometheus, lacking

ALL_UP = "count(instance:locksmith_machine and on (instance) up == 1) == {count}"
STARTS_WITHIN = 30.0
AFTER = 5.0
"""Seconds after the rollout that are scraped too, so that its end is seen."""


class NoPrometheusError(Exception):
    """There is none; the text says how to get one."""


def program() -> Path:
    """Give the program: the one that `make prometheus` fetched, or else the system's."""
    if PROMETHEUS.exists():
        return PROMETHEUS
    found = shutil.which("prometheus")
    if found is None:
        raise NoPrometheusError(f"no Prometheus was found. {lacking()}. Or install the Debian package prometheus.")
    return Path(found)


class Watch:
    """The Prometheus of one rollout. `drawing` is the file for a drawing of the dashboard, if one is wanted."""

    def __init__(self, prometheus: Path, drawing: Path | None) -> None:
        self._program = prometheus
        self._drawing = drawing
        self._prometheus: Prometheus
        self._began = 0.0

    @contextmanager
    def running(self, folder: Path, ports: Mapping[str, int]) -> Iterator[None]:
        """Run it while the context lasts."""
        rules = RULES.read_text()
        with Prometheus(folder, ports, rules, every="1s", program=self._program) as self._prometheus:
            yield

    async def begin(self, count: int, console: Console) -> None:
        """Wait until so many nodes are scraped, and say where it serves."""
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                while not await self._gives(ALL_UP.format(count=count)):  # noqa: ASYNC110 - it can only be asked
                    await asyncio.sleep(0.5)
        except TimeoutError:
            console.print(f"Prometheus has not scraped all nodes within {STARTS_WITHIN:g} s")
        self._began = time.time()
        console.print(f"Prometheus scrapes the nodes: {self._prometheus.url}/alerts", soft_wrap=True)

    async def finish(self, console: Console) -> None:
        """Draw what was seen. At a terminal, keep it running until Enter."""
        await asyncio.sleep(AFTER)
        firing = await asyncio.to_thread(self._prometheus.firing)
        console.print("alerts         ", ", ".join(sorted({name for name, _ in firing})) or "none fires")
        if self._drawing is not None:
            svg = await asyncio.to_thread(picture, self._prometheus, self._began, time.time())
            self._drawing.write_text(svg, encoding="utf-8")
        if sys.stdin.isatty():
            console.print(f"Prometheus runs until you press Enter: {self._prometheus.url}/graph", soft_wrap=True)
            await asyncio.to_thread(sys.stdin.readline)

    async def _gives(self, query: str) -> bool:
        return bool(await asyncio.to_thread(self._prometheus.query, query))
