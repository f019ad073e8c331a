"""What a daemon in the container image refuses: folders that are its own, and a boot id that changes within a boot."""

import asyncio

import pytest

from locksmith.errors import HostError
from locksmith.host.container import ContainerCheck, missing_mounts, refuse_missing_mounts
from locksmith.host.dbus.bus import SystemBus
from locksmith.host.paths import Paths


@pytest.fixture
def paths(tmp_path):
    """A container whose machine has the same files as itself."""
    paths = Paths(tmp_path)
    paths.image_mark.parent.mkdir(parents=True)
    paths.image_mark.write_text("0.1.0\n")
    paths.machine_root.symlink_to(".")
    for folder in (paths.state, paths.run):
        folder.mkdir(parents=True)
    paths.boot_id.parent.mkdir(parents=True)
    paths.boot_id.write_text("first\n")
    return paths


def test_a_container_with_its_machines_folders_lacks_nothing(paths):
    assert missing_mounts(paths) == []
    refuse_missing_mounts(paths)


def test_outside_of_the_image_no_mount_is_asked_for(paths):
    paths.image_mark.unlink()
    paths.machine_root.unlink()
    assert missing_mounts(paths) == []


@pytest.mark.parametrize("exists", [True, False])
def test_without_the_machines_root_the_option_is_named(paths, exists):
    paths.machine_root.unlink()
    if exists:
        paths.machine_root.mkdir()
    with pytest.raises(HostError, match=f"--volume=/:{paths.machine_root}:ro,rslave; docs/containers.md"):
        refuse_missing_mounts(paths)


@pytest.mark.parametrize("folder", ["var/lib/locksmith", "run/locksmith"])
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_not_the_machines_is_named(paths, folder, there):
    own = paths.root / folder
    paths.machine_root.unlink()
    for other in ("var/lib", "run"):
        (paths.machine_root / other).mkdir(parents=True)
        (paths.machine_root / other / "locksmith").symlink_to(paths.root / other / "locksmith")
    assert missing_mounts(paths) == []
    (paths.machine_root / folder).unlink()
    if there:
        (paths.machine_root / folder).mkdir()
    assert missing_mounts(paths) == [
        f"{own} is not the machine's: run the container with --volume={own}:{own}",
    ]


def test_a_boot_id_that_changes_while_run_stays_is_no_boot(paths):
    check(paths, "no connection")
    paths.boot_id.write_text("second\n")
    check(paths, "has the boot id second, and .*boot-id has first from earlier in the same boot")
    (paths.run / "boot-id").unlink()  # as a reboot of the machine does
    check(paths, "no connection")


def test_a_boot_id_that_cannot_be_remembered_is_an_error(paths):
    (paths.run / "boot-id").mkdir()
    check(paths, "boot-id cannot be read")


def check(paths, says):
    with pytest.raises(HostError, match=says):
        asyncio.run(ContainerCheck(paths, SystemBus()).check())
