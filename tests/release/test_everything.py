"""A release is whole, and the same each time, or there is none."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from release import sbom
from release.contents import Part, python_packages
from release.everything import BUILDERS, ReleaseError, release
from release.sbom import CONTAINS, parts_of
from release.source import REPOSITORY, build_of
from tests.harness.pages import blocks

VERSION = "0.1.0"
ONE = {"release.one": ("locksmith-*.one",)}
WRITES = """
from pathlib import Path
from release.source import build_of, REPOSITORY
(REPOSITORY / "dist" / f"locksmith-{build_of().version}.one").write_text("one")
"""


@pytest.fixture
def repository(tmp_path):
    """Sources of version 0.1.0 with a builder, all committed and tagged."""
    folder = tmp_path / "repository"
    write(folder, "locksmith/__init__.py", f'"""It."""\n\n__version__ = "{VERSION}"\n')
    write(folder, ".gitignore", "dist/\n.cache/\n__pycache__/\n")
    write(folder, "release/__init__.py", "")
    write(folder, "release/source.py", (REPOSITORY / "release/source.py").read_text())
    write(folder, "release/one.py", WRITES)
    git(folder, "init", "--quiet")
    commit(folder)
    return folder


def write(folder, name, text):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def git(folder, *arguments):
    identity = ("-c", "user.name=n", "-c", "user.email=e")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def commit(folder):
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "it")
    git(folder, "tag", "--force", f"v{VERSION}")


def built(repository, builders=None, **options):
    dist = repository / "dist"
    release(dist, repository, builders or ONE, **options)
    return sorted(path.name for path in dist.iterdir())


def left_over(repository):
    """What a build leaves besides dist/ and what is committed."""
    cache = repository / ".cache"
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def test_a_release_has_its_files_their_checksums_and_the_list_of_parts(repository):
    assert built(repository) == ["SHA256SUMS", "locksmith-0.1.0.cdx.json", "locksmith-0.1.0.one"]
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=repository / "dist", check=True, capture_output=True
    )
    assert done.stdout.decode().splitlines() == ["locksmith-0.1.0.cdx.json: OK", "locksmith-0.1.0.one: OK"]
    bom = json.loads((repository / "dist/locksmith-0.1.0.cdx.json").read_text())
    assert (bom["bomFormat"], bom["metadata"]["component"]["version"]) == ("CycloneDX", VERSION)
    assert left_over(repository) == []


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        ("raise SystemExit('no disk')", "release.one failed with exit status 1:\nno disk"),
        ("", "has to write one file locksmith-\\*.one, and wrote: nothing"),
        (f"{WRITES}(REPOSITORY / 'dist/more').touch()", "does not name: more"),
        (WRITES.replace("{build_of().version}", "0.0.9"), "locksmith-0.0.9.one does not have the version 0.1.0"),
    ],
)
def test_a_build_that_fails_leaves_what_was_there(repository, builder, said):
    built(repository)
    before = (repository / "dist/SHA256SUMS").read_text()
    write(repository, "release/one.py", builder)
    commit(repository)
    with pytest.raises(ReleaseError, match=said):
        built(repository)
    assert (repository / "dist/SHA256SUMS").read_text() == before
    assert left_over(repository) == []


def test_the_first_build_that_fails_leaves_no_dist(repository):
    builders = {**ONE, "release.two": ("locksmith-*.two",)}
    with pytest.raises(ReleaseError, match=r"these sources lack release\.two, so they make no whole release"):
        built(repository, builders)
    write(repository, "release/two.py", "raise SystemExit(3)")
    with pytest.raises(ReleaseError, match=r"release\.two failed with exit status 3"):
        built(repository, builders)
    assert not (repository / "dist").exists()


def test_a_release_replaces_all_of_the_release_before(repository):
    write(repository, "dist/locksmith-0.0.9.one", "old")
    assert built(repository) == ["SHA256SUMS", "locksmith-0.1.0.cdx.json", "locksmith-0.1.0.one"]


@pytest.mark.parametrize("content", ["str(REPOSITORY)", "time.tzname[0]", "str(os.umask(0))", "os.urandom(9).hex()"])
def test_two_builds_that_differ_are_no_release(repository, content):
    write(
        repository, "release/one.py", "import os, time" + WRITES.replace('write_text("one")', f"write_text({content})")
    )
    commit(repository)
    with pytest.raises(ReleaseError, match=r"two builds are not identical: .*locksmith-0\.1\.0\.one differs"):
        built(repository, twice=True)
    assert not (repository / "dist").exists()
    assert left_over(repository) == ["release-check", "release-check-first"]


def test_two_builds_that_are_the_same_are_one_release(repository, capsys):
    built(repository, twice=True)
    assert "two builds are identical" in capsys.readouterr().out
    assert left_over(repository) == []


@pytest.fixture
def keyring():
    """A keyring with a key of its own, in a short path: its agent listens on a socket there."""
    if shutil.which("gpg") is None:
        pytest.skip("signing needs the Debian package gnupg")
    with tempfile.TemporaryDirectory(prefix="gpg-") as folder:
        environ = {**os.environ, "GNUPGHOME": folder, "KEY": "maintainer@example"}
        make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", environ["KEY"]]
        try:
            subprocess.run(make, env=environ, check=True, capture_output=True)
            yield environ
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env=environ, check=True)


def test_a_release_is_signed_and_checked_by_the_commands_of_the_page(repository, keyring):
    built(repository)
    commands = [block for block in blocks("docs/releasing.md", "Steps") if "gpg" in block]
    commands += blocks("docs/releasing.md", "What a user checks")
    assert len(commands) == 2
    for block in commands:
        done = subprocess.run(
            ["sh", "-ec", block], cwd=repository / "dist", env=keyring, check=True, capture_output=True, text=True
        )
    assert "Good signature" in done.stderr
    assert "locksmith-0.1.0.one: OK" in done.stdout
    verify = ["gpg", "--verify", "SHA256SUMS.gpg", "SHA256SUMS"]  # as systemd-sysupdate does
    subprocess.run(verify, cwd=repository / "dist", env=keyring, check=True, capture_output=True)
    (repository / "dist/locksmith-0.1.0.one").write_text("another")
    changed = subprocess.run(["sh", "-ec", commands[1]], cwd=repository / "dist", env=keyring, check=False)
    assert changed.returncode == 1


def test_every_kind_of_package_has_a_builder_and_a_command():
    made = REPOSITORY.joinpath("Makefile").read_text()
    assert "$(BIN)/python -m release.everything" in made
    patterns = [pattern for each in BUILDERS.values() for pattern in each]
    assert {pattern.rpartition(".")[2] for pattern in patterns} == {"whl", "gz", "deb", "xz", "raw", "rpm", "tar"}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The Python packages of this working tree, and what is in them."""
    dist = tmp_path_factory.mktemp("real") / "dist"
    dist.parent.joinpath(".cache").mkdir()
    made = release(dist, builders={"release.wheel": BUILDERS["release.wheel"]}, twice=True)
    return dist, made


