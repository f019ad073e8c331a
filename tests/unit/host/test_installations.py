"""Two installations of different kinds on one node: each program names the others."""

import sys

import pytest

from locksmith.host.installations import warnings
from locksmith.host.paths import Paths

UNIT = "etc/systemd/system/locksmithd.service"


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path)


def write(paths, place, text="0.1.0\n"):
    file = paths.root / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def packaged(paths, where="python3/dist-packages"):
    return write(paths, f"usr/lib/{where}/locksmith/__init__.py")


def test_a_single_package_is_nothing_to_speak_of(paths):
    write(paths, "usr/lib/locksmith/installed.d/deb")
    assert warnings(paths, packaged(paths)) == []


def test_a_python_environment_alone_is_nothing_to_speak_of(paths):
    write(paths, UNIT, "[Service]\n")
    assert warnings(paths, write(paths, "opt/locksmith/lib/locksmith/__init__.py")) == []


def test_a_package_and_an_extension_name_each_other_and_both_ways_out(paths):
    write(paths, "usr/lib/locksmith/installed.d/deb", "0.1.0~dev1+g2\n")
    write(paths, "usr/lib/locksmith/installed.d/sysext", "0.2.0\n")
    for where in ("python3/dist-packages", "locksmith/bundle/_internal"):
        [said] = warnings(paths, packaged(paths, where))
        assert "installed 2 times on this machine: deb 0.1.0~dev1+g2, sysext 0.2.0." in said
        assert f"This program is in {paths.root}/usr/lib/{where}." in said
        assert "`apt-get remove locksmith` or `systemctl stop locksmithd; rm -rf /etc/extensions/locksmith* " in said
        for unit in ("systemd-sysext", "locksmithd"):
            assert f"/etc/systemd/system/{unit}.service.d/10-locksmith.conf" in said
        assert said.endswith("&& systemctl daemon-reload`")


def test_a_container_does_not_let_the_daemon_below_the_extension_start(paths):
    write(paths, "usr/lib/locksmith/installed.d/image", "0.2.0\n")
    write(paths, "host/usr/lib/locksmith/installed.d/sysext")
    [said] = warnings(paths, packaged(paths))
    assert "locksmithd.service.d/10-locksmith.conf" not in said
    assert said.endswith("&& systemd-sysext refresh && systemctl daemon-reload`")


def test_a_container_of_podman_can_start_when_the_extension_is_gone(paths):
    write(paths, "usr/lib/locksmith/installed.d/image", "0.2.0\n")
    write(paths, "host/usr/lib/locksmith/installed.d/sysext")
    write(paths, "host/etc/containers/systemd/locksmithd.container", "[Container]\n")
    [said] = warnings(paths, packaged(paths))
    assert "rm -f /etc/systemd/system/locksmithd.service.d/10-locksmith.conf && systemctl daemon-reload`" in said


@pytest.mark.parametrize(
    ("kind", "reinstall"), [("deb", "apt-get install --reinstall locksmith"), ("rpm", "dnf reinstall locksmith")]
)
def test_an_archive_over_a_package_is_removed_so_that_the_other_stays_whole(paths, kind, reinstall):
    write(paths, f"usr/lib/locksmith/installed.d/{kind}")
    write(paths, "usr/lib/locksmith/installed.d/bundle")
    [said] = warnings(paths, packaged(paths, "locksmith/bundle/_internal"))
    assert f"/usr/lib/locksmith/installed.d/bundle && {reinstall}`" in said
    assert " locksmith && tar -xJf ARCHIVE -C / --keep-directory-symlink`" in said


def test_an_environment_next_to_a_package_is_named_with_its_python(paths):
    write(paths, "usr/lib/locksmith/installed.d/rpm")
    [said] = warnings(paths, write(paths, "opt/locksmith/lib/locksmith/__init__.py"))
    assert f"rpm 0.1.0, Python environment {sys.executable}" in said
    assert f"`{sys.executable} -m pip uninstall locksmith`" in said


def test_a_package_names_the_container_of_podman_which_covers_its_unit(paths):
    write(paths, "usr/lib/locksmith/installed.d/deb")
    write(paths, "etc/containers/systemd/locksmithd.container", "[Container]\n")
    [said] = warnings(paths, packaged(paths))
    assert "deb 0.1.0, image by podman" in said
    assert "`systemctl stop locksmithd; rm -f /etc/containers/systemd/locksmithd.container /etc/systemd/" in said


def test_a_container_names_the_package_of_its_machine(paths):
    write(paths, "usr/lib/locksmith/installed.d/image", "0.2.0\n")
    assert warnings(paths, write(paths, "opt/locksmith/lib/locksmith/__init__.py")) == []
    write(paths, "host/usr/lib/locksmith/installed.d/deb")
    [said] = warnings(paths, packaged(paths))
    assert "image 0.2.0, deb 0.1.0" in said


def test_an_older_unit_of_an_administrator_is_named_where_a_package_is(paths):
    write(paths, "usr/lib/locksmith/installed.d/deb")
    unit = write(paths, UNIT, "[Service]\n")
    [said] = warnings(paths, packaged(paths))
    assert f"by the unit {unit}, which covers the unit of deb 0.1.0: `rm {unit} && systemctl daemon-reload`" in said


@pytest.mark.parametrize("target", ["/dev/null", "usr/lib/systemd/system/locksmithd.service"])
def test_a_mask_and_a_link_to_the_packages_unit_cover_nothing(paths, target):
    write(paths, "usr/lib/locksmith/installed.d/deb")
    write(paths, "usr/lib/systemd/system/locksmithd.service")
    link = paths.root / UNIT
    link.parent.mkdir(parents=True)
    link.symlink_to(paths.root / target)
    assert warnings(paths, packaged(paths)) == []


@pytest.mark.parametrize("place", [UNIT, "etc/containers/systemd/locksmithd.container"])
def test_a_unit_that_cannot_be_examined_ends_no_program(paths, place):
    write(paths, "usr/lib/locksmith/installed.d/deb")
    link = paths.root / place
    link.parent.mkdir(parents=True)
    link.symlink_to("x" * 300)  # as to a folder that is closed to root without capabilities: even stat() fails
    assert warnings(paths, packaged(paths)) == []


@pytest.mark.parametrize("text", ["", "\x1b[31m0.1\n", "1.0\n2.0\n", "x" * 10_000])
def test_a_version_that_cannot_be_read_is_no_text_of_others(paths, text):
    write(paths, "usr/lib/locksmith/installed.d/deb", text)
    write(paths, "usr/lib/locksmith/installed.d/sysext")
    write(paths, "usr/lib/locksmith/installed.d/.deb.swp")
    [said] = warnings(paths, packaged(paths))
    assert "installed 2 times on this machine: deb of an unknown version, sysext 0.1.0." in said
