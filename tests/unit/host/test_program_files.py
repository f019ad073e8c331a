"""The files of checks and hooks in /etc, /run and /usr/lib."""

import os

import pytest

from locksmith.errors import HostError
from locksmith.host.paths import Paths
from locksmith.host.program_files import program_files, why_unusable

ETC, RUN, USR = "etc/locksmith", "run/locksmith", "usr/lib/locksmith"


@pytest.fixture
def write(tmp_path):
    def put(path, text="#!/bin/sh\n", mode=0o755):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    return put


def test_programs_of_all_folders_run_in_the_order_of_their_names_each_name_once(tmp_path, write):
    first, second = write(f"{USR}/pre-reboot.d/10-drain"), write(f"{RUN}/pre-reboot.d/20-once")
    write(f"{USR}/pre-reboot.d/30-old")
    third = write(f"{ETC}/pre-reboot.d/30-old")
    write(f"{USR}/pre-reboot.d/README"), write(f"{USR}/pre-reboot.d/40.bak")
    (tmp_path / ETC / "pre-reboot.d/10-drain").mkdir()
    assert program_files(Paths(tmp_path), "pre-reboot") == [first, second, third]
    assert program_files(Paths(tmp_path), "check") == []


def test_only_a_link_to_dev_null_masks_a_program(tmp_path, write):
    write(f"{USR}/check.d/10-db")
    mask = tmp_path / ETC / "check.d/10-db"
    mask.parent.mkdir(parents=True)
    mask.symlink_to(os.devnull)
    assert program_files(Paths(tmp_path), "check") == []
    mask.unlink()
    write(f"{ETC}/check.d/10-db", "")
    assert program_files(Paths(tmp_path), "check") == [mask]
    assert why_unusable(mask) == "it is empty: write it again, or mask it with a link to /dev/null"


@pytest.mark.parametrize("target", ["nowhere", "too-long" * 40], ids=["a missing file", "no name of a file"])
def test_a_link_that_cannot_be_followed_is_a_program_that_cannot_be_run(tmp_path, target):
    link = tmp_path / ETC / "pre-reboot.d/10-drain"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    assert program_files(Paths(tmp_path), "pre-reboot") == [link]
    assert why_unusable(link).startswith("it cannot be examined (")
    assert why_unusable(link).endswith("): put the program itself into the folder, not a link to it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses them")
@pytest.mark.parametrize("owned", ["run/locksmith/check.d/10-db", "home/x"])
def test_a_mask_that_other_users_can_change_is_a_program_that_cannot_be_run(tmp_path, write, owned):
    tmp_path.chmod(0o755)
    write(f"{USR}/check.d/10-db")
    mask, through = tmp_path / RUN / "check.d/10-db", tmp_path / "home/x"
    mask.parent.mkdir(parents=True)
    through.parent.mkdir()
    through.symlink_to(os.devnull)
    mask.symlink_to(through)
    assert program_files(Paths(tmp_path), "check") == []
    os.lchown(tmp_path / owned, 65534, 65534)
    assert program_files(Paths(tmp_path), "check") == [mask]
    assert "because other users can change it" in why_unusable(mask)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses them")
@pytest.mark.parametrize("changeable", [f"{ETC}/pre-reboot.d", ETC, f"{USR}/pre-reboot.d"])
def test_a_folder_from_which_others_can_remove_programs_is_an_error(tmp_path, changeable):
    tmp_path.chmod(0o755)
    (tmp_path / changeable).mkdir(parents=True)
    assert program_files(Paths(tmp_path), "pre-reboot") == []
    (tmp_path / changeable).chmod(0o777)
    with pytest.raises(HostError, match=f"the folder {tmp_path / changeable} is not used, because other users can"):
        program_files(Paths(tmp_path), "pre-reboot")


@pytest.mark.parametrize("path", [f"{ETC}/check.d", ETC])
def test_a_folder_that_is_a_link_to_nothing_is_an_error(tmp_path, path):
    link = tmp_path / path
    link.parent.mkdir(parents=True)
    link.symlink_to("/nonexistent/mnt")
    with pytest.raises(HostError, match=f"{link} cannot be listed: it is a link to a folder that does not exist"):
        program_files(Paths(tmp_path), "check")


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, write):
    folder = write(f"{RUN}/check.d")
    with pytest.raises(HostError, match=f"the programs of {folder} cannot be listed: Not a directory"):
        program_files(Paths(tmp_path), "check")
