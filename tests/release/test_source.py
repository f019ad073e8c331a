"""Each build has a version of its own, and two builds of the same sources are the same."""

import re
import subprocess

import pytest

from release.source import build_of, export


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "locksmith").mkdir(parents=True)
    (folder / "locksmith/__init__.py").write_text('"""It."""\n\n__version__ = "0.1.0"\n')
    (folder / ".gitignore").write_text("dist/\n")
    git(folder, "init", "--quiet")
    commit(folder, "1700000000")
    return folder


def git(folder, *arguments, **environment):
    identity = ("-c", "user.name=n", "-c", "user.email=e")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, env=environment or None)


def commit(folder, time):
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "it", GIT_COMMITTER_DATE=f"{time} +0000", GIT_AUTHOR_DATE=f"{time} +0000")


def test_a_build_between_releases_is_named_after_its_commit(repository):
    build = build_of(repository)
    assert re.fullmatch(r"0\.1\.0\.dev20231114221320\+g[0-9a-f]{10}", build.version)
    assert build.package_version.startswith("0.1.0~dev20231114221320+g")
    assert build.epoch == 1_700_000_000


def test_the_tagged_commit_is_the_release(repository):
    git(repository, "tag", "v0.1.0")
    assert build_of(repository).version == "0.1.0"


def test_a_later_commit_is_a_later_build(repository):
    first = build_of(repository)
    (repository / "new").write_text("")
    commit(repository, "1700000060")
    assert build_of(repository).version > first.version


def test_a_change_that_is_not_committed_is_another_build(repository):
    git(repository, "tag", "v0.1.0")
    committed = build_of(repository)
    versions = {committed.version}
    for content in ("one", "other"):
        (repository / "new").write_text(content)
        versions.add(build_of(repository).version)
    assert len(versions) == 3
    (repository / "new").unlink()
    (repository / "dist").mkdir()
    (repository / "dist/ignored").write_text("")
    assert build_of(repository) == committed


def test_two_copies_are_the_same_and_say_their_version(repository, tmp_path):
    (repository / "program").write_text("#!/bin/sh\n")
    (repository / "program").chmod(0o775)
    builds = [export(tmp_path / name, repository) for name in ("one", "other")]
    assert builds[0] == builds[1]
    seen = [contents(tmp_path / name) for name in ("one", "other")]
    assert seen[0] == seen[1]
    assert f'__version__ = "{builds[0].version}"'.encode() in seen[0]["locksmith/__init__.py"][-1]
    assert {mode & 0o777 for mode, _, _ in seen[0].values()} == {0o755, 0o644}


def test_a_copy_without_git_keeps_its_version(repository, tmp_path):
    build = export(tmp_path / "copy", repository)
    assert build_of(tmp_path / "copy") == build
    assert export(tmp_path / "again", tmp_path / "copy") == build


def contents(folder):
    """Map each file to its mode, time and content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, int(path.stat().st_mtime), path.read_bytes())
        for path in files
    }
