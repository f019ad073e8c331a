"""The folders of the configuration, after UAPI.6: /etc/locksmith, /run/locksmith, /usr/lib/locksmith."""

import os
from datetime import timedelta

import pytest

from locksmith.config.folders import effective_masks
from locksmith.config.load import load_daemon, load_tool
from locksmith.config.show import describe, describe_file, describe_files
from locksmith.errors import UsageError
from locksmith.host.paths import Paths
from locksmith.host.program_files import all_program_files

ETC, RUN, USR = "etc/locksmith", "run/locksmith", "usr/lib/locksmith"
DROP_INS = "locksmith.toml.d"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


class Machine:
    def __init__(self, root):
        self.root = root

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return str(file)

    def mask(self, path, target=os.devnull):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        return str(file)

    def daemon(self, environ=None):
        return load_daemon(Paths(self.root), environ or {}, {})

    def tool(self):
        return load_tool(Paths(self.root), {}, {})


@pytest.mark.parametrize("load", [Machine.daemon, Machine.tool])
def test_the_first_folder_with_a_file_replaces_the_whole_file_of_the_others(machine, load):
    machine.write(f"{USR}/locksmith.toml", 'group = "usr"\nreboot.tries = 1')
    assert (load(machine).group, load(machine).reboot.tries) == ("usr", 1)
    machine.write(f"{RUN}/locksmith.toml", 'group = "run"')
    assert (load(machine).group, load(machine).reboot.tries) == ("run", 5)
    machine.write(f"{ETC}/locksmith.toml", "reboot.tries = 3")
    assert (load(machine).group, load(machine).reboot.tries) == ("", 3)


@pytest.mark.parametrize("load", [Machine.daemon, Machine.tool])
def test_drop_ins_of_all_folders_are_read_in_the_order_of_their_names(machine, load):
    machine.write(f"{USR}/{DROP_INS}/30.toml", 'group = "30 of usr"')
    machine.write(f"{ETC}/{DROP_INS}/20.toml", 'group = "20 of etc"\nreboot.tries = 2')
    machine.write(f"{USR}/{DROP_INS}/10.toml", "reboot.tries = 1\nhealth.limit = '1m'")
    config = load(machine)
    assert (config.group, config.reboot.tries, config.health.limit) == ("30 of usr", 2, timedelta(minutes=1))


def test_of_one_name_only_the_drop_in_of_the_first_folder_is_read(machine):
    for folder, tries in ((USR, 1), (RUN, 2), (ETC, 3)):
        machine.write(f"{folder}/{DROP_INS}/10.toml", f"reboot.tries = {tries}\n[health]\nlimit = '{tries}m'")
        assert machine.daemon().reboot.tries == tries
    machine.write(f"{ETC}/{DROP_INS}/10.toml", "reboot.tries = 4")
    assert machine.daemon().health.limit == timedelta(minutes=10), "nothing is left of the others"


def test_a_masked_drop_in_is_not_read_though_it_is_broken(machine):
    hidden = machine.write(f"{USR}/{DROP_INS}/10.toml", "no TOML")
    masking = machine.mask(f"{RUN}/{DROP_INS}/10.toml")
    config = machine.daemon()
    assert (config.reboot.tries, config.cautions) == (5, ())
    assert describe_files(config)[1:] == [f"{masking} masks {hidden}"]
    machine.write(f"{ETC}/{DROP_INS}/10.toml", "reboot.tries = 2")
    assert machine.daemon().reboot.tries == 2, "a later folder's mask does not count"


def test_a_mask_of_a_file_that_does_not_exist_is_a_warning(machine):
    link = machine.mask(f"{ETC}/{DROP_INS}/10-typo.toml")
    hook = machine.mask(f"{ETC}/pre-reboot.d/10-typo")
    machine.write(f"{USR}/{DROP_INS}/10-type.toml", "reboot.tries = 1")
    machine.write(f"{USR}/check.d/10", "#!/bin/sh\n")
    machine.mask(f"{ETC}/check.d/10")
    config = machine.daemon()
    assert config.reboot.tries == 1
    assert [caution.partition(", as ")[0] for caution in config.cautions] == [
        f"{link} is a link to /dev/null and masks nothing",
        f"{hook} is a link to /dev/null and masks nothing",
    ]


