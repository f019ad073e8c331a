"""What a running locksmithd shows to others: metrics for Prometheus, coordinator.conf for update_engine and logins."""

import asyncio
import fcntl
import json
import os
import shlex
import socket
import ssl
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPException

from prometheus_client.parser import text_string_to_metric_families

from locksmith import __version__
from locksmith.lock.records.node import TTL
from tests.contract.daemons import CLOSED, QUICK
from tests.harness.certificates import Authority
from tests.harness.logind import RebootMode
from tests.harness.ports import free_ports
from tests.harness.waiting import until


def scrape(port, *, context=None):
    """Give every sample by its name and labels, as Prometheus reads them."""
    scheme = "https" if context else "http"
    with urllib.request.urlopen(f"{scheme}://127.0.0.1:{port}/metrics", timeout=5, context=context) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    assert all(family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


async def shows(port, **wanted):
    """Wait until the samples have these values (`__` stands for a space); give all of them."""
    wanted = {name.replace("__", " "): value for name, value in wanted.items()}
    shown: dict[str, float] = {}

    def agree():
        shown.clear()
        # Between two daemons nobody answers.
        with suppress(OSError, HTTPException):
            shown.update(scrape(port))
        return wanted.items() <= shown.items()

    await until(agree, f"the metrics show {wanted}")
    return shown


def test_metrics_tell_until_when_it_waits_for_its_window(site):
    async def story(node):
        await node.says(f"metrics on 127.0.0.1:{port}")
        shown = await shows(port, locksmith_state__idle=1, locksmith_reboot_needed=0)
        assert shown[f"locksmith_build_info {__version__}"] == 1
        node.need_reboot("4081.2.0")
        shown = await shows(port, locksmith_state__waiting=1, locksmith_waiting__window=1, locksmith_reboot_needed=1)
        assert shown["locksmith_state idle"] == 0
        until_ = shown["locksmith_wait_until_timestamp_seconds"]
        assert until_ == shown["locksmith_next_window_timestamp_seconds"]
        assert 86400 < until_ - time.time() < 4 * 86400

    [port] = free_ports(1)
    site.play(story, metrics={"enabled": True, "port": port}, window=CLOSED)


def test_metrics_through_a_whole_reboot(site):
    async def story(node):
        rival = await site.lock.take("somebody else")
        node.need_reboot("4081.2.0")
        await shows(port, locksmith_waiting__slot=1, locksmith_lock_held=0)
        node.machine.mode = RebootMode.DELAY
        await site.lock.release(rival)
        await shows(port, locksmith_state__rebooting=1, locksmith_waiting__rebooting=1, locksmith_lock_held=1)
        await shows(port, locksmith_state__stuck=1, locksmith_lock_held=1)
        node.doubles.logind.end_delay()
        await node.rebooted()
        await shows(port, locksmith_reboots_total__completed=1, locksmith_lock_held=0, locksmith_state__idle=1)

    [port] = free_ports(1)
    site.play(story, metrics={"enabled": True, "port": port}, reboot=QUICK)


def test_metrics_count_a_reboot_that_failed(site):
    async def story(node):
        node.machine.mode = RebootMode.REFUSE
        node.need_reboot("4081.2.0")
        await shows(port, locksmith_reboots_total__failed=1, locksmith_waiting__retry=1, locksmith_lock_held=0)

    [port] = free_ports(1)
    site.play(story, metrics={"enabled": True, "port": port})


def test_metrics_count_errors_by_what_failed(site):
    async def story(node):
        node.need_reboot("4081.2.0")
        await node.says("waiting (store)")
        await shows(port, locksmith_waiting__store=1, locksmith_errors_total__store=1)

    [port] = free_ports(1)
    site.endpoints = ["http://127.0.0.1:1"]
    site.play(story, metrics={"enabled": True, "port": port})


def test_metrics_over_tls(site, tmp_path):
    async def story(node):
        await node.says("metrics on")
        await node.says("idle")
        context = ssl.create_default_context(cafile=authority.cert)
        assert scrape(port, context=context)["locksmith_state idle"] == 1

    authority = Authority(tmp_path)
    pair = authority.issue("metrics")
    [port] = free_ports(1)
    site.play(story, metrics={"enabled": True, "port": port, "certfile": str(pair.cert), "keyfile": str(pair.key)})


def test_a_port_that_is_taken_is_logged_and_keeps_nothing_from_rebooting(site):
    async def story(node):
        await node.says(f"metrics are not served: 127.0.0.1:{port}: ")
        node.need_reboot("4081.2.0")
        await node.rebooted()

    with socket.create_server(("127.0.0.1", 0)) as somebody_else:
        port = somebody_else.getsockname()[1]
        site.play(story, metrics={"enabled": True, "port": port})


def test_any_free_port_is_named_in_the_log(site):
    async def story(node):
        await node.says("metrics on 127.0.0.1:")
        port = int(node.said.split("metrics on 127.0.0.1:")[1].split()[0])
        await shows(port, locksmith_state__idle=1)

    site.play(story, metrics={"enabled": True, "port": 0})


def test_coordinator_conf_follows_a_whole_reboot(site):
    async def story(node):
        path = node.paths.coordinator
        await until(lambda: state(path) == "running", "it runs")
        rival = await site.lock.take("somebody else")
        node.need_reboot("4081.2.0")
        await until(lambda: state(path) == "reboot-planned", "a reboot is planned")
        node.machine.mode = RebootMode.DELAY
        await site.lock.release(rival)
        await until(lambda: state(path) == "rebooting", "it is rebooting")
        assert settings(path) == {"NAME": "locksmithd", "STRATEGY": "etcd-lock", "STATE": "rebooting"}
        node.doubles.logind.end_delay()
        await node.rebooted()
        await until(lambda: state(path) == "running", "it runs again")

    site.play(story)


def test_nobody_else_gets_the_lock_of_coordinator_conf_while_it_runs(site):
    """A login profile that gets it says that nobody reboots this machine; so not in the moment of a change either."""

    async def story(node):
        path = node.paths.coordinator
        await until(lambda: state(path) == "running", "it runs")
        node.machine.mode = RebootMode.DELAY
        node.need_reboot("4081.2.0")
        while state(path) != "rebooting":
            assert not can_lock(path)
            await asyncio.sleep(0)
        await node.stop_daemon()
        assert can_lock(path)

    site.play(story)


def test_coordinator_conf_says_disabled_for_off_and_is_let_go(site):
    async def story(node):
        assert await node.ended() == 0
        assert settings(node.paths.coordinator) == {"NAME": "locksmithd", "STRATEGY": "off", "STATE": "disabled"}
        assert can_lock(node.paths.coordinator)

    site.play(story, strategy="off")


def test_a_second_coordinator_is_named_and_keeps_nothing_from_rebooting(site):
    async def story(node):
        path = node.paths.coordinator
        path.parent.mkdir(parents=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            await node.start_daemon()
            await node.says(f"{path} is locked by another program: two reboot coordinators are running")
            node.need_reboot("4081.2.0")
            await node.rebooted()

    site.play(story, running=False)


def settings(path):
    """Read the file as a shell that sources it."""
    words = shlex.split(path.read_text()) if path.exists() else []
    return dict(word.split("=", 1) for word in words)


def state(path):
    return settings(path).get("STATE")


def can_lock(path):
    """Try what a login profile tries; a file that has lost its name meanwhile does not count."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return os.path.samestat(os.fstat(file.fileno()), path.stat())


def test_an_operators_reboot_is_shown_though_the_daemon_is_stopped_at_once(site):
    """Else its group could not tell a machine that does not come back from one that is idle."""

    async def story(node):
        await until(lambda: site.node_record(node), "it is present")
        node._reboot_time = lambda: 2.0
        assert (await node.tool("reboot"))[0] == 0
        await until(lambda: '"state":"rebooting"' in site.node_record(node), "its reboot is shown")
        shown = json.loads(site.node_record(node))
        assert shown["lasts"] > TTL
        await node.rebooted()

    site.play(story, reboot=QUICK)
