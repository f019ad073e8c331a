"""Every query of the dashboard on a real Prometheus, which scrapes real daemons; and the demo that shows it."""

import asyncio
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from contextlib import AsyncExitStack
from functools import partial

import pytest
from click.testing import CliRunner

from demo import watch
from demo.__main__ import main
from demo.dashboard import Query, picture, queries
from tests.contract.daemons import Site
from tests.harness.etcd import WHEEL, Etcd
from tests.harness.node import Node
from tests.harness.ports import free_ports
from tests.harness.prometheus import HURRY, REPOSITORY, RULES, Prometheus, hurried, lacking
from tests.harness.waiting import until

needs_prometheus = pytest.mark.skipif(bool(lacking()), reason=lacking())

LIMIT = 45.0
DEMO_LIMIT = 120.0


@needs_prometheus
def test_each_query_has_data_or_says_when_it_has_none(tmp_path):
    async def story() -> None:
        async with asyncio.timeout(3 * LIMIT), AsyncExitStack() as stack:
            etcd = stack.enter_context(Etcd(WHEEL))
            site, ports = Site(etcd, "web", tmp_path), dict(zip(("n1", "n2"), free_ports(2), strict=True))
            nodes = []
            for name, port in ports.items():
                metrics = {"enabled": True, "port": port}
                node = site.node(name, running=False, metrics=metrics, health={"limit": "1s"})
                node.environ["PYTHONPATH"] = str(HURRY)
                nodes.append(await stack.enter_async_context(node))
                await node.start_daemon()
            rules = hurried(RULES.read_text())
            prometheus = stack.enter_context(Prometheus(tmp_path / "prometheus", ports, rules))
            begin = time.time()

            async def have_data(wanted: list[Query]) -> None:
                left = list(wanted)
                ends = time.monotonic() + LIMIT
                while left:
                    assert time.monotonic() < ends, left
                    left = [one for one in left if not await asyncio.to_thread(prometheus.query, one.expression)]
                    await asyncio.sleep(0.2)

            every = queries()
            await have_data([query for query in every if not query.may_be_empty])
            first, second = nodes

            def comes_up_sick_as_second(node: Node, other: Node) -> None:
                """A slot was then held and released before, and one stays taken."""
                if other.reboots:
                    node.machine.failed_units.append("web.service")

            for node, other in ((first, second), (second, first)):
                node.while_off = partial(comes_up_sick_as_second, node, other)
                node.need_reboot("4081.2.0")
            await have_data([query for query in every if query.may_be_empty])
            await until(lambda: first.reboots or second.reboots, "a reboot")
            svg = await asyncio.to_thread(picture, prometheus, begin, time.time())
            assert ET.fromstring(svg).tag.endswith("svg")
            assert {query.panel for query in every} <= set(ET.fromstring(svg).itertext())

    asyncio.run(story())


@needs_prometheus
def test_the_demo_shows_its_nodes_to_prometheus(tmp_path):
    drawing = tmp_path / "dashboard.svg"
    ran = subprocess.run(
        [sys.executable, "-m", "demo", "--nodes", "1", "--dashboard", drawing],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_LIMIT,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Prometheus scrapes the nodes: http://127.0.0.1:" in ran.stdout
    assert "none fires" in ran.stdout
    assert "Machines by state" in drawing.read_text()
    assert "idle" in drawing.read_text()


def test_the_demo_says_what_to_do_without_a_prometheus(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "PROMETHEUS", tmp_path / "prometheus")
    monkeypatch.setenv("PATH", str(tmp_path))
    said = CliRunner().invoke(main, ["--prometheus"])
    assert said.exit_code == 1
    assert said.output.startswith("Error: no Prometheus was found.")
    assert "make prometheus" in said.output or "was not fetched" in said.output or "Debian package" in said.output
