"""The Debian packages: what they need, what is in them, what lintian says. On machines: test_debian_packages.py."""

import re
import shutil
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement

from release import deb
from release.source import Build
from tests.harness import debs, image

BUILDS = pytest.mark.usefixtures("tools")
BOTH = pytest.mark.parametrize("flavour", deb.FLAVOURS, ids=lambda flavour: flavour.suite)
EXPECTED = {
    "etc/locksmith/",
    "usr/bin/locksmith-server",
    "usr/bin/locksmithctl",
    "usr/bin/locksmithd",
    "usr/lib/locksmith/installed.d/deb",
    "usr/lib/locksmith/locksmith.toml",
    "usr/lib/systemd/system/locksmithd.service",
    "usr/share/bash-completion/completions/locksmithctl",
    "usr/share/dbus-1/system.d/org.locksmith1.conf",
    "usr/share/doc/locksmith/copyright",
    "usr/share/doc/locksmith/examples/locksmith.toml",
    "usr/share/polkit-1/actions/org.locksmith1.policy",
}


@pytest.fixture(scope="module")
def tools():
    if hindrance := debs.hindrance():
        pytest.skip(hindrance)


def ordered(older, newer):
    return subprocess.run(["dpkg", "--compare-versions", older, "lt", newer], check=False).returncode == 0


def of(package, *fields):
    return subprocess.run(
        ["dpkg-deb", "-f", package, *fields], check=True, capture_output=True, text=True
    ).stdout.strip()


def contents(package):
    """The files by name, with their mode and owner."""
    told = subprocess.run(["dpkg-deb", "-c", package], check=True, capture_output=True, text=True).stdout
    lines = [line.split(maxsplit=5) for line in told.splitlines()]
    return {name.removeprefix("./"): (mode, owner) for mode, owner, _, _, _, name in lines}


def requirements():
    project = tomllib.loads((image.REPOSITORY / "pyproject.toml").read_text())["project"]
    return {one.name: one for one in map(Requirement, project["dependencies"])}


def test_what_is_vendored_is_in_the_ranges_of_the_project():
    pinned = re.findall(r"(?m)^([a-z0-9-]+)==([0-9.]+) --hash", (image.REPOSITORY / "debian/vendor.txt").read_text())
    assert {name for name, _ in pinned} == deb.vendored()
    for name, version in pinned:
        assert version in requirements()[name].specifier, name


@BOTH
def test_every_dependency_is_debians_or_vendored(flavour):
    within = deb.vendored() if flavour.vendors else set()
    named = {name.partition(" ")[0] for name in deb.dependencies(flavour)}
    packages = {deb.NAMES[name] for name in set(requirements()) - within}
    assert named == {"python3", *packages, *flavour.zones}
    assert named - {"python3", "tzdata"} == set(debs.NEEDS[flavour])


def test_an_upgrade_of_debian_and_every_later_build_is_a_newer_version():
    def version(text, flavour):
        return Build(text, 0).package_version + flavour.suffix

    between, release = "0.1.0.dev20261129134423+g5d09f5c", "0.1.0"
    assert ordered(version(release, deb.BOOKWORM), version(release, deb.TRIXIE))
    assert ordered(version(between, deb.BOOKWORM), version(between, deb.TRIXIE))
    assert ordered(version(between, deb.TRIXIE), version(release, deb.BOOKWORM))
    assert ordered(version(between, deb.TRIXIE), version("0.1.0.dev20261129134424+g0", deb.BOOKWORM))


@BUILDS
@BOTH
def test_a_package_has_all_that_a_node_needs(flavour):
    package = debs.built(flavour)
    found = contents(package)
    assert set(found) >= EXPECTED
    assert {owner for _, owner in found.values()} == {"root/root"}
    assert {mode for mode, _ in found.values()} == {"drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"}
    assert [name for name in found if name.startswith("etc/")] == ["etc/", "etc/locksmith/"]
    assert not [name for name in found if name.endswith(".pyc")]
    assert any(name.startswith("usr/lib/locksmith/vendor/urllib3/") for name in found) == flavour.vendors
    for needed in deb.dependencies(flavour):
        assert needed in of(package, "Depends").split(", ")


@BUILDS
@BOTH
def test_a_package_says_its_version_and_is_off(flavour, tmp_path):
    package = debs.built(flavour)
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    home = tmp_path / "usr/lib/locksmith"
    assert (home / "installed.d/deb").read_text() == of(package, "Version") + "\n"
    assert tomllib.loads((home / "locksmith.toml").read_text()) == {"strategy": "off"}
    module = (tmp_path / "usr/lib/python3/dist-packages/locksmith/__init__.py").read_text()
    assert Build(re.findall(r'__version__ = "(.*)"', module)[0], 0).package_version + flavour.suffix == of(
        package, "Version"
    )


@BUILDS
@BOTH
def test_lintian_finds_nothing(flavour):
    if shutil.which("lintian") is None:
        pytest.skip("lintian examines packages: apt-get install lintian")
    said = subprocess.run(
        ["lintian", "--no-cfg", "--fail-on", "error,warning", debs.built(flavour)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stdout) == (0, "")


@BUILDS
def test_two_builds_are_identical(tmp_path):
    [again] = deb.build(tmp_path, flavours=(deb.TRIXIE,))
    first = debs.built(deb.TRIXIE)
    if first.name != again.name:  # built before the last commit
        [first] = deb.build(tmp_path / "first", flavours=(deb.TRIXIE,))
    assert first.read_bytes() == again.read_bytes()