def test_the_wheel_and_the_sdist_are_reproducible_and_say_the_version(real):
    dist, made = real
    assert made == build_of()
    names = {path.name for path in dist.iterdir()}
    assert {f"locksmith-{made.version}-py3-none-any.whl", f"locksmith-{made.version}.tar.gz"} < names
    [part] = python_packages(dist / f"locksmith-{made.version}-py3-none-any.whl")
    assert part == Part("pypi", "locksmith", made.version, "Apache-2.0")


def test_the_sdist_builds_the_same_wheel(real, tmp_path):
    """What is published as sources is what the packages are made of, and packages of it have the same version."""
    dist, made = real
    subprocess.run(["tar", "-xf", dist / f"locksmith-{made.version}.tar.gz", "-C", tmp_path], check=True)
    unpacked = tmp_path / f"locksmith-{made.version}"
    assert build_of(unpacked) == made
    assert unpacked.joinpath("tests/conformance/fleetlock/README.md").exists(), "others take the suite from there"
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(made.epoch)}
    hatch = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(hatch, cwd=unpacked, env=environ, check=True, capture_output=True)
    name = f"locksmith-{made.version}-py3-none-any.whl"
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in (dist, tmp_path)]
    assert digests[0] == digests[1]


def test_the_list_names_packages_with_licences_and_the_files_that_have_them(tmp_path):
    metadata = tmp_path / "tree/usr/lib/locksmith/vendor/h11-0.16.0.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(
        "Metadata-Version: 2.1\nName: h11\nVersion: 0.16.0\nLicense: MIT\n"
        "Classifier: License :: OSI Approved :: MIT License\n\nThe text.\n"
    )
    (tmp_path / "tree/DEBIAN").mkdir()
    (tmp_path / "tree/DEBIAN/control").write_text(
        "Package: locksmith\nVersion: 1\nArchitecture: all\nMaintainer: n <e>\nDescription: d\n"
    )
    deb, archive = tmp_path / "locksmith_1_all.deb", tmp_path / "locksmith-1-x86-64.tar.xz"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tmp_path / "tree", deb], check=True, capture_output=True)
    subprocess.run(["tar", "-cJf", archive, "-C", tmp_path / "tree", "usr"], check=True)
    extension = archive.with_name("locksmith-1-x86-64.raw")
    found = parts_of([deb, archive, extension])
    assert found.pop(Part("pypi", "h11", "0.16.0", "MIT")) == {deb.name, archive.name, extension.name}
    assert {part.name for part in found} >= {"cpython", "openssl"}, "the self-contained build brings its own"
    sbom.write(tmp_path / "bom", build_of(), {Part("pypi", "h11", "0.16.0", "MIT"): {deb.name}})
    [component] = json.loads((tmp_path / "bom").read_text())["components"]
    assert (component["purl"], component["licenses"]) == ("pkg:pypi/h11@0.16.0", [{"license": {"id": "MIT"}}])
    assert component["properties"] == [{"name": CONTAINS, "value": deb.name}]
