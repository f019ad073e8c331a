"""The apt repository: apt itself takes each suite's package from it, and refuses what the key has not signed."""

import shutil
import subprocess
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest

from release import apt_repo, deb
from tests.harness import debs

TOOLS = ("apt-get", "dpkg-scanpackages", "gpg")
EPOCH = 1_700_000_000


@pytest.fixture(scope="module")
def key():
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"the repository is made with {', '.join(missing)}: apt-get install dpkg-dev gnupg")
    with debs.signing_key() as name:
        yield name


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A small package of each suite: what is in it means nothing to apt."""
    folder = tmp_path_factory.mktemp("packages")
    made = []
    for flavour, architecture in ((deb.BOOKWORM, "amd64"), (deb.TRIXIE, "all")):
        name = f"locksmith_1.0{flavour.suffix}_{architecture}"
        control = folder / name / "DEBIAN/control"
        control.parent.mkdir(parents=True)
        fields = {"Package": "locksmith", "Version": f"1.0{flavour.suffix}", "Architecture": architecture}
        fields |= {"Maintainer": "tests <tests@example>", "Description": "a package of the tests"}
        control.write_text("".join(f"{field}: {value}\n" for field, value in fields.items()))
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder / name], check=True, stdout=subprocess.DEVNULL)
        made.append(folder / f"{name}.deb")
    return made


@pytest.fixture
def repository(key, packages, tmp_path):
    apt_repo.make(tmp_path / "apt", packages, key, EPOCH)
    return tmp_path / "apt"


def apt(repository, suite, *command):
    """Run apt with this repository alone, without touching the system's."""
    home = repository.parent / suite
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    signed = repository / apt_repo.KEYRING
    (home / "sources.list").write_text(f"deb [signed-by={signed} arch=amd64] file:{repository} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": home / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": home / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": home / "cache",
        "APT::Sandbox::User": "root",
        "APT::Architecture": "amd64",
        "APT::Update::Error-Mode": "any",
    }
    settings = [f"-o{name}={value}" for name, value in options.items()]
    return subprocess.run([*command[:1], *settings, *command[1:]], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("flavour", deb.FLAVOURS, ids=lambda flavour: flavour.suite)
def test_apt_finds_the_package_of_its_suite(repository, flavour):
    assert apt(repository, flavour.suite, "apt-get", "update").returncode == 0
    offered = apt(repository, flavour.suite, "apt-cache", "madison", "locksmith").stdout
    assert [line.split("|")[1].strip() for line in offered.splitlines()] == [f"1.0{flavour.suffix}"]
    uri = apt(repository, flavour.suite, "apt-get", "install", "--print-uris", "-qq", "locksmith").stdout
    assert f"/pool/{flavour.suite}/locksmith_" in uri


def test_apt_refuses_a_list_that_was_changed(repository):
    lists = repository / "dists/bookworm"
    release = (lists / "InRelease").read_text()
    (lists / "InRelease").write_text(release.replace("Label: locksmith", "Label: another"))
    refused = apt(repository, "bookworm", "apt-get", "update")
    assert refused.returncode != 0
    assert "signature" in refused.stderr


def test_two_repositories_are_identical(repository, key, packages, tmp_path):
    apt_repo.make(tmp_path / "again", packages, key, EPOCH)
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (repository, tmp_path / "again")
    )
    assert first == second


def test_only_the_key_that_signs_is_trusted(key, packages, tmp_path):
    """Another key may have the same user id: apt would trust it, too."""
    mine = apt_repo._fingerprint(key)
    another = ("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "other <tests@example>")
    subprocess.run([*another, "ed25519", "sign", "never"], check=True)
    [other] = fingerprints("--list-secret-keys") - {mine}
    try:
        with pytest.raises(
            apt_repo.RepositoryError, match=r"tests@example names 2 secret keys .*: give the fingerprint"
        ):
            apt_repo.make(tmp_path / "apt", packages, key, EPOCH)
        apt_repo.make(tmp_path / "apt", packages, mine, EPOCH)
    finally:
        subprocess.run(("gpg", "--batch", "--yes", "--delete-secret-and-public-key", other), check=True)
    assert fingerprints("--show-keys", tmp_path / "apt" / apt_repo.KEYRING) == {mine}


def fingerprints(*command):
    told = subprocess.run(("gpg", "--with-colons", *command), check=True, capture_output=True, text=True).stdout
    fields = [line.split(":") for line in told.splitlines()]
    return {after[9] for field, after in pairwise(fields) if field[0] in {"pub", "sec"}}


def test_a_node_takes_no_repository_that_is_older_than_the_last(repository, key, packages):
    """docs/releasing.md says so."""
    for made, kept in ((EPOCH, EPOCH), (EPOCH - 60, EPOCH), (EPOCH + 60, EPOCH + 60)):
        apt_repo.make(repository, packages, key, made)
        (repository / "dists/bookworm/InRelease").touch()
        assert apt(repository, "bookworm", "apt-get", "update").returncode == 0
        [seen] = (repository.parent / "bookworm/state/lists").glob("*InRelease")
        assert f"Date: {format_datetime(datetime.fromtimestamp(kept, UTC), usegmt=True)}" in seen.read_text()


def test_without_the_key_the_error_says_so_and_the_repository_stays(repository, packages, capsys):
    before = (repository / "dists/trixie/InRelease").read_bytes()
    with pytest.raises(apt_repo.RepositoryError, match=r"nobody@example failed: .*No secret key"):
        apt_repo.make(repository, packages, "nobody@example", EPOCH)
    assert (repository / "dists/trixie/InRelease").read_bytes() == before
    assert [path.name for path in repository.parent.iterdir()] == ["apt"]
    assert apt_repo.main([""]) == 2
    assert "make apt-repo KEY=FINGERPRINT" in capsys.readouterr().err
