"""A real locksmithd whose metrics port is under attack: the loop goes on, the machine reboots, Prometheus reads."""

import asyncio
import resource
import ssl
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness.certificates import Authority
from tests.harness.ports import free_ports
from tests.harness.silent_clients import silent_clients

SYSTEMD_LIMIT = 1024
"""File descriptors that systemd lets a service have."""
SCRAPE_LIMIT = 10.0
"""Prometheus' own default."""
SCRAPES = 3
WHOLE_REQUEST = b"GET /metrics HTTP/1.1\r\n\r\n"


def used(pid: int) -> tuple[int, int]:
    """How many file descriptors and threads a process has."""
    descriptors, threads = (len(list(Path(f"/proc/{pid}/{what}").iterdir())) for what in ("fd", "task"))
    return descriptors, threads


async def scrape(port: int, trusting: ssl.SSLContext | None = None) -> str:
    """Read the metrics as Prometheus does, which asks again after a scrape that failed."""
    url = f"{'https' if trusting else 'http'}://localhost:{port}/metrics"

    def read() -> str:
        with urllib.request.urlopen(url, timeout=SCRAPE_LIMIT, context=trusting) as answer:
            text: str = answer.read().decode()
            return text

    for _ in range(SCRAPES):
        with suppress(OSError):
            return await asyncio.to_thread(read)
    raise AssertionError(f"{SCRAPES} scrapes failed")


async def goes_on(node, port: int, trusting: ssl.SSLContext | None = None) -> None:
    """The daemon is scraped, stays small, and reboots its machine."""
    assert 'locksmith_state{state="idle"} 1.0' in await scrape(port, trusting)
    await reboots(node)


async def reboots(node) -> None:
    """The daemon stays small, and reboots its machine."""
    descriptors, threads = used(node.pid)
    assert descriptors < 100
    assert threads < 20
    node.need_reboot("4081.2.0")
    await node.rebooted()


def limited(node) -> None:
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (SYSTEMD_LIMIT, SYSTEMD_LIMIT))


@pytest.mark.parametrize(("count", "first"), [(1_020, b""), (3_000, b"GET")])
def test_connections_of_a_hostile_user_hold_up_neither_reboot_nor_scrape(site, count, first):
    [port] = free_ports(1)

    async def story(node):
        await node.says("metrics on")
        await node.says("idle")
        limited(node)
        with silent_clients(port, count, first):
            await goes_on(node, port)
        await site.is_free()

    site.play(story, metrics={"enabled": True, "port": port})


def test_a_flood_of_whole_requests_holds_up_no_reboot(site):
    [port] = free_ports(1)

    async def story(node):
        await node.says("metrics on")
        await node.says("idle")
        limited(node)
        with silent_clients(port, 1_020, WHOLE_REQUEST):
            await reboots(node)
        await site.is_free()

    site.play(story, metrics={"enabled": True, "port": port})


@pytest.mark.parametrize("count", [1, 1_020])
def test_silent_handshakes_hold_up_neither_reboot_nor_scrape(site, tmp_path, count):
    [port] = free_ports(1)
    authority = Authority(tmp_path / "pki")
    pair = authority.issue("metrics")

    async def story(node):
        await node.says("metrics on")
        await node.says("idle")
        limited(node)
        with silent_clients(port, count):
            await goes_on(node, port, ssl.create_default_context(cafile=authority.cert))
        await site.is_free()

    tls = {"certfile": str(pair.cert), "keyfile": str(pair.key)}
    site.play(story, metrics={"enabled": True, "port": port, **tls})
