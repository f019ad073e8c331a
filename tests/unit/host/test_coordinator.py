"""coordinator.conf and its lock, as other programs see them."""

import fcntl
import os
import subprocess
import threading

import pytest

from locksmith.errors import HostError
from locksmith.host.coordinator import Coordinator, CoordinatorState


@pytest.fixture
def path(tmp_path):
    return tmp_path / "update-engine" / "coordinator.conf"


@pytest.fixture
def coordinator(path):
    coordinator = Coordinator(path)
    yield coordinator
    coordinator.close()


def is_locked(path):
    """Ask as a login profile does."""
    return subprocess.run(["flock", "--nonblock", path, "true"], check=False).returncode == 1


def lock_is_free(path):
    """Tell whether the file that has the name, and keeps it meanwhile, could be locked."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return os.path.samestat(os.fstat(file.fileno()), path.stat())


def sourced(path):
    """Read it as a shell does."""
    script = '. "$0"; printf "%s|%s|%s" "$NAME" "$STRATEGY" "$STATE"'
    return subprocess.run(["sh", "-c", script, path], check=True, capture_output=True, text=True).stdout


def test_it_is_a_shell_file_that_anybody_reads(coordinator, path):
    coordinator.set("etcd-lock", CoordinatorState.REBOOT_PLANNED)
    assert path.read_text() == "NAME=locksmithd\nSTRATEGY=etcd-lock\nSTATE=reboot-planned\n"
    assert path.stat().st_mode & 0o777 == 0o644
    coordinator.set("$(id) 'x'", CoordinatorState.RUNNING)
    assert sourced(path) == "locksmithd|$(id) 'x'|running"


def test_it_is_locked_until_closed_over_every_update(coordinator, path):
    coordinator.set("reboot", CoordinatorState.STARTING)
    assert is_locked(path)
    coordinator.set("reboot", CoordinatorState.RUNNING)
    assert is_locked(path)
    coordinator.close()
    assert not is_locked(path)
    assert path.exists()


@pytest.mark.slow
def test_the_lock_never_lapses_during_updates(coordinator, path):
    """Whoever tries all the time gets, at most, the lock of a file that has been replaced already."""
    coordinator.set("reboot", CoordinatorState.RUNNING)
    updated = threading.Event()

    def update():
        for _ in range(300):
            coordinator.set("reboot", CoordinatorState.RUNNING)
        updated.set()

    updates = threading.Thread(target=update)
    updates.start()
    lapses = 0
    while not updated.is_set():
        lapses += lock_is_free(path)
    updates.join()
    assert lapses == 0


def test_another_coordinator_is_left_alone_and_named(coordinator, path):
    path.parent.mkdir()
    path.write_text("NAME=other\n")
    other = subprocess.Popen(["flock", path, "sh", "-c", "echo locked; read _"], stdin=-1, stdout=-1, text=True)
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        for _ in range(2):
            with pytest.raises(HostError, match=r"coordinator\.conf is locked by another program"):
                coordinator.set("reboot", CoordinatorState.RUNNING)
        assert path.read_text() == "NAME=other\n"
        other.communicate("\n")
    coordinator.set("reboot", CoordinatorState.RUNNING)
    assert is_locked(path)


def test_a_file_that_was_taken_away_is_made_again(coordinator, path):
    coordinator.set("reboot", CoordinatorState.RUNNING)
    path.unlink()
    coordinator.set("reboot", CoordinatorState.REBOOTING)
    assert sourced(path) == "locksmithd|reboot|rebooting"
    assert is_locked(path)


def test_a_folder_that_cannot_be_made_is_said(coordinator, path):
    path.parent.write_text("in the way")
    with pytest.raises(HostError, match=r"coordinator\.conf cannot be written"):
        coordinator.set("reboot", CoordinatorState.RUNNING)
