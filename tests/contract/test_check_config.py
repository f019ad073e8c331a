"""`locksmithd --check-config`: the daemon's own code names every problem; `--online` asks the servers.

Real etcds, a real bus, and a server that answers as Alertmanager and Prometheus do.
"""

import uuid
from collections.abc import Iterator

import pytest

from locksmith.util import contact
from tests.contract.programs import program
from tests.harness.dead_endpoints import endpoint, silent
from tests.harness.etcd import Etcd
from tests.harness.http_server import Handler, serving
from tests.harness.waiting import until


class Alertmanager(Handler):
    """An alert fires, and that is none of the check's business; Prometheus is another server."""

    def reply(self) -> tuple[int, bytes]:
        status = 200 if "alerts" in self.path else 404
        return status, b'[{"labels":{"alertname":"NodeDown"},"status":{"state":"active"}}]'


@pytest.fixture
def server() -> Iterator[str]:
    with serving(Alertmanager) as url:
        yield url


async def check(node, *args):
    status, said = await node.run("locksmithd", "--check-config", *args)
    return status, [line for line in said.splitlines() if not line.startswith("Warning: all etcd.endpoints")]


def test_every_problem_is_named_at_once_in_the_words_of_the_daemon(site):
    async def story(node):
        node.configure(
            f"""strategy = "etcd-lok"
            [triggers]
            use = ["kernl"]
            [health]
            units = ["kubelet"]
            [etcd]
            timeout = "soon"
            endpoints = {site.endpoints}
            """
        )
        node.environ["LOCKSMITHD_STRATEGY"] = "off"
        status, said = await check(node)
        assert status == 2
        said = [line.removeprefix("Error: ").removeprefix(f"{node.paths.config}: ") for line in said]
        assert [" ".join(line.split()[:4]) for line in said] == [
            "health.units has 'kubelet', which",
            "etcd.timeout 'soon' is not",
            "LOCKSMITHD_STRATEGY is not a",
            "there is no strategy",
            "there is no trigger",
        ]
        await node.start_daemon()
        assert await node.ended() == 2
        assert said[0] in node.said
        assert "(and 2 more: `locksmithd --check-config` names each)" in node.said

    site.play_stopped(story)


def test_what_the_daemon_would_find_only_at_its_start_is_named(site, tmp_path):
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")

    async def story(node):
        program(node, "check.d/50-backup", "true", mode=0o644)
        status, said = await check(node)
        assert status == 2
        assert said[2].startswith("Error: check.d/50-backup: it is not executable: `chmod +x` it")
        assert f"Error: the CA file {junk} cannot be used: it is not in PEM format" in said[0]
        assert f"{junk}" in said[1]
        assert "metrics" in said[1]

    metrics = {"enabled": True, "certfile": str(junk), "keyfile": str(junk)}
    site.play_stopped(story, etcd={"endpoints": ["https://127.0.0.1:1"], "cafile": str(junk)}, metrics=metrics)


def test_online_each_server_is_asked_and_nothing_is_written(site, server):
    async def story(node):
        status, said = await check(node, "--online")
        assert (status, said[-3:]) == (
            0,
            [said[-3], "the system bus: logind and systemd answer", f"Alertmanager {server}: answers"],
        )
        assert said[-3].startswith(f"etcd {site.endpoints[0]}: answers, as a member of cluster ")
        assert site.lock.values() == {}
        assert not (node.paths.state / "seen.json").exists()

    site.play_stopped(story, alerts={"alertmanager": server})


def test_online_a_set_of_windows_that_is_not_there_is_named(site):
    name = f"nights-{uuid.uuid4().hex[:8]}"  # all groups of this etcd share the sets

    async def story(node):
        status, said = await check(node, "--online")
        assert status == 1
        assert any(line.startswith(f"Error: the windows {name}: there is no set of windows '{name}'") for line in said)
        assert (await node.tool("window", "set", name, "--open", "02:00 for 1h"))[0] == 0
        status, said = await check(node, "--online")
        assert (status, f"the windows {name}: this machine may reboot: 02:00 for 1h" in said) == (0, True), said

    site.play_stopped(story, strategy="reboot", window={"sets": [name]})


def test_online_each_server_that_cannot_be_asked_is_named(site, server):
    alerts, health = {"prometheus": server, "query": "up == 0"}, {"units": ["kubelet.service"]}
    with endpoint(silent) as mute, Etcd() as other:

        async def story(node):
            await node.start_daemon()
            await node.says("idle")
            await until((node.paths.state / "seen.json").exists, "it has seen its cluster")
            more = {"endpoints": [*site.endpoints, mute, other.endpoints[0]]}
            node.configure(site.settings(etcd=more, alerts=alerts, health=health))
            status, said = await check(node, "--online")
            assert status == 1
            problems = {line.partition(": ")[2].partition(": ")[0]: line for line in said if line.startswith("Error: ")}
            assert set(problems) == {
                f"etcd {mute}",
                f"etcd {other.endpoints[0]}",
                "the system bus",
                f"Prometheus {server}",
            }
            assert "this machine has seen" in problems[f"etcd {other.endpoints[0]}"]
            assert problems[f"etcd {mute}"].count(mute) == 1
            assert "health.units names it" in problems["the system bus"]
            assert "404" in problems[f"Prometheus {server}"]

        site.play_stopped(story)


def test_a_strategy_without_a_store_asks_no_etcd(site):
    async def story(node):
        status, said = await check(node, "--online")
        assert (status, "etcd: not asked: strategy reboot needs no store" in said) == (0, True)

    site.endpoints = ["http://127.0.0.1:1"]
    site.play_stopped(story, strategy="reboot")


def test_online_alone_is_refused(site):
    async def story(node):
        status, said = await node.run("locksmithd", "--online")
        assert (status, "`locksmithd --check-config --online`" in said) == (2, True)

    site.play_stopped(story)


def test_each_server_has_a_limit():
    assert 0 < contact.LIMIT <= 60
