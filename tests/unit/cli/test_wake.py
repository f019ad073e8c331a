"""The daemon is woken by its pid file, and nobody else ever gets its signal."""

import signal
import subprocess
import sys

import pytest

from locksmith.cli.wake import wake_daemon
from locksmith.host.paths import Paths

WAITS = "import signal, sys; print(flush=True); sys.exit(int(signal.sigwait({signal.SIGHUP, signal.SIGTERM})))"


@pytest.fixture
def run_as(tmp_path):
    """Start a process under a name, and write its pid where the daemon's stands."""
    processes = []

    def start(name: str) -> subprocess.Popen[bytes]:
        script = tmp_path / name
        script.write_text(f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {{1, 15}})\n{WAITS}")
        process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        (tmp_path / "run/locksmith").mkdir(parents=True)
        (tmp_path / "run/locksmith/locksmithd.pid").write_text(f"{process.pid}\n")
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_the_daemon_is_woken(tmp_path, run_as):
    daemon = run_as("locksmithd")
    assert wake_daemon(Paths(tmp_path))
    assert daemon.wait(10) == signal.SIGHUP


def test_whoever_else_has_the_pid_by_now_is_left_alone(tmp_path, run_as):
    other = run_as("locksmithd-exporter")
    assert not wake_daemon(Paths(tmp_path))
    other.terminate()
    assert other.wait(10) == signal.SIGTERM


@pytest.mark.parametrize("content", [None, "", "nobody", "99999999", "-1", "0"])
def test_a_pid_file_that_names_nobody(tmp_path, content):
    if content is not None:
        (tmp_path / "run/locksmith").mkdir(parents=True)
        (tmp_path / "run/locksmith/locksmithd.pid").write_text(content)
    assert not wake_daemon(Paths(tmp_path))
