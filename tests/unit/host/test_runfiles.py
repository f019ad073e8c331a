"""The small files below /run/locksmith, and the locks among them."""

import fcntl
import os
import subprocess
import threading
from pathlib import Path

import pytest

from locksmith.errors import HostError
from locksmith.host.flock import locked
from locksmith.host.journal import JournalFile
from locksmith.host.operator_lock import OperatorLock
from locksmith.host.paths import Paths
from locksmith.host.runfiles import AdoptMark, daemon_runs, only_daemon, pid_file

NOBODY = 65534


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path)


@pytest.mark.slow
def test_a_second_daemon_is_refused_and_the_first_keeps_its_pid_file(paths):
    with only_daemon(paths):
        with pytest.raises(HostError, match="another locksmithd runs on this machine"), only_daemon(paths):
            pytest.fail("two daemons")
        assert (paths.run / "locksmithd.pid").read_text() == f"{os.getpid()}\n"
    with only_daemon(paths):
        pass


def test_the_mark_of_an_adoption_lasts_for_this_boot(paths):
    mark = AdoptMark(paths, wanted=True)
    assert mark.missing()
    mark.leave()
    assert not mark.missing()
    assert not AdoptMark(paths, wanted=True).missing()
    assert not AdoptMark(paths, wanted=False).missing()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_no_other_user_can_hold_a_lock_that_the_daemon_waits_for(paths):
    """A lock needs no more than a file that can be opened for reading."""
    for folder in (paths.root, *paths.root.parents[:-2]):
        folder.chmod(0o755)
    journal = JournalFile(paths, "n1")
    journal.clear("nothing")
    with OperatorLock(paths).held(), only_daemon(paths):
        pass
    files = [journal.path.with_suffix(".lock"), paths.run / "operator.lock", paths.run / "locksmithd.pid"]
    for file in files:
        assert subprocess.run(["flock", "-n", file, "true"], user=NOBODY, check=False).returncode not in {0, 1}
        with locked(file, limit=0):
            assert Path(file).stat().st_mode & 0o077 == 0


def test_a_daemon_runs_while_it_has_its_lock_whatever_its_file_says(tmp_path):
    paths = Paths(tmp_path)
    assert not daemon_runs(paths)
    with only_daemon(paths):
        assert daemon_runs(paths)
    assert pid_file(paths).exists()
    assert not daemon_runs(paths)


def test_a_daemon_starts_though_its_lock_is_being_looked_at(tmp_path):
    paths = Paths(tmp_path)
    with only_daemon(paths):
        pass
    with pid_file(paths).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        looked = threading.Timer(0.1, fcntl.flock, (file, fcntl.LOCK_UN))
        looked.start()
        with only_daemon(paths):
            assert daemon_runs(paths)
        looked.join()