def test_the_daemon_finds_the_masks_that_leave_out_a_file_for_its_log(machine):
    for path in (f"{DROP_INS}/10.toml", "pre-reboot.d/10-drain"):
        machine.write(f"{USR}/{path}", "x")
        machine.mask(f"{ETC}/{path}")
    machine.mask(f"{ETC}/check.d/10-typo")
    masks = effective_masks(Paths(machine.root), machine.daemon().files)
    assert [describe_file(mask) for mask in masks] == [
        f"{machine.root / ETC / path} masks {machine.root / USR / path}"
        for path in (f"{DROP_INS}/10.toml", "pre-reboot.d/10-drain")
    ]


@pytest.mark.parametrize("line", ['group = "web"', 'etcd.endpoints = ["https://10.0.0.1:2379"]'])
def test_a_lock_without_a_strategy_is_a_warning(machine, line):
    path = machine.write(f"{ETC}/locksmith.toml", line)
    assert [caution.partition(": it is")[0] for caution in machine.daemon().cautions] == [
        f"{path} sets {line.partition(' ')[0]}, and strategy is not set"
    ]
    for strategy in ("reboot", "off", "etcd-lock"):
        machine.write(f"{ETC}/{DROP_INS}/10.toml", f'strategy = "{strategy}"')
        assert not any("strategy is not set" in caution for caution in machine.daemon().cautions)
    machine.write(f"{ETC}/{DROP_INS}/10.toml", "reboot.tries = 1")
    assert machine.daemon({"REBOOT_STRATEGY": "reboot"}).cautions == ()


def test_check_config_names_the_files_in_the_order_read_and_the_file_of_each_value(machine):
    usr, etc = machine.write(f"{USR}/locksmith.toml", "reboot.tries = 1"), machine.write(f"{ETC}/locksmith.toml", "#")
    ten = machine.write(f"{RUN}/{DROP_INS}/10.toml", "reboot.tries = 2")
    five, old = [machine.write(f"{folder}/{DROP_INS}/05.toml", 'group = "a"') for folder in (ETC, RUN)]
    config = machine.daemon()
    assert describe_files(config)[1:] == [f"{etc} replaces {usr}", f"{five} replaces {old}", ten]
    hook, hidden = machine.mask(f"{ETC}/pre-reboot.d/10"), machine.write(f"{USR}/pre-reboot.d/10", "x")
    check = machine.write(f"{RUN}/check.d/20", "x")
    said = describe_files(config, all_program_files(Paths(machine.root)))
    assert said[-3:] == ["Checks and hooks:", check, f"{hook} masks {hidden}"]
    origins = {name: origin for name, _, origin in describe(config)}
    assert (origins["reboot.tries"], origins["group"]) == (ten, five)


def test_a_package_alone_leaves_the_node_not_configured(machine):
    usr = machine.write(f"{USR}/locksmith.toml", 'strategy = "off"')
    machine.write(f"{ETC}/{DROP_INS}/10.toml", 'group = "a"')
    sentence = (
        f"this node is not configured, so it will not reboot (its strategy is off by {usr}): "
        f"write {machine.root / ETC / 'locksmith.toml'}"
    )
    assert machine.daemon().not_configured == machine.tool().not_configured == sentence
    assert machine.daemon({"REBOOT_STRATEGY": "reboot"}).not_configured == ""
    assert machine.daemon({"REBOOT_STRATEGY": "off"}).not_configured == ""
    machine.write(f"{ETC}/locksmith.toml", 'strategy = "off"')
    assert (machine.daemon().strategy, machine.daemon().not_configured) == ("off", "")


@pytest.mark.parametrize("left", [None, "", "\n", "# strategy = 'etcd-lock'\n", "[etcd]\n"])
def test_an_emptied_configuration_never_falls_back_to_a_reboot_without_a_lock(machine, left):
    assert machine.daemon().strategy == "reboot", "the default"
    machine.write(f"{USR}/locksmith.toml", 'strategy = "off"')
    path = f"{ETC}/locksmith.toml"
    machine.mask(path) if left is None else machine.write(path, left)
    config = machine.daemon()
    assert (config.strategy, machine.tool().strategy) == ("off", "off")
    assert "its strategy is off by" in config.not_configured
    assert f"{path}, which has no key" in config.not_configured
    machine.mask(f"{ETC}/{DROP_INS}/locksmith.toml")
    machine.write(f"{ETC}/{DROP_INS}/10.toml", 'strategy = "etcd-lock"')
    assert (machine.daemon().strategy, machine.daemon().not_configured) == ("etcd-lock", "")


