"""What a copied disk finds another of: the firmware's id, and the id of a container's /run."""

import pytest

from locksmith.host.hardware import read_hardware
from locksmith.host.instance import read_instance
from locksmith.host.paths import Paths

MACHINE = "1c09ca98649c4c7abc779cd04c96812e"
UUID = "8c5a2a2e-5f0e-4a0e-9b51-0d8e0a4b8a11"


def firmware(root, uuid):
    paths = Paths(root)
    paths.product_uuid.parent.mkdir(parents=True, exist_ok=True)
    paths.product_uuid.write_text(f"{uuid}\n")
    return paths


def test_the_same_firmware_gives_the_same_digest_in_any_case_of_letters(tmp_path):
    found = read_hardware(firmware(tmp_path, UUID), MACHINE)
    assert found == read_hardware(firmware(tmp_path, UUID.upper()), MACHINE)
    assert len(found) == 16


def test_another_firmware_or_another_machine_id_gives_another_digest(tmp_path):
    found = read_hardware(firmware(tmp_path, UUID), MACHINE)
    assert found != read_hardware(firmware(tmp_path, UUID.replace("8c5a", "8c5b")), MACHINE)
    assert found != read_hardware(firmware(tmp_path, UUID), MACHINE.replace("1c", "1d"))
    assert UUID[:8] not in found


def test_a_board_without_smbios_has_its_serial_number(tmp_path):
    paths = Paths(tmp_path)
    paths.board_serial.parent.mkdir(parents=True)
    paths.board_serial.write_bytes(b"10000000a1b2c3d4\0")
    assert len(read_hardware(paths, MACHINE)) == 16


@pytest.mark.parametrize("content", ["", " \n"])
def test_a_firmware_that_says_nothing_tells_nothing(tmp_path, content):
    assert read_hardware(firmware(tmp_path, content), MACHINE) == ""
    assert read_hardware(Paths(tmp_path / "none"), MACHINE) == ""


def test_a_container_sees_its_hosts_firmware_and_has_none_of_its_own(tmp_path):
    paths = firmware(tmp_path, UUID)
    paths.container.parent.mkdir(parents=True)
    paths.container.write_text("systemd-nspawn")
    assert read_hardware(paths, MACHINE) == ""


def test_a_restarted_daemon_finds_its_run_again_and_a_reboot_makes_another(tmp_path):
    paths = Paths(tmp_path)
    run = read_instance(paths)
    assert len(run) == 16
    assert read_instance(paths) == run
    (paths.run / "instance").unlink()
    assert read_instance(paths) not in {"", run}


def test_a_run_that_cannot_be_named_has_no_name(tmp_path):
    (tmp_path / "run").write_text("no folder")
    assert read_instance(Paths(tmp_path)) == ""
