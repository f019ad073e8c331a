"""The hooks of contrib/hooks, against doubles of kubectl and of a load balancer."""

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HOOKS = Path(__file__).parents[2] / "contrib/hooks"

KUBECTL = """#!/bin/sh
# A double: it keeps whether the node is cordoned, and notes what it is asked.
cd "$STATE" || exit 1
case "$1" in --request-timeout=*) shift ;; esac
echo "$1" >> asked
if [ -e away ]; then echo 'Unable to connect to the server: i/o timeout' >&2; exit 1; fi
case "$1" in
  get) [ ! -e cordoned ] || printf true ;;
  cordon) touch cordoned ;;
  uncordon) rm -f cordoned ;;
  drain)
    case "$*" in *--dry-run=server*) ;; *) touch cordoned ;; esac
    if [ -e stuck ]; then echo "error: cannot evict pod db-0" >&2; exit 1; fi ;;
esac
"""


class Cluster:
    """A node of Kubernetes, and the machine that it runs on."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.state = folder / "state"
        self.state.mkdir()
        (folder / "bin").mkdir()
        kubectl = folder / "bin/kubectl"
        kubectl.write_text(KUBECTL)
        kubectl.chmod(0o755)
        self._environ = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "STATE": str(self.state),
            "LOCKSMITH_ROOT": str(self.root),
        }

    def run(self, stage: str, hook: str = "kubernetes-node", *words: str) -> tuple[int, str]:
        """Run a hook as locksmith does, from its stage's folder; its exit status, and its last line."""
        place = self.root / f"etc/locksmith/{stage}.d/50-{hook}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(HOOKS / hook)
        done = subprocess.run(
            [place, *words],
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, (done.stdout.splitlines() or [""])[-1]

    @property
    def cordoned(self) -> bool:
        return (self.state / "cordoned").exists()

    @property
    def asked(self) -> list[str]:
        return (self.state / "asked").read_text().split()


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.mark.parametrize("after", ["post-reboot", "abort-reboot"])
def test_a_node_is_drained_before_and_takes_work_again_after(cluster, after):
    status, said = cluster.run("pre-reboot")
    assert (status, said.endswith("is drained"), cluster.cordoned) == (0, True, True)
    assert cluster.asked == ["get", "cordon", "drain"]
    status, said = cluster.run(after)
    assert (status, said.endswith("takes work again"), cluster.cordoned) == (0, True, False)


def test_a_node_that_somebody_had_cordoned_stays_cordoned(cluster):
    (cluster.state / "cordoned").touch()
    assert cluster.run("pre-reboot")[0] == 0
    status, said = cluster.run("post-reboot")
    assert (status, cluster.cordoned) == (0, True)
    assert said.endswith("was not cordoned by this hook: it stays as it is")


def test_each_may_run_twice(cluster):
    for stage in ("pre-reboot", "pre-reboot", "post-reboot", "post-reboot"):
        assert cluster.run(stage)[0] == 0
    assert not cluster.cordoned


def test_a_drain_that_fails_is_a_no_and_is_undone(cluster):
    (cluster.state / "stuck").touch()
    status, said = cluster.run("pre-reboot")
    assert status == 1
    assert said.endswith("cannot be drained: error: cannot evict pod db-0")
    assert cluster.run("abort-reboot")[0] == 0
    assert not cluster.cordoned


def test_a_server_that_is_away_is_a_no_before_and_tried_again_after(cluster):
    (cluster.state / "away").touch()
    status, said = cluster.run("pre-reboot")
    assert status == 1
    assert "cannot be read" in said
    (cluster.state / "away").unlink()
    cluster.run("pre-reboot")
    (cluster.state / "away").touch()
    status, said = cluster.run("post-reboot")
    assert (status, "cannot be uncordoned" in said, cluster.cordoned) == (1, True, True)
    (cluster.state / "away").unlink()
    assert cluster.run("post-reboot")[0] == 0
    assert not cluster.cordoned


@pytest.mark.parametrize("stage", ["pre-reboot", "abort-reboot", "post-reboot"])
def test_a_rehearsal_asks_the_server_and_changes_nothing(cluster, stage):
    assert cluster.run(stage, "kubernetes-node", "--dry-run")[0] == 0
    assert (cluster.cordoned, set(cluster.asked) <= {"get", "drain"}) == (False, True)
    (cluster.state / "away").touch()
    assert cluster.run(stage, "kubernetes-node", "--dry-run")[0] == 1


def test_a_rehearsal_says_what_would_not_be_evicted(cluster):
    (cluster.state / "stuck").touch()
    status, said = cluster.run("pre-reboot", "kubernetes-node", "--dry-run")
    assert (status, cluster.cordoned) == (1, False)
    assert said.endswith("could not be drained: error: cannot evict pod db-0")


def test_its_settings_name_the_node(cluster):
    settings = cluster.root / "etc/locksmith/kubernetes-node.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("NODE=worker-7\n")
    assert cluster.run("pre-reboot") == (0, "the node worker-7 is drained")


def test_a_time_limit_that_is_none_is_said(cluster):
    settings = cluster.root / "etc/locksmith/kubernetes-node.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("DRAIN_TIMEOUT=10m\n")
    status, said = cluster.run("pre-reboot")
    assert status == 1
    assert said.endswith("must be a number of seconds, not '10m'")


class Balancer(ThreadingHTTPServer):
    """A load balancer: it has this machine or not, and connections that end after some looks at them."""

    def __init__(self) -> None:
        self.has_it, self.connections = True, 2
        super().__init__(("127.0.0.1", 0), Asked)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Asked(BaseHTTPRequestHandler):
    server: Balancer

    def do_POST(self) -> None:
        self.server.has_it = self.path == "/join"
        self._answer(204)

    def do_HEAD(self) -> None:
        self._answer(405)

    def do_GET(self) -> None:
        self.server.connections -= 1
        self._answer(503 if self.server.connections >= 0 else 200)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def balancer(cluster: Cluster) -> Iterator[Balancer]:
    with Balancer() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        settings = cluster.root / "etc/locksmith/load-balancer.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(
            f"LEAVE_URL={server.url}/leave\nJOIN_URL={server.url}/join\nDRAINED_URL={server.url}/idle\n"
        )
        yield server
        server.shutdown()