@pytest.mark.parametrize("left", ["", "\n", " \t\r\n\n"])
def test_an_emptied_drop_in_is_refused_because_it_may_have_set_the_lock(machine, left):
    machine.write(f"{ETC}/locksmith.toml", 'group = "web"')
    machine.write(f"{USR}/{DROP_INS}/10-lock.toml", 'strategy = "etcd-lock"')
    assert machine.daemon().strategy == "etcd-lock"
    path = machine.write(f"{ETC}/{DROP_INS}/10-lock.toml", left)
    with pytest.raises(UsageError, match=f"{path} is empty: write it again, or remove it"):
        machine.daemon()
    machine.write(f"{ETC}/{DROP_INS}/10-lock.toml", "# nothing is set here\n")
    assert machine.daemon().strategy == "reboot", "a comment is written by a person"


@pytest.mark.parametrize("path", ["etc", ETC, f"{ETC}/{DROP_INS}", RUN, f"{USR}/{DROP_INS}"])
@pytest.mark.parametrize("load", [Machine.daemon, Machine.tool])
def test_a_folder_that_is_a_link_to_nothing_is_refused(machine, path, load):
    link = machine.mask(path, "/nonexistent/mnt")
    with pytest.raises(UsageError, match=f"{link} cannot be read: it is a link to a folder that does not exist"):
        load(machine)
    machine.mask(path, machine.root)
    assert load(machine).strategy == "reboot"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses them")
@pytest.mark.parametrize("path", [ETC, f"{ETC}/{DROP_INS}", f"{USR}/{DROP_INS}"])
def test_root_refuses_a_folder_from_which_others_can_remove_files(machine, path):
    machine.root.chmod(0o755)
    (machine.root / path).mkdir(parents=True)
    machine.daemon()
    (machine.root / path).chmod(0o777)
    with pytest.raises(UsageError, match=f"{path} is not used, because other users can change it: every user"):
        machine.daemon()
    (machine.root / path).chmod(0o1777)
    machine.daemon()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_refuses_a_mask_through_a_link_of_another_user(machine):
    machine.root.chmod(0o755)
    machine.mask("home/x")
    machine.mask(f"{ETC}/{DROP_INS}/10.toml", machine.root / "home/x")
    machine.daemon()
    os.lchown(machine.root / "home/x", 65534, 65534)
    with pytest.raises(UsageError, match=r"home/x belongs to the user .*, who can change it"):
        machine.daemon()


@pytest.mark.parametrize("target", ["/dev/zero", "nowhere", "/"])
def test_a_link_to_anything_but_dev_null_masks_nothing(machine, target):
    machine.write(f"{USR}/{DROP_INS}/10.toml", "reboot.tries = 1")
    path = machine.mask(f"{ETC}/{DROP_INS}/10.toml", target)
    with pytest.raises(UsageError, match=f"{path} cannot be read"):
        machine.daemon()


@pytest.mark.parametrize("path", [ETC, f"{ETC}/{DROP_INS}", f"{USR}/{DROP_INS}", RUN])
def test_a_file_in_the_place_of_a_folder_is_refused(machine, path):
    machine.write(f"{'usr/lib' if path.startswith('usr') else 'var'}/x", "")
    machine.write(path, "x")
    with pytest.raises(UsageError, match="cannot be read: Not a directory"):
        machine.daemon()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("path", [f"{ETC}/locksmith.toml", f"{RUN}/{DROP_INS}/10.toml", f"{USR}/{DROP_INS}/10.toml"])
@pytest.mark.parametrize("is_link", [True, False])
def test_root_refuses_a_file_or_a_mask_in_a_folder_that_others_can_change(machine, path, is_link):
    machine.root.chmod(0o755)
    file = machine.root / path
    machine.mask(path) if is_link else machine.write(path, "reboot.tries = 1")
    machine.daemon()
    file.parent.chmod(0o777)
    with pytest.raises(UsageError, match="because other users can change it"):
        machine.daemon()
    file.parent.chmod(0o755)
    os.lchown(file, 65534, 65534)
    with pytest.raises(UsageError, match=r"the user (nobody|65534)|because other users can change it"):
        machine.daemon()
