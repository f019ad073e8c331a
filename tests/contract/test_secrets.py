"""No secret leaves the machine: etcd, the log, the metrics, the bus and the tool are searched after a day of leaks.

Programs, servers and people say secrets at every place where the daemon and the tool pass a text on.
"""

import asyncio
import urllib.request
from base64 import b64encode
from collections.abc import Iterator

import pytest

from locksmith.daemon.bus_service import TRIGGERS
from locksmith.daemon.bus_settings import GET_ALL
from locksmith.host.dbus.bus import SystemBus
from tests.contract.daemons import Site
from tests.contract.programs import program
from tests.harness.etcd import PASSWORD, USER, Etcd
from tests.harness.http_server import Handler, serving
from tests.harness.ports import free_ports

TOKEN = "tok-0123456789"
OUTPUT = f"curl https://ops:hush-hush@db/x?token={TOKEN}"
LEAK = f"{OUTPUT} as {PASSWORD}"
SECRETS = ["hush-hush", TOKEN, PASSWORD, b64encode(f"{USER}:{PASSWORD}".encode()).decode()]


class Echo(Handler):
    """An Alertmanager that names an alert after what it was sent, and after a URL with a password."""

    def reply(self) -> tuple[int, bytes]:
        name = f"{self.headers['Authorization']} {LEAK}"
        return 200, f'[{{"labels":{{"alertname":"{name}"}},"status":{{"state":"active"}}}}]'.encode()


@pytest.fixture
def echo() -> Iterator[str]:
    with serving(Echo) as url:
        yield url


@pytest.fixture
def guarded(tmp_path) -> Iterator[Site]:
    with Etcd(auth=True) as etcd:
        yield Site(etcd, "web", tmp_path)


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        said: str = answer.read().decode()
        return said


async def shown_on_the_bus(node) -> str:
    async with SystemBus(node.bus.address) as bus:
        return f"{await bus.call(GET_ALL)} {await bus.call(TRIGGERS)}"


def test_no_secret_is_found_after_programs_servers_and_people_have_said_them(guarded, tmp_path, echo):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    [port] = free_ports(1)
    seen: list[str] = []

    async def story(node):
        check, hook = (
            program(node, f"{stage}/50-leak", f"echo '{OUTPUT}'; exit 1") for stage in ("check.d", "pre-reboot.d")
        )
        node.need_reboot(f"4081 {LEAK}")
        await node.says("waiting (alerts)")
        seen.append(await shown_on_the_bus(node))
        seen.append(await asyncio.to_thread(metrics, port))
        asked = (["why"], ["nodes"], ["nodes", "--json"], ["status"], ["triggers"])
        seen.extend([(await node.tool(*args))[1] for args in asked])
        status, said = await node.tool("reboot", "--skip-gate", "alerts", "--reason", LEAK)
        assert status == 1
        seen.append(said)
        check.write_text("#!/bin/sh\n")
        status, said = await node.tool("reboot", "--skip-gate", "alerts", "--reason", LEAK)
        assert (status, "hooks" in said or "50-leak" in said) == (1, True), said
        seen.append(said)
        hook.write_text("#!/bin/sh\n")
        for args in (
            ["lock", "--reason", LEAK, "other"],
            ["freeze", "--reason", LEAK],
            ["hold", "n1", "--reason", LEAK],
        ):
            status, said = await node.tool(*args)
            seen.append(said)
        asked = (["status"], ["why"], ["history"], ["history", "--json"], ["window"])
        seen.extend([(await node.tool(*args))[1] for args in asked])
        seen.append(node.said)
        seen.append(await shown_on_the_bus(node))
        seen.append(node.paths.coordinator.read_text())

    etcd = {"username": USER, "password": PASSWORD}
    guarded.play(
        story,
        etcd=etcd,
        alerts={"alertmanager": echo, "token-file": str(token)},
        metrics={"enabled": True, "port": port},
        debug=True,
    )
    everything = "\n".join(seen)
    assert "***" in everything
    # The write-ahead log and the database have each value that etcd ever took.
    files = [path for member in guarded.etcd.members for path in member.data.rglob("*") if path.is_file()]
    assert sum(b"***" in path.read_bytes() for path in files) >= 1
    for secret in SECRETS:
        assert secret not in everything, [text for text in seen if secret in text]
        assert not [path for path in files if secret.encode() in path.read_bytes()]