def test_a_machine_leaves_waits_for_its_connections_and_joins_again(cluster, balancer):
    status, said = cluster.run("pre-reboot", "load-balancer")
    assert (status, said) == (0, "this machine has left the load balancer, and no connection is left")
    assert not balancer.has_it
    assert cluster.run("post-reboot", "load-balancer") == (0, "this machine has joined the load balancer again")
    assert balancer.has_it


def test_connections_that_do_not_end_are_a_no(cluster, balancer):
    balancer.connections = 1000
    settings = cluster.root / "etc/locksmith/load-balancer.conf"
    settings.write_text(f"{settings.read_text()}DRAIN_SECONDS=1\n")
    status, said = cluster.run("pre-reboot", "load-balancer")
    assert status == 1
    assert said.startswith("connections are left after 1 s")
    assert cluster.run("abort-reboot", "load-balancer")[0] == 0
    assert balancer.has_it


def test_a_balancer_that_is_down_is_a_no(cluster):
    settings = cluster.root / "etc/locksmith/load-balancer.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("LEAVE_URL=http://127.0.0.1:1/leave\nJOIN_URL=http://127.0.0.1:1/join\n")
    status, said = cluster.run("pre-reboot", "load-balancer")
    assert status == 1
    assert said.startswith("the load balancer does not let this machine go: curl:")


@pytest.mark.parametrize("stage", ["pre-reboot", "abort-reboot", "post-reboot"])
def test_a_rehearsal_asks_the_balancer_and_leaves_nothing(cluster, balancer, stage):
    assert cluster.run(stage, "load-balancer", "--dry-run") == (0, "the load balancer answers")
    assert balancer.has_it
    settings = cluster.root / "etc/locksmith/load-balancer.conf"
    settings.write_text("LEAVE_URL=http://127.0.0.1:1/leave\nJOIN_URL=http://127.0.0.1:1/join\n")
    status, said = cluster.run(stage, "load-balancer", "--dry-run")
    assert (status, said.startswith("the load balancer cannot be asked: curl:")) == (1, True)


def test_without_settings_it_says_what_is_missing(cluster):
    status, said = cluster.run("pre-reboot", "load-balancer")
    assert status == 1
    assert said.endswith("load-balancer.conf is missing: it must set LEAVE_URL and JOIN_URL")


@pytest.mark.parametrize("hook", ["kubernetes-node", "load-balancer"])
def test_called_from_elsewhere_it_does_nothing(cluster, balancer, hook):
    status, said = cluster.run("somewhere", hook)
    assert (status, "call it from pre-reboot.d" in said, balancer.has_it, cluster.cordoned) == (1, True, True, False)
